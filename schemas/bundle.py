"""The bundle on disk: a manifest that names every file by SHA-256. Runs no tower; see `schemas.towers`.

A registry is a folder `<root>/<surface>/<bundle id>/` of immutable bundles. The id is the first 16 hex digits of the SHA-256 of the
manifest's bytes, so the id vouches for the manifest and the manifest for every file. Files it does not name are never read.
"""

import hashlib
import os
import shutil
import stat
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from schemas.errors import BundleCorrupt, BundleMismatch
from schemas.ids import is_bundle_id, is_surface_name
from schemas.manifest import CANDIDATE_TOWER, FORMAT, MANIFEST_NAME, QUERY_TOWER, CanaryVectors, Gate, Manifest, Metric

__all__ = [
    "CANDIDATE_TOWER",
    "FORMAT",
    "MANIFEST_NAME",
    "MAX_FILE_BYTES",
    "QUERY_TOWER",
    "Bundle",
    "CanaryVectors",
    "Gate",
    "Manifest",
    "Metric",
    "bundle_id",
    "list_bundles",
    "read_bundle",
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


def read_bundle(root: Path, surface: str, bundle: str) -> Bundle:
    """Read and verify a bundle.

    Raises:
        BundleCorrupt: the id is not 16 hex digits, a file is missing, or bytes differ from what the id vouches for.
        BundleMismatch: whole, but of another format, surface or feature-spec release.
    """
    if not is_bundle_id(bundle):
        raise BundleCorrupt(f"bundle id {bundle[:64]!r} is not 16 lower-case hex digits; see `roost models list`")
    folder = _surface_folder(root, surface) / bundle
    manifest_bytes = _read_file(folder / MANIFEST_NAME, bundle, MAX_MANIFEST_BYTES)
    if bundle_id(manifest_bytes) != bundle:
        raise BundleCorrupt(f"bundle {bundle}: the manifest was altered; publish the bundle again")
    manifest = Manifest.from_bytes(manifest_bytes)
    if manifest.surface != surface:
        raise BundleMismatch(f"bundle {bundle} is for surface {manifest.surface!r}, not {surface!r}")
    files = {name: _read_file(folder / name, bundle, MAX_FILE_BYTES) for name in manifest.files}
    _check_digests(bundle, manifest, files)
    return Bundle(bundle, manifest, files)


def write_bundle(root: Path, manifest: Manifest, files: Mapping[str, bytes]) -> str:
    """Publish a bundle whole, under the id it gets, and return the id. Publishing the same bundle again changes nothing.

    The folder is written under a hidden name, synced, then renamed: a reader sees all of it or none, also beside other writers.

    Raises:
        BundleCorrupt, BundleMismatch: nothing was written, since nobody could read it; or a damaged bundle has this id already.
    """
    data = manifest.to_bytes()
    bundle = bundle_id(data)
    # what this build could not read back must not be published
    Manifest.from_bytes(data)
    _check_digests(bundle, manifest, files)
    target = _surface_folder(root, manifest.surface) / bundle
    if not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        staging = Path(tempfile.mkdtemp(prefix=f".{bundle}.", dir=target.parent))
        try:
            _fill(staging, {**files, MANIFEST_NAME: data})
            _rename_unless_published(staging, target)
        finally:
            shutil.rmtree(staging, ignore_errors=True)
    read_bundle(root, manifest.surface, bundle)
    return bundle


def _fill(folder: Path, files: Mapping[str, bytes]) -> None:
    # mkdtemp lets only its owner in; other roles may run as other users
    folder.chmod(0o755)
    for name, content in files.items():
        with (folder / name).open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
    _sync(folder)


def _rename_unless_published(staging: Path, target: Path) -> None:
    try:
        staging.rename(target)
    except OSError:
        # another writer was first; both wrote the same bytes, for the id is their digest
        if not target.exists():
            raise
    _sync(target.parent)


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def list_bundles(root: Path, surface: str) -> list[str]:
    """Return the ids of a surface's bundles, oldest first by creation time; unreadable ones are left out."""
    folder = _surface_folder(root, surface)
    found: list[tuple[int, str]] = []
    for entry in folder.iterdir() if folder.is_dir() else ():
        if is_bundle_id(entry.name):
            try:
                data = _read_file(entry / MANIFEST_NAME, entry.name, MAX_MANIFEST_BYTES)
                if bundle_id(data) == entry.name:
                    found.append((Manifest.from_bytes(data).created_ms, entry.name))
            except (BundleCorrupt, BundleMismatch):
                continue
    return [name for _, name in sorted(found)]


def _surface_folder(root: Path, surface: str) -> Path:
    if not is_surface_name(surface):
        raise BundleCorrupt(f"surface name {surface[:64]!r} may hold 1 to 64 letters, digits, - and _ only")
    return root / surface


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
