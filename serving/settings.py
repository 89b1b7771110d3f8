"""Settings of the node, read once from the environment. Connects to nothing."""

import socket
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field
from pydantic_settings import NoDecode

from schemas.registry.folder import FolderRegistry
from schemas.registry.place import RegistrySetting
from schemas.registry.remote import DEFAULT_CACHE
from schemas.settings import BOOTSTRAP_VARIABLE, INSTANCE_NAME, RoostSettings
from schemas.surfaces import names_of

IndexTiers = Literal["all", "codes", "codes-and-graph", "graph", "exact"]


class NodeSettings(RoostSettings):
    """What a node reads: `KAFKA_BOOTSTRAP_SERVERS`, the rest from `ROOST_` and the field's name.

    Attributes:
        bootstrap: host:port of the brokers, comma-separated.
        registry_cache: folder for the bundles fetched from a registry behind a URL.
        registry: of published bundles, `<surface>/<bundle id>/`: a folder, or a URL of any kind fsspec knows, such as `s3://bucket/prefix`.
        surfaces: TOML file of surfaces; None means the shipped ones.
        serve: names of the surfaces this node serves, in the environment separated by commas; empty means all of the file.
        node_id: tells nodes apart; part of the heartbeat's key. By default the host's name.
        http_host: address to bind; anything but the default makes the node reachable from other machines.
        http_port: 0 means any free one.
        query_threads: queries answered at the same time; the others wait. 0 means one for each core that the process may use, four
            at most.
        index_tiers: which tiers an index may have besides the newest rows: "all", each where it pays; "codes", scanned whole;
            "codes-and-graph", an HNSW graph beside them where it pays; "graph" alone; "exact", none.
        log_format: "json" makes every log line one JSON object, with the bundle, epoch, topic, partition and offset it is about.
        snapshots: folder for the indexes on disk, so that a start reads on instead of reading everything; None keeps none. The node
            uses the subfolder of its `node_id`.
        snapshots_shared: URL of a place that nodes share, of any kind fsspec knows, where a node that has no sound snapshot looks
            for another node's: the folder that they all write under, or what `roost index snapshot` copies to.
        snapshot_every_s: how often an index with news is written.
        snapshots_kept: how many of each bundle stay; with more than one, a damaged one costs nothing.
        audit_cpu_share: share of one core for answering live queries a second time, exactly; 0 audits nothing.
        tracing: makes spans of embeddings and requests that carry a trace; needs the extra `tracing`. Where spans are sent,
            OpenTelemetry's own variables say.
        drain_s: how long the node answers on after it has said that it is leaving.
    """

    bootstrap: str = Field(default="127.0.0.1:9092", validation_alias=BOOTSTRAP_VARIABLE)
    registry_cache: Path = DEFAULT_CACHE
    registry: RegistrySetting = FolderRegistry(Path("registry"))
    surfaces: Path | None = None
    serve: Annotated[tuple[str, ...], NoDecode, BeforeValidator(names_of)] = ()
    node_id: str = Field(default_factory=socket.gethostname, min_length=1, max_length=64, pattern=INSTANCE_NAME)
    http_host: str = "127.0.0.1"
    http_port: int = Field(default=8700, ge=0, le=65_535)
    query_threads: int = Field(default=0, ge=0, le=64)
    index_tiers: IndexTiers = "all"
    log_format: Literal["text", "json"] = "text"
    snapshots: Path | None = None
    snapshots_shared: str | None = None
    snapshot_every_s: float = Field(default=60.0, gt=0)
    snapshots_kept: int = Field(default=2, ge=1, le=100)
    audit_cpu_share: float = Field(default=0.02, ge=0, le=1)
    tracing: bool = False
    drain_s: float = Field(default=0.5, ge=0)
