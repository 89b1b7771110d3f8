"""Settings of the write path's roles, read once from the environment. Connects to nothing."""

from pathlib import Path

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from schemas.topics import DEFAULT_PARTITIONS

BOOTSTRAP_VARIABLE = "KAFKA_BOOTSTRAP_SERVERS"


class StreamsSettings(BaseSettings):
    """What every role of the write path reads: `KAFKA_BOOTSTRAP_SERVERS`, the rest from `ROOST_` and the field's name.

    Attributes:
        bootstrap: host:port of the brokers, comma-separated.
        registry: folder of published bundles, `<surface>/<bundle id>/`.
        surfaces: TOML file of surfaces; None means the shipped ones.
        partitions: partition count P of every topic keyed by candidate or by user.
        replication: copies of a topic that a role creates.
        instance: tells apart processes of one role; part of the heartbeat's key.
        broker_wait_s: how long a start waits for a broker before it gives up.
        checkpoint_interval_s: longest time between two checkpoints: what a crash replays.
        checkpoint_inputs: most input records between two checkpoints.
        session_timeout_s: a killed process's partitions are given to another after this long.
    """

    model_config = SettingsConfigDict(
        env_prefix="ROOST_", frozen=True, extra="forbid", env_ignore_empty=True, populate_by_name=True
    )

    bootstrap: str = Field(default="127.0.0.1:9092", validation_alias=BOOTSTRAP_VARIABLE)
    registry: Path = Path("registry")
    surfaces: Path | None = None
    partitions: int = Field(default=DEFAULT_PARTITIONS, ge=1)
    replication: int = Field(default=1, ge=1)
    instance: str = Field(default="0", min_length=1, pattern=r"^[A-Za-z0-9._-]+$")
    broker_wait_s: float = Field(default=600.0, gt=0)
    checkpoint_interval_s: float = Field(default=1.0, gt=0)
    checkpoint_inputs: int = Field(default=50_000, ge=1)
    session_timeout_s: float = Field(default=10.0, ge=6)


class EmbedderSettings(StreamsSettings):
    """The embedder's own.

    Attributes:
        group: consumer group whose committed offsets are the embedder's position.
        batch_records: most records taken from the consumer at once.
        backfill_slice: candidates re-embedded between two live batches while a bundle is built.
        tower_threads: threads ONNX Runtime may use for one batch.
    """

    group: str = "embedder"
    batch_records: int = Field(default=2_000, ge=1)
    backfill_slice: int = Field(default=64, ge=1)
    tower_threads: int = Field(default=1, ge=1)
