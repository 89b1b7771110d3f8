"""The bundle on disk: a manifest that names every file by SHA-256. Runs no tower; see `schemas.towers`.

A registry is a folder `<root>/<surface>/<bundle id>/` of immutable bundles, or the same behind a URL (`schemas.remote`). The id is
the first 16 hex digits of the SHA-256 of the manifest's bytes, so the id vouches for the manifest and the manifest for every file.
Files it does not name are never read.
"""

import hashlib
import logging
import os
import shutil
import stat
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from schemas.errors import BundleCorrupt, BundleMismatch
from schemas.ids import is_bundle_id, is_surface_name
from schemas.manifest import CANDIDATE_TOWER, FORMAT, MANIFEST_NAME, QUERY_TOWER, CanaryVectors, Gate, Manifest, Metric
from schemas.remote import BundleRegistry, RemoteRegistry

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
    "entry_names",
    "list_bundles",
    "read_bundle",
    "surfaces_in",
    "sync_folder",
    "write_bundle",
]

log = logging.getLogger(__name__)

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


def read_bundle(root: BundleRegistry, surface: str, bundle: str) -> Bundle:
    """Read and verify a bundle: of a remote registry the copy on this machine, where there is a whole one.

    Raises:
        BundleCorrupt: the id is not 16 hex digits, a file is missing, or bytes differ from what the id vouches for.
        BundleMismatch: whole, but of another format, surface or feature-spec release.
        BundlesUnavailable: there is no copy on this machine, and the remote registry cannot be reached.
    """
    if not is_bundle_id(bundle):
        raise BundleCorrupt(f"bundle id {bundle[:64]!r} is not 16 lower-case hex digits; see `roost models list`")
    if isinstance(root, RemoteRegistry):
        try:
            return read_bundle(root.cache, surface, bundle)
        except BundleCorrupt:
            # not fetched yet, or damaged since
            return _fetched(root, surface, bundle)
    folder = _surface_folder(root, surface) / bundle
    return _verified(surface, bundle, lambda name, most_bytes: _read_file(folder / name, bundle, most_bytes))


def _verified(surface: str, bundle: str, read: Callable[[str, int], bytes]) -> Bundle:
    manifest_bytes = read(MANIFEST_NAME, MAX_MANIFEST_BYTES)
    if bundle_id(manifest_bytes) != bundle:
        raise BundleCorrupt(f"bundle {bundle}: the manifest was altered; publish the bundle again")
    manifest = Manifest.from_bytes(manifest_bytes)
    if manifest.surface != surface:
        raise BundleMismatch(f"bundle {bundle} is for surface {manifest.surface!r}, not {surface!r}")
    files = {name: read(name, MAX_FILE_BYTES) for name in manifest.files}
    _check_digests(bundle, manifest, files)
    return Bundle(bundle, manifest, files)


def _fetched(remote: RemoteRegistry, surface: str, bundle: str) -> Bundle:
    target = _surface_folder(remote.cache, surface) / bundle
    # the manifest's own bytes: its id is their digest
    files: dict[str, bytes] = {}

    def read(name: str, most_bytes: int) -> bytes:
        files[name] = _read_remote(remote, surface, bundle, name, most_bytes)
        return files[name]

    whole = _verified(surface, bundle, read)
    try:
        # what is there could not be read; who reads it at this moment fetches too
        shutil.rmtree(target, ignore_errors=True)
        _put(target, files)
    except OSError as error:
        log.warning("bundle %s is fetched at every start: it cannot be kept in %s (%s)", bundle, remote.cache, error.strerror)
    return whole


def write_bundle(root: BundleRegistry, manifest: Manifest, files: Mapping[str, bytes]) -> str:
    """Publish a bundle whole, under the id it gets, and return the id. Publishing the same bundle again changes nothing.

    The folder is written under a hidden name, synced, then renamed: a reader sees all of it or none, also beside other writers.
    In a remote registry the manifest comes last, and what was put there is read back from there.

    Raises:
        BundleCorrupt, BundleMismatch: nothing was written, since nobody could read it; or a damaged bundle has this id already.
        BundlesUnavailable: the remote registry cannot be reached, or written to.
    """
    _check_surface(manifest.surface)
    data = manifest.to_bytes()
    bundle = bundle_id(data)
    # what this build could not read back must not be published
    Manifest.from_bytes(data)
    _check_digests(bundle, manifest, files)
    if isinstance(root, RemoteRegistry):
        _upload(root, f"{manifest.surface}/{bundle}", {**files, MANIFEST_NAME: data})
        _fetched(root, manifest.surface, bundle)
        return bundle
    target = _surface_folder(root, manifest.surface) / bundle
    if not target.exists():
        _put(target, {**files, MANIFEST_NAME: data})
    read_bundle(root, manifest.surface, bundle)
    return bundle


