"""Settings of the write path's roles, read once from the environment. Connects to nothing."""

from pathlib import Path
from typing import Literal

from pydantic import Field

from schemas.groups import CONTROL, EMBED
from schemas.records.control import SILENCE_MS
from schemas.registry.folder import FolderRegistry
from schemas.registry.place import RegistrySetting
from schemas.registry.remote import DEFAULT_CACHE
from schemas.settings import BOOTSTRAP_VARIABLE, INSTANCE_NAME, RoostSettings
from schemas.topics import DEFAULT_PARTITIONS


class StreamsSettings(RoostSettings):
    """What every role of the write path reads: `KAFKA_BOOTSTRAP_SERVERS`, the rest from `ROOST_` and the field's name.

    Attributes:
        bootstrap: host:port of the brokers, comma-separated.
        registry_cache: folder for the bundles fetched from a registry behind a URL.
        registry: of published bundles, `<surface>/<bundle id>/`: a folder, or a URL of any kind fsspec knows, such as `s3://bucket/prefix`.
        surfaces: TOML file of surfaces; None means the shipped ones.
        schema_registry_url: of a registry's Confluent API, for producers who use one; may hold `user:password@`. Without it their
            records are dead letters.
        partitions: partition count P of every topic keyed by candidate or by user.
        replication: copies of a topic that a role creates.
        instance: tells apart processes of one role; part of the heartbeat's key.
        broker_wait_s: how long a start waits for a broker before it gives up.
        checkpoint_interval_s: longest time from one checkpoint's beginning to the next; a crash replays up to half as much again.
        checkpoint_inputs: most input records between two checkpoints.
        session_timeout_s: a killed process's partitions are given to another after this long; longer than a broker needs
            to restart, or each of its restarts takes all partitions over anew.
        log_format: "json" makes every log line one JSON object, with the bundle, topic, partition and offset it is about.
        metrics_port: port of Prometheus metrics, one a process; unset means none.
        metrics_host: address to bind it to; anything but the default makes it readable from other machines.
    """

    bootstrap: str = Field(default="127.0.0.1:9092", validation_alias=BOOTSTRAP_VARIABLE)
    registry_cache: Path = DEFAULT_CACHE
    registry: RegistrySetting = FolderRegistry(Path("registry"))
    surfaces: Path | None = None
    schema_registry_url: str | None = Field(default=None, pattern=r"^https?://")
    partitions: int = Field(default=DEFAULT_PARTITIONS, ge=1)
    replication: int = Field(default=1, ge=1)
    instance: str = Field(default="0", min_length=1, pattern=INSTANCE_NAME)
    broker_wait_s: float = Field(default=600.0, gt=0)
    checkpoint_interval_s: float = Field(default=1.0, gt=0)
    checkpoint_inputs: int = Field(default=50_000, ge=1)
    session_timeout_s: float = Field(default=20.0, ge=6)
    log_format: Literal["text", "json"] = "text"
    metrics_port: int | None = Field(default=None, ge=1, le=65_535)
    metrics_host: str = "127.0.0.1"


class EmbedderSettings(StreamsSettings):
    """The embedder's own.

    Attributes:
        group: consumer group whose committed offsets are the embedder's position.
        batch_records: most records taken from the consumer at once.
        backfill_slice: candidates re-embedded between two live batches while a bundle is built.
        backfill_share: share of the embedder's time for that while live traffic comes; without any it takes all.
        tower_threads: threads ONNX Runtime may use for one batch.
        tracing: makes spans of records that carry a trace, and hands it on to the nodes; needs the extra `tracing`. Where spans are
            sent, OpenTelemetry's own variables say.
    """

    group: str = EMBED.group
    batch_records: int = Field(default=2_000, ge=1)
    backfill_slice: int = Field(default=64, ge=1)
    backfill_share: float = Field(default=0.03, gt=0, le=1)
    tower_threads: int = Field(default=1, ge=1)
    tracing: bool = False


class LabelerSettings(StreamsSettings):
    """The labeler's own.

    Attributes:
        batch_records: most impressions and engagements joined between two checkpoints.
        batch_within_s: longest time a batch waits for more records.
        tick_s: how often windows are closed while nothing comes.
        user_states_wait_s: longest time a window that is due waits for user states of before its impression, where no query token
            tells the query features; then windows close with the states there are until those have caught up. 0: none ever waits.
        wedged_after_s: a process whose offsets stand still for this long, with records to read, ends to be restarted.
    """

    batch_records: int = Field(default=2_000, ge=1)
    batch_within_s: float = Field(default=0.1, gt=0)
    tick_s: float = Field(default=0.25, gt=0)
    user_states_wait_s: float = Field(default=30.0, ge=0)
    wedged_after_s: float = Field(default=60.0, gt=0)


class UserStateSettings(StreamsSettings):
    """User state's own; it runs beside the labeler, whose settings are those of both.

    Attributes:
        batch_records: most user events folded between two checkpoints.
        batch_within_s: how long the changes of one user are gathered before the state is written: its greatest lag.
    """

    batch_records: int = Field(default=5_000, ge=1)
    batch_within_s: float = Field(default=0.5, gt=0)


class ControllerSettings(StreamsSettings):
    """The controller's own.

    Attributes:
        group: consumer group whose committed offset is the last command answered.
        batch_within_s: longest time a command waits for more.
        tick_s: how often parity is looked at and the next step taken.
        node_silence_s: a node that has not been heard of for this long leaves the quorum.
        let_go_s: an ended bundle's topic is deleted when no live instance reports it any more, but at the earliest after this long.
        let_go_at_most_s: by then it is deleted whoever still reports it.
        canary_alpha: how often, over a whole canary, an equal bundle may be called better or worse; the shares of a ramp divide it.
        canary_effect: difference of engagement rates worth finding, absolute; where the test is sharpest.
        canary_mismatch_rise: a canary is aborted that shows so much more in languages its users do not declare, absolute.
        canary_min_users: of each arm, below which nothing is decided.
        wedged_after_s: as the labeler's.
    """

    group: str = CONTROL.group
    batch_within_s: float = Field(default=0.05, gt=0)
    tick_s: float = Field(default=0.25, gt=0)
    node_silence_s: float = Field(default=SILENCE_MS / 1000, gt=0)
    let_go_s: float = Field(default=5.0, ge=0)
    let_go_at_most_s: float = Field(default=60.0, gt=0)
    canary_alpha: float = Field(default=0.02, gt=0, lt=1)
    canary_effect: float = Field(default=0.02, gt=0, lt=1)
    canary_mismatch_rise: float = Field(default=0.05, gt=0, lt=1)
    canary_min_users: int = Field(default=200, ge=2)
    wedged_after_s: float = Field(default=60.0, gt=0)
