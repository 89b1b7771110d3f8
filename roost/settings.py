"""What the launcher reads from the environment, once. The only place in roost/ that looks at it."""

import os
import re
import socket
from collections.abc import Mapping
from pathlib import Path

from pydantic import Field, field_validator
from pydantic_settings import SettingsConfigDict

from schemas.registry.remote import DEFAULT_CACHE
from schemas.settings import INSTANCE_NAME, RoostSettings
from schemas.topics import DEFAULT_PARTITIONS

# In a clone, `make setup` puts the jars beside the code; an installed package is told where they are.
_CHECKOUT = Path(__file__).resolve().parent.parent

_HOST_AND_PORT = re.compile(r"(\[[0-9A-Fa-f:]+\]|[A-Za-z0-9._-]+):\d{1,5}")


def checked_servers(servers: str) -> str:
    """Return brokers as given, without spaces; raises `ValueError` where one is not host:port."""
    parts = [part.strip() for part in servers.split(",")]
    for part in parts:
        if not _HOST_AND_PORT.fullmatch(part):
            msg = f"{part!r} is not host:port; give KAFKA_BOOTSTRAP_SERVERS, or --bootstrap, such as 127.0.0.1:9092"
            raise ValueError(msg)
    return ",".join(parts)


class CacheSettings(RoostSettings):
    """Where commands keep what they fetch; the roles read the same variable."""

    registry_cache: Path = Field(default=DEFAULT_CACHE, description="Folder for the bundles fetched from a registry behind a URL.")


class LauncherSettings(RoostSettings):
    """Settings of the one-machine launcher; frozen, and an unknown keyword is refused.

    An empty environment variable counts as unset.
    """

    # Kafka's variable and Java's are ours by no prefix
    model_config = SettingsConfigDict(env_prefix="")

    kafka_bootstrap_servers: str | None = Field(
        default=None, description="host:port[,host:port] of your Kafka; unset means: start one on this machine."
    )
    kafka_jars_dir: Path = Field(
        default=_CHECKOUT / ".cache" / "kafka",
        validation_alias="ROOST_KAFKA_JARS_DIR",
        description="Folder with libs/*.jar of Kafka, and the class archive that makes it start sooner.",
    )
    partitions: int = Field(
        default=DEFAULT_PARTITIONS,
        ge=1,
        validation_alias="ROOST_PARTITIONS",
        description="Partition count of every topic keyed by candidate or by user; the roles read the same variable.",
    )
    node_id: str = Field(
        default_factory=socket.gethostname,
        max_length=64,
        pattern=INSTANCE_NAME,
        validation_alias="ROOST_NODE_ID",
        description="What the node will report as, by default the host's name; the node reads the same variable.",
    )
    instance: str = Field(
        default="0",
        pattern=INSTANCE_NAME,
        validation_alias="ROOST_INSTANCE",
        description="What the labeler's process is called in its group; the roles read the same variable.",
    )
    java_home: Path | None = Field(default=None, description="Java 17 or later; unset means: `java` on the PATH.")

    @field_validator("kafka_bootstrap_servers")
    @classmethod
    def _is_a_list_of_hosts_and_ports(cls, servers: str | None) -> str | None:
        if servers is None:
            return None
        return checked_servers(servers)

    @property
    def java(self) -> str:
        """The java program to run."""
        return "java" if self.java_home is None else str(self.java_home / "bin" / "java")


def child_environment(additions: Mapping[str, str]) -> dict[str, str]:
    """Return the environment for a process started here: this one's, with `additions` over it."""
    return {**os.environ, **additions}
