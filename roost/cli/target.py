"""Which broker, node and bundles a command talks to: an option, else the environment, else the deployment on this machine."""

from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

import typer

from roost.machine.deployment import Deployment
from roost.settings import CacheSettings, checked_servers
from schemas.aliases import bundle_at, is_alias
from schemas.ids import is_bundle_id
from schemas.registry.kind import BundleRegistry
from schemas.registry.place import registry_at

Bootstrap = Annotated[
    str | None,
    typer.Option("--bootstrap", envvar="KAFKA_BOOTSTRAP_SERVERS", help="Broker, host:port; the local deployment's by default."),
]
Registry = Annotated[
    str | None,
    typer.Option(
        "--registry",
        envvar="ROOST_REGISTRY",
        help="Folder of the bundles, or a URL such as s3://…; the local deployment's by default.",
    ),
]
NodeUrl = Annotated[
    str | None, typer.Option("--node", envvar="ROOST_NODE_URL", help="A serving node; the local deployment's by default.")
]
SCHEMA_REGISTRY_HELP = "Address of a schema registry's Confluent API; may hold user:password@."
SchemaRegistry = Annotated[
    str | None, typer.Option("--schema-registry", envvar="ROOST_SCHEMA_REGISTRY_URL", help=SCHEMA_REGISTRY_HELP)
]
Surface = Annotated[str, typer.Option("--surface", "-s", help="The product surface.")]
SurfacesFile = Annotated[Path | None, typer.Option("--surfaces", envvar="ROOST_SURFACES", help="Surfaces file (TOML).")]
DataDir = Annotated[Path, typer.Option("--data-dir", envvar="ROOST_DATA_DIR", help="Folder of the local deployment.")]
Snapshots = Annotated[
    Path | None,
    typer.Option("--snapshots", envvar="ROOST_SNAPSHOTS", help="Folder of nodes' snapshots; the local deployment's by default."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print exactly one JSON object.")]
DEFAULT_DATA_DIR = Path(".roost")
DEFAULT_SURFACE = "home-timeline"
# a broker that is being restarted is back by then
_BROKER_S = 10.0


def checked_bundle(text: str | None) -> str | None:
    """Return what was given; raises `BadParameter` where it is neither a bundle's id nor could be an alias."""
    if text is not None and not is_bundle_id(text) and not is_alias(text):
        raise typer.BadParameter(f"{text[:64]!r} is neither 16 hex digits nor an alias; see `roost models list`")
    return text


# what is given becomes a path, an id the name of a topic too: nothing else gets past the command line
NamedBundle = Annotated[str, typer.Argument(callback=checked_bundle, help="16 hex digits, or an alias; see `roost models list`.")]


def bootstrap_of(option: str | None, data_dir: Path) -> str:
    """Return the broker to use.

    Raises:
        RoostError: none is named, and nothing runs here.
        BadParameter: it is no address.
    """
    try:
        return checked_servers(option or Deployment.require(data_dir.resolve()).bootstrap)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error


def broker_of(option: str | None, data_dir: Path) -> str:
    """Return the broker to use, as `bootstrap_of`, once it answers; raises `BrokerUnavailable` when it does not within 10 s."""
    from schemas.wire.admin import wait_for_broker  # noqa: PLC0415 - Kafka's client, which `--help` does not need

    servers = bootstrap_of(option, data_dir)
    wait_for_broker(servers, timeout_s=_BROKER_S)
    return servers


def checked_url(address: str, *, example: str) -> str:
    """Return an HTTP address as given; raises `BadParameter` with an example of one where it is none."""
    try:
        parts = urlsplit(address)
        known = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    # a port that is no number
    except ValueError:
        known = False
    if not known:
        raise typer.BadParameter(f"{address!r} is no address such as {example}")
    return address


def registry_of(option: str | None, data_dir: Path) -> BundleRegistry:
    """Return the registry of bundles; a stopped deployment's are still there.

    Raises:
        BundlesUnavailable: it is a URL of a kind that no package here can open.
    """
    return registry_at(option or data_dir.resolve() / "registry", cache=CacheSettings().registry_cache)


def bundle_id_of(named: str, surface: str, *, registry: str | None, data_dir: Path) -> str:
    """Return the id of a bundle that was given by its id or an alias; raises `BadParameter` where there is no such alias."""
    if is_bundle_id(named):
        return named
    root = registry_of(registry, data_dir)
    found = bundle_at(root, surface, named)
    if found is None:
        raise typer.BadParameter(f"{surface} has no alias {named!r} in {root}; see `roost models list`")
    return found


def surfaces_file_of(option: Path | None, data_dir: Path) -> Path | None:
    """Return the surfaces file to read: the option, else that of what runs here; None means the shipped one."""
    deployment = None if option is not None else Deployment.find(data_dir.resolve())
    return Path(deployment.surfaces) if deployment is not None and deployment.surfaces else option


def checkpoints_of(option: Path | None, data_dir: Path) -> Path:
    """Return the folder of the states of trainings under way."""
    return option or data_dir.resolve() / "checkpoints"


def writable_registry_of(option: str | None, data_dir: Path) -> BundleRegistry:
    """Return the registry to publish in, as `registry_of`; that nothing can be written is told before a training, not after it."""
    root = registry_of(option, data_dir)
    root.require_writable()
    return root


def snapshots_of(option: Path | None, data_dir: Path) -> Path:
    """Return the folder that nodes write their snapshots under; as the bundles', still there when the deployment is stopped."""
    return option or data_dir.resolve() / "snapshots"


def node_url_of(option: str | None, data_dir: Path) -> str:
    """Return the node to ask; raises `RoostError` when none is named and nothing runs here."""
    return checked_url(option or Deployment.require(data_dir.resolve()).node_url, example="http://127.0.0.1:8470")
