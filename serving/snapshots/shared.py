"""Snapshots on a place that nodes share, of any kind fsspec knows: a folder, s3://, gs://. Judges no contents, keeps none in use.

    <url>/<node>/<bundle>/000000000042/manifest.json, vectors, ids …

Laid out as a node's own folder is, so the folder that several nodes write under is such a place as it stands. The manifest is put
last: what has none is not finished.
"""

import errno
import logging
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import fsspec

from serving.snapshots.manifest import MANIFEST_NAME, Manifest, read_manifest
from serving.snapshots.snapshot import SnapshotRefused, SnapshotsUnavailable

log = logging.getLogger(__name__)

# a link to itself, or a bad sector: of one file or folder, where what lies beside it may be read
_OF_ONE = {errno.ELOOP, errno.ENAMETOOLONG, errno.EIO}


@dataclass(frozen=True, slots=True)
class SharedSnapshot:
    """One finished snapshot there: its path on the file system, and what its manifest says."""

    path: str
    manifest: Manifest


class SharedSnapshots:
    """Reads and writes below one URL. Every method raises `SnapshotsUnavailable` when the place cannot be reached."""

    def __init__(self, url: str) -> None:
        """Connect to nothing yet.

        Raises:
            ValueError: no such kind of place.
            ImportError: its kind needs a package that is not installed, such as s3fs.
        """
        self._files, self._root = fsspec.core.url_to_fs(url)
        self.url = url
        self._told: set[str] = set()

    def of_bundle(self, bundle: str) -> list[SharedSnapshot]:
        """Return every finished snapshot of a bundle, of whichever node, the newest first. One that is damaged is passed over."""
        found = []
        for node in self._names(self._root):
            for number in self._names_in(f"{self._root}/{node}/{bundle}"):
                path = f"{self._root}/{node}/{bundle}/{number}"
                try:
                    with self._asked_of_one():
                        manifest = self._files.cat_file(f"{path}/{MANIFEST_NAME}")
                    found.append(SharedSnapshot(path, read_manifest(manifest)))
                except (FileNotFoundError, NotADirectoryError):
                    # under way, or removed by its node meanwhile; or a file of somebody else's
                    continue
                except SnapshotRefused as refusal:
                    self._pass_over(f"snapshot {path}", refusal)
        return sorted(found, key=lambda one: one.manifest.written_ms, reverse=True)

    def bundles(self) -> set[str]:
        """Return the bundles of which there are snapshots."""
        return {bundle for node in self._names(self._root) for bundle in self._names_in(f"{self._root}/{node}")}

    def parts(self, one: SharedSnapshot, name: str, *, part_bytes: int = 1 << 20) -> Iterator[bytes]:
        """Yield a file's bytes in parts; raises `SnapshotRefused` where it is missing, or cannot be read."""
        try:
            with self._asked_of_one(), self._files.open(f"{one.path}/{name}", "rb") as handle:
                while part := handle.read(part_bytes):
                    yield part
        except FileNotFoundError as error:
            raise SnapshotRefused(f"{name} is not there") from error

    def put(self, folder: Path, *, node: str, bundle: str) -> str:
        """Copy a finished snapshot from its folder on this machine; returns its path there. Done twice it changes nothing.

        Raises:
            FileNotFoundError: its node has removed it meanwhile; of this, as of a place that is full, nothing is left there.
        """
        path = f"{self._root}/{node}/{bundle}/{folder.name}"
        there = f"{path}/{MANIFEST_NAME}"
        with self._asked():
            if self._files.exists(there):
                if self._files.cat_file(there) == (folder / MANIFEST_NAME).read_bytes():
                    return path
                # a node whose disk is a new one counts from one again; the manifest first: what has none is not taken for one
                self._files.rm(there)
                self._files.rm(path, recursive=True)
            self._files.makedirs(path, exist_ok=True)
            try:
                for file in sorted(folder.iterdir(), key=lambda file: file.name == MANIFEST_NAME):
                    self._files.put_file(str(file), f"{path}/{file.name}")
            # its node has removed it, the place is full, or somebody ended the command
            except BaseException:
                # what has no manifest nobody would ever remove; where the place is away, nor can we
                with suppress(Exception):
                    self._files.rm(path, recursive=True)
                raise
        return path

    def remove_old(self, written_before_ms: int) -> list[str]:
        """Remove the snapshots of every node and bundle that were written before a Unix millisecond; return their paths."""
        removed = []
        for bundle in sorted(self.bundles()):
            for one in self.of_bundle(bundle):
                if one.manifest.written_ms < written_before_ms:
                    # its node may be removing it at the same time
                    with suppress(FileNotFoundError), self._asked():
                        # the manifest first: what has none is not taken for one
                        self._files.rm(f"{one.path}/{MANIFEST_NAME}")
                        self._files.rm(one.path, recursive=True)
                        removed.append(one.path)
        return removed

    def _names_in(self, path: str) -> list[str]:
        """As `_names`, of a folder below: one that cannot be read hides none of the others."""
        try:
            with self._of_one():
                return self._names(path)
        except SnapshotRefused as refusal:
            self._pass_over(path, refusal)
            return []

    def _pass_over(self, what: str, refusal: SnapshotRefused) -> None:
        # every bundle's restore comes by, and every retry
        if what not in self._told:
            self._told.add(what)
            log.warning("%s of %s is refused: %s", what, self.url, refusal)

    def _names(self, path: str) -> list[str]:
        try:
            with self._asked():
                # some kinds remember listings
                self._files.invalidate_cache()
                entries: list[str] = self._files.ls(path, detail=False)
        except (FileNotFoundError, NotADirectoryError):
            return []
        return sorted(entry.rstrip("/").rpartition("/")[2] for entry in entries)

    @contextmanager
    def _asked_of_one(self) -> Iterator[None]:
        """As `_asked`; raises `SnapshotRefused` where what is asked for cannot be read, though the place is there."""
        with self._of_one(), self._asked():
            yield

    @contextmanager
    def _of_one(self) -> Iterator[None]:
        try:
            yield
        except SnapshotsUnavailable as error:
            cause = error.__cause__
            if isinstance(cause, PermissionError) or (isinstance(cause, OSError) and cause.errno in _OF_ONE):
                raise SnapshotRefused(f"it cannot be read ({cause.strerror or cause})") from cause
            raise

    @contextmanager
    def _asked(self) -> Iterator[None]:
        try:
            yield
        # they say that the place answered
        except (FileNotFoundError, NotADirectoryError):
            raise
        # each kind of place has errors of its own, not all of them OSError
        except Exception as error:
            raise SnapshotsUnavailable(
                f"{self.url} cannot be used ({type(error).__name__}: {error}); check its address, credentials, network and "
                "free space"
            ) from error
