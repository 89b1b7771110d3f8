"""The snapshots of one node on disk: one is written whole or not at all, and the newest sound one is read. Knows no index.

    <folder>/<bundle>/000000000042/manifest.json, vectors, ids, ids_ends …

A snapshot is written under another name, every file forced to disk, and renamed: at each moment the older ones are untouched. The
manifest says what each file must be, so a damaged one is refused and the next older one is used.
"""

import hashlib
import logging
import threading
import time
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from schemas.ids import is_bundle_id
from serving.snapshots.columns import Part, columns_of, contents_of
from serving.snapshots.files import Files
from serving.snapshots.manifest import MANIFEST_NAME, FileEntry, Manifest, check_fits, read_manifest
from serving.snapshots.shared import SharedSnapshot, SharedSnapshots
from serving.snapshots.snapshot import Snapshot, SnapshotOf, SnapshotRefused, SnapshotsUnavailable

log = logging.getLogger(__name__)

BREATH_S = 0.001
"""Rest after each part written: queries want the interpreter, and nobody waits for a snapshot."""
UNFINISHED = ".unfinished"


class SnapshotStore:
    """Writes and reads on any number of threads, one at a time for each bundle."""

    def __init__(self, folder: Path, *, keep: int, files: Files | None = None, shared: SharedSnapshots | None = None) -> None:
        """Touch nothing yet.

        Args:
            folder: of this node alone.
            keep: how many snapshots of a bundle stay; the older ones are removed once a newer one is on disk.
            shared: where to look for another node's when there is no sound one here.
        """
        self.folder = folder
        self._keep = keep
        self._shared = shared
        self._files = files or Files()
        # one for each bundle: what is fetched from the shared place may take minutes, and other bundles do not wait for it
        self._locks: dict[str, threading.Lock] = {}

    def write(self, snapshot: Snapshot) -> Path:
        """Put a snapshot on disk and remove those beyond `keep`; returns its folder.

        Raises:
            OSError: the disk is full, or failed. The older snapshots are as they were.
        """
        with self._lock(snapshot.of.bundle):
            return self._add(snapshot.of.bundle, lambda folder: self._fill(folder, snapshot))

    def _lock(self, bundle: str) -> threading.Lock:
        return self._locks.setdefault(bundle, threading.Lock())

    def _add(self, bundle: str, fill: Callable[[Path], None]) -> Path:
        folder = self.folder / bundle
        self._files.make_folder(folder)
        numbers = _numbers_in(folder)
        final = folder / f"{numbers[0] + 1 if numbers else 1:012d}"
        unfinished = folder / f"{final.name}{UNFINISHED}"
        self._sweep(folder)
        try:
            self._files.make_folder(unfinished)
            fill(unfinished)
            self._files.sync_folder(unfinished)
            self._files.rename(unfinished, final)
        except (OSError, SnapshotRefused, SnapshotsUnavailable):
            # gives the space back at once: a full disk is not only ours
            self._files.remove(unfinished)
            raise
        self._files.sync_folder(folder)
        if not numbers:
            # the folders are new as well
            self._files.sync_folder(self.folder)
            self._files.sync_folder(self.folder.parent)
        for number in numbers[self._keep - 1 :]:
            self._files.remove(folder / f"{number:012d}")
        return final

    def _sweep(self, folder: Path) -> None:
        for left in folder.glob(f"*{UNFINISHED}"):
            self._files.remove(left)

    def _fill(self, folder: Path, snapshot: Snapshot) -> None:
        entries: dict[str, FileEntry] = {}
        for name, column in columns_of(snapshot.contents, snapshot.deleted_ms).items():
            hashed = _Hashed(column.parts)
            self._files.write(folder / name, hashed)
            entries[name] = FileEntry(column.dtype, hashed.bytes, hashed.sha256)
        manifest = Manifest(
            snapshot.of,
            snapshot.offsets,
            snapshot.newest_append_ms,
            snapshot.written_ms,
            snapshot.contents.expired_before_ms,
            len(snapshot.contents.rows),
            entries,
        )
        self._files.write(folder / MANIFEST_NAME, [manifest.to_json()])

    def newest(self, wanted: SnapshotOf, *, now_ms: int) -> Snapshot | None:
        """Return the newest sound snapshot of `wanted`; None when there is none. Each refusal is logged with its reason."""
        folder = self.folder / wanted.bundle
        with self._lock(wanted.bundle):
            for number in self._numbers_readable(folder):
                path = folder / f"{number:012d}"
                try:
                    return _read(path, wanted, now_ms=now_ms)
                except SnapshotRefused as refusal:
                    log.warning("snapshot %s is refused: %s", path, refusal)
            return self._newest_shared(wanted, now_ms=now_ms)

    def _numbers_readable(self, folder: Path) -> list[int]:
        try:
            return _numbers_in(folder)
        # a file in its place, or another user's folder: a node starts without it
        except OSError as error:
            log.warning("no snapshot can be read in %s (%s)", folder, error.strerror)
            return []

    def _newest_shared(self, wanted: SnapshotOf, *, now_ms: int) -> Snapshot | None:
        if self._shared is None:
            return None
        try:
            for one in self._shared.of_bundle(wanted.bundle):
                try:
                    # before the whole of it is fetched
                    check_fits(one.manifest, wanted, now_ms=now_ms)
                    return _read(self._fetch(self._shared, one), wanted, now_ms=now_ms)
                except SnapshotRefused as refusal:
                    log.warning("snapshot %s of %s is refused: %s", one.path, self._shared.url, refusal)
        # the place, or the disk here; a node starts without it
        except (SnapshotsUnavailable, OSError) as error:
            log.warning("no snapshot can be fetched from %s (%s); reading the topic from its beginning", self._shared.url, error)
        return None

    def fetch(self, shared: SharedSnapshots, one: SharedSnapshot) -> Path:
        """Copy a shared snapshot to this store; returns its folder.

        Raises:
            SnapshotRefused: a byte of it is not what its manifest says.
            SnapshotsUnavailable: the place is away. Nothing is left of it, as after a refusal.
            OSError: the disk is full; as above.
        """
        with self._lock(one.manifest.of.bundle):
            return self._fetch(shared, one)

    def _fetch(self, shared: SharedSnapshots, one: SharedSnapshot) -> Path:
        def fill(folder: Path) -> None:
            for name in (*one.manifest.files, MANIFEST_NAME):
                self._files.write(folder / name, shared.parts(one, name))
            # before it is a snapshot of this node: it would be the newest, and push out the sound ones
            check(folder)

        log.info("fetching snapshot %s of %s: %d rows", one.path, shared.url, one.manifest.rows)
        return self._add(one.manifest.of.bundle, fill)

    def folders(self) -> Iterator[Path]:
        """Yield the folder of every snapshot here, each bundle's newest first."""
        for bundle in sorted(path for path in self.folder.iterdir() if path.is_dir()) if self.folder.is_dir() else ():
            for number in _numbers_in(bundle):
                yield bundle / f"{number:012d}"

    def forget(self, bundle: str) -> None:
        """Remove every snapshot of a bundle."""
        with self._lock(bundle):
            self._files.remove(self.folder / bundle)

    def keep_only(self, bundles: Collection[str]) -> None:
        """Remove the snapshots of all other bundles: they left while this node was down."""
        # not there yet; or a file in its place, or another user's: who writes to it next says so
        with suppress(OSError):
            for folder in self.folder.iterdir():
                # what else lies there is not ours: a copy that somebody made, or a mount's lost+found
                if folder.is_dir() and is_bundle_id(folder.name) and folder.name not in bundles:
                    log.info("bundle %s is not in use any more; its snapshots are removed", folder.name)
                    self.forget(folder.name)


