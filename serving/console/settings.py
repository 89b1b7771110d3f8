"""Settings of the console, read once from the environment. Connects to nothing."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field
from pydantic_settings import NoDecode

from schemas.ids import actor_of_process
from schemas.registry.folder import FolderRegistry
from schemas.registry.place import RegistrySetting
from schemas.registry.remote import DEFAULT_CACHE
from schemas.settings import BOOTSTRAP_VARIABLE, RoostSettings
from schemas.surfaces import names_of

DEFAULT_PORT = 8780


class ConsoleSettings(RoostSettings):
    """What the console reads: `KAFKA_BOOTSTRAP_SERVERS`, the rest from `ROOST_` and the field's name.

    Attributes:
        bootstrap: host:port of the brokers, comma-separated.
        registry_cache: folder for the bundles fetched from a registry behind a URL.
        registry: of published bundles, for gates and metrics: a folder, or a URL of any kind fsspec knows.
        surfaces: TOML file of surfaces; None means the shipped ones.
        console_host: address to bind; anything but the default makes the console reachable from other machines.
        console_port: 0 means any free one.
        console_hosts: more host names, in the environment separated by commas, under which the console may be asked for: others are
            refused, so that no foreign page can reach it by a name of its own.
        console_results: folder of the experiments' results, JSON files, for the page of the paper.
        log_format: "json" makes every log line one JSON object, with the bundle, topic, partition and offset it is about.
        console_actor: who the history says gave the commands.
    """

    bootstrap: str = Field(default="127.0.0.1:9092", validation_alias=BOOTSTRAP_VARIABLE)
    registry_cache: Path = DEFAULT_CACHE
    registry: RegistrySetting = FolderRegistry(Path("registry"))
    surfaces: Path | None = None
    console_host: str = "127.0.0.1"
    console_port: int = Field(default=DEFAULT_PORT, ge=0, le=65_535)
    console_hosts: Annotated[tuple[str, ...], NoDecode, BeforeValidator(names_of)] = ()
    console_results: Path = Path("docs/bench")
    log_format: Literal["text", "json"] = "text"
    console_actor: str = Field(default_factory=lambda: f"console:{actor_of_process()}", max_length=64)