def _upload(remote: RemoteRegistry, folder: str, files: Mapping[str, bytes]) -> None:
    if remote.holds(f"{folder}/{MANIFEST_NAME}"):
        return
    # the manifest last: what has none is no bundle yet. Who else writes under this id writes the same bytes
    for name in sorted(files, key=lambda name: name == MANIFEST_NAME):
        remote.write(f"{folder}/{name}", files[name])


def _put(target: Path, files: Mapping[str, bytes]) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    try:
        _fill(staging, files)
        _rename_unless_published(staging, target)
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _fill(folder: Path, files: Mapping[str, bytes]) -> None:
    # mkdtemp lets only its owner in; other roles may run as other users
    folder.chmod(0o755)
    for name, content in files.items():
        with (folder / name).open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
    sync_folder(folder)


def _rename_unless_published(staging: Path, target: Path) -> None:
    try:
        staging.rename(target)
    except OSError:
        # another writer was first; both wrote the same bytes, for the id is their digest
        if not target.exists():
            raise
    sync_folder(target.parent)


def sync_folder(folder: Path) -> None:
    """Make what was put into a folder outlast a loss of power."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def list_bundles(root: BundleRegistry, surface: str) -> list[str]:
    """Return the ids of a surface's bundles, oldest first by creation time; unreadable ones are left out."""
    found: list[tuple[int, str]] = []
    for name in bundles_in(root, surface):
        try:
            found.append((_manifest_of(root, surface, name).created_ms, name))
        except (BundleCorrupt, BundleMismatch):
            continue
    return [name for _, name in sorted(found)]


def surfaces_in(root: BundleRegistry) -> list[str]:
    """Return the surfaces that a registry has a folder of, whatever is in it."""
    return [name for name in entry_names(root, "") if is_surface_name(name)]


def bundles_in(root: BundleRegistry, surface: str) -> list[str]:
    """Return the ids under which a surface has something, readable or not."""
    _check_surface(surface)
    return [name for name in entry_names(root, surface) if is_bundle_id(name)]


def _manifest_of(root: BundleRegistry, surface: str, bundle: str) -> Manifest:
    if isinstance(root, RemoteRegistry):
        try:
            return _manifest_of(root.cache, surface, bundle)
        except BundleCorrupt:
            data = _read_remote(root, surface, bundle, MANIFEST_NAME, MAX_MANIFEST_BYTES)
    else:
        data = _read_file(root / surface / bundle / MANIFEST_NAME, bundle, MAX_MANIFEST_BYTES)
    if bundle_id(data) != bundle:
        raise BundleCorrupt(f"bundle {bundle}: the manifest was altered; publish the bundle again")
    return Manifest.from_bytes(data)


def entry_names(root: BundleRegistry, path: str) -> list[str]:
    """Return the names below a path in a registry, sorted; none where nothing is."""
    if isinstance(root, RemoteRegistry):
        return root.names(path)
    folder = root / path
    return sorted(entry.name for entry in folder.iterdir()) if folder.is_dir() else []


def _surface_folder(root: Path, surface: str) -> Path:
    _check_surface(surface)
    return root / surface


def _check_surface(surface: str) -> None:
    if not is_surface_name(surface):
        raise BundleCorrupt(f"surface name {surface[:64]!r} may hold 1 to 64 letters, digits, - and _ only")


def _read_remote(remote: RemoteRegistry, surface: str, bundle: str, name: str, most_bytes: int) -> bytes:
    try:
        return remote.read(f"{surface}/{bundle}/{name}", most_bytes)
    except FileNotFoundError as error:
        raise BundleCorrupt(f"bundle {bundle}: {name} is not in {remote}/{surface}; publish the bundle again") from error


def _read_file(path: Path, bundle: str, most_bytes: int) -> bytes:
    try:
        # never through a link, and never waiting for a pipe's other end
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        with os.fdopen(descriptor, "rb") as file:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode) or status.st_size > most_bytes:
                raise BundleCorrupt(f"bundle {bundle}: {path.name} is no plain file of at most {most_bytes} bytes")
            return file.read()
    except OSError as error:
        raise BundleCorrupt(f"bundle {bundle}: {path.name} cannot be read ({error.strerror}); publish the bundle again") from error


def _check_digests(bundle: str, manifest: Manifest, files: Mapping[str, bytes]) -> None:
    for name, digest in manifest.files.items():
        if name not in files or hashlib.sha256(files[name]).hexdigest() != digest:
            raise BundleCorrupt(f"bundle {bundle}: {name} differs from its SHA-256 in the manifest; publish the bundle again")
    if unnamed := files.keys() - manifest.files.keys():
        raise BundleCorrupt(f"bundle {bundle}: the manifest does not name {sorted(unnamed)}")