def _numbers_in(folder: Path) -> list[int]:
    """Numbers of the snapshots in a bundle's folder, newest first."""
    try:
        return sorted((int(path.name) for path in folder.iterdir() if path.name.isdecimal()), reverse=True)
    except FileNotFoundError:
        return []


class _Hashed:
    """Parts passed on, counted and hashed."""

    def __init__(self, parts: Iterable[Part]) -> None:
        self._parts = parts
        self._hash = hashlib.sha256()
        self.bytes = 0

    def __iter__(self) -> Iterator[Part]:
        for part in self._parts:
            self._hash.update(part)
            self.bytes += len(part)
            yield part
            time.sleep(BREATH_S)

    @property
    def sha256(self) -> str:
        return self._hash.hexdigest()


def _read(folder: Path, wanted: SnapshotOf, *, now_ms: int) -> Snapshot:
    manifest = manifest_of(folder)
    check_fits(manifest, wanted, now_ms=now_ms)

    def column(name: str, dtype: str) -> NDArray[Any]:
        entry = manifest.files.get(name)
        if entry is None or entry.dtype != dtype:
            raise SnapshotRefused(f"its manifest names no file {name} of {dtype}")
        raw = _bytes_of(folder / name)
        if len(raw) != entry.bytes:
            raise SnapshotRefused(f"{name} is of {len(raw)} bytes, not the {entry.bytes} that its manifest says")
        if hashlib.sha256(raw).hexdigest() != entry.sha256:
            raise SnapshotRefused(f"{name} differs from its SHA-256 in the manifest")
        return np.frombuffer(raw, dtype)

    try:
        contents, deleted_ms = contents_of(column, dim=wanted.dim, expired_before_ms=manifest.expired_before_ms)
    except ValueError as error:
        raise SnapshotRefused(f"its columns do not fit together ({error})") from error
    if len(contents.rows) != manifest.rows:
        raise SnapshotRefused(f"it holds {len(contents.rows)} rows, its manifest says {manifest.rows}")
    return Snapshot(manifest.of, manifest.offsets, manifest.newest_append_ms, manifest.written_ms, contents, deleted_ms)


def manifest_of(folder: Path) -> Manifest:
    """Return what one snapshot's manifest says; raises `SnapshotRefused` where it cannot be believed."""
    return read_manifest(_bytes_of(folder / MANIFEST_NAME))


def check(folder: Path) -> Manifest:
    """Read one snapshot whole and return its manifest.

    Raises:
        SnapshotRefused: a byte of it is not what its manifest says.
    """
    manifest = manifest_of(folder)
    _read(folder, manifest.of, now_ms=manifest.written_ms)
    return manifest


def _bytes_of(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise SnapshotRefused(f"{path.name} cannot be read ({error.strerror})") from error
