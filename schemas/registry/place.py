"""How a place, a folder or a URL, becomes a registry: here, and nowhere else."""

from pathlib import Path
from typing import Annotated

from pydantic import PlainSerializer, PlainValidator, ValidationInfo

from schemas.registry.folder import FolderRegistry
from schemas.registry.kind import BundleRegistry
from schemas.registry.remote import DEFAULT_CACHE, RemoteRegistry

_FOLDER_URL = "file://"

# a folder's path stands for the registry in it
RegistryPlace = Path | BundleRegistry


def registry_at(place: str | RegistryPlace, *, cache: Path = DEFAULT_CACHE) -> BundleRegistry:
    """Return the registry at a folder's path or a URL, or the one that is given.

    Args:
        place: a folder's path, a URL, or a registry.
        cache: folder for the bundles that are fetched from a URL.

    Raises:
        BundlesUnavailable: no package here can open such a URL.
    """
    if isinstance(place, str) and "://" in place and not place.startswith(_FOLDER_URL):
        return RemoteRegistry(place, cache=cache)
    return FolderRegistry(Path(str(place).removeprefix(_FOLDER_URL))) if isinstance(place, str | Path) else place


def _of_setting(value: str | RegistryPlace, info: ValidationInfo) -> BundleRegistry:
    return registry_at(value, cache=info.data.get("registry_cache", DEFAULT_CACHE))


# a setting of this type reads the cache's folder from a setting `registry_cache` that is declared before it
RegistrySetting = Annotated[BundleRegistry, PlainValidator(_of_setting), PlainSerializer(str)]
