"""The bundle on disk: a manifest that names every file by SHA-256. Runs no tower; see `schemas.towers`.

A registry (`schemas.registry`) holds immutable bundles, `<surface>/<bundle id>/`. The id is the first 16 hex digits of the SHA-256
of the manifest's bytes, so the id vouches for the manifest and the manifest for every file. Files it does not name are never read.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

from schemas.errors import BundleCorrupt, BundleMismatch
from schemas.ids import is_bundle_id, is_surface_name
from schemas.manifest import CANDIDATE_TOWER, FORMAT, MANIFEST_NAME, QUERY_TOWER, CanaryVectors, Gate, Manifest, Metric
from schemas.progress import OnProgress, told, untold
from schemas.registry.kind import Read
from schemas.registry.place import RegistryPlace, registry_at

__all__ = [
    "CANDIDATE_TOWER",
    "FORMAT",
    "MANIFEST_NAME",
    "MAX_FILE_BYTES",
    "MAX_MANIFEST_BYTES",
    "QUERY_TOWER",
    "Bundle",
    "CanaryVectors",
    "Gate",
    "Manifest",
    "Metric",
    "bundle_id",
    "bundles_in",
    "check_surface",
    "list_bundles",
    "read_bundle",
    "surfaces_in",
    "write_bundle",
]

MAX_FILE_BYTES = 1 << 30
MAX_MANIFEST_BYTES = 1 << 24


def bundle_id(manifest: bytes) -> str:
    """Return the id of the bundle with these manifest bytes."""
    return hashlib.sha256(manifest).hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class Bundle:
    """A bundle whose every byte was checked against its id. Towers load from these bytes, never from the disk again."""

    id: str
    manifest: Manifest
    files: Mapping[str, bytes]


def read_bundle(root: RegistryPlace, surface: str, bundle: str, *, on_progress: OnProgress = untold) -> Bundle:
    """Read and verify a bundle: of a remote registry the copy on this machine, where there is a whole one.

    Args:
        on_progress: of its files, told as each is read.

    Raises:
        BundleCorrupt: the id is not 16 hex digits, a file is missing, or bytes differ from what the id vouches for.
        BundleMismatch: whole, but of another format, surface or feature-spec release.
        BundlesUnavailable: there is no copy on this machine, and the remote registry cannot be reached.
    """
    if not is_bundle_id(bundle):
        raise BundleCorrupt(f"bundle id {bundle[:64]!r} is not 16 lower-case hex digits; see `roost models list`")
    check_surface(surface)
    return registry_at(root).checked(f"{surface}/{bundle}", partial(_verified, surface, bundle, on_progress), keep=True)


def _verified(surface: str, bundle: str, on_progress: OnProgress, read: Read) -> Bundle:
    manifest = _manifest_of(bundle, read)
    if manifest.surface != surface:
        raise BundleMismatch(f"bundle {bundle} is for surface {manifest.surface!r}, not {surface!r}")
    files = {name: read(name, MAX_FILE_BYTES) for name in told(f"reading {bundle}", manifest.files, on_progress)}
    _check_digests(bundle, manifest, files)
    return Bundle(bundle, manifest, files)


def _manifest_of(bundle: str, read: Read) -> Manifest:
    data = read(MANIFEST_NAME, MAX_MANIFEST_BYTES)
    if bundle_id(data) != bundle:
        raise BundleCorrupt(f"bundle {bundle}: the manifest was altered; publish the bundle again")
    return Manifest.from_bytes(data)


def write_bundle(root: RegistryPlace, manifest: Manifest, files: Mapping[str, bytes], *, on_progress: OnProgress = untold) -> str:
    """Publish a bundle whole, under the id it gets, and return the id. Publishing the same bundle again changes nothing.

    A reader sees all of it or none, also beside other writers, and what was put there is read back.

    Args:
        on_progress: of the bytes that are written, then as of `read_bundle`.

    Raises:
        BundleCorrupt, BundleMismatch: nothing was written, since nobody could read it; or a damaged bundle has this id already.
        BundlesUnavailable: the remote registry cannot be reached, or written to.
    """
    check_surface(manifest.surface)
    data = manifest.to_bytes()
    bundle = bundle_id(data)
    # what this build could not read back must not be published
    Manifest.from_bytes(data)
    _check_digests(bundle, manifest, files)
    # the manifest last: what has none is no bundle yet
    registry_at(root).publish(
        f"{manifest.surface}/{bundle}",
        {**files, MANIFEST_NAME: data},
        last=MANIFEST_NAME,
        check=partial(_verified, manifest.surface, bundle, on_progress),
        on_progress=on_progress,
    )
    return bundle


def list_bundles(root: RegistryPlace, surface: str) -> list[str]:
    """Return the ids of a surface's bundles, oldest first by creation time; unreadable ones are left out."""
    registry = registry_at(root)
    found: list[tuple[int, str]] = []
    for name in bundles_in(registry, surface):
        try:
            manifest = registry.checked(f"{surface}/{name}", partial(_manifest_of, name))
            found.append((manifest.created_ms, name))
        except (BundleCorrupt, BundleMismatch):
            continue
    return [name for _, name in sorted(found)]


def surfaces_in(root: RegistryPlace) -> list[str]:
    """Return the surfaces that a registry has a folder of, whatever is in it."""
    return [name for name in registry_at(root).names("") if is_surface_name(name)]


def bundles_in(root: RegistryPlace, surface: str) -> list[str]:
    """Return the ids under which a surface has something, readable or not."""
    check_surface(surface)
    return [name for name in registry_at(root).names(surface) if is_bundle_id(name)]


def check_surface(surface: str) -> None:
    """Raise `BundleCorrupt` where this is no surface's name: a path of a registry begins with it."""
    if not is_surface_name(surface):
        raise BundleCorrupt(f"surface name {surface[:64]!r} may hold 1 to 64 letters, digits, - and _ only")


def _check_digests(bundle: str, manifest: Manifest, files: Mapping[str, bytes]) -> None:
    for name, digest in manifest.files.items():
        if name not in files or hashlib.sha256(files[name]).hexdigest() != digest:
            raise BundleCorrupt(f"bundle {bundle}: {name} differs from its SHA-256 in the manifest; publish the bundle again")
    if unnamed := files.keys() - manifest.files.keys():
        raise BundleCorrupt(f"bundle {bundle}: the manifest does not name {sorted(unnamed)}")
