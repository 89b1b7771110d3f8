"""Snapshots to write and read, and a disk that fails where it is told to. Holds no test."""

import os
from pathlib import Path
from typing import BinaryIO

import numpy as np

from serving.index import IndexContents, Rows
from serving.snapshots.files import Files
from serving.snapshots.snapshot import Snapshot, SnapshotOf

OF = SnapshotOf("0123456789abcdef", "topic-one", 8)
NOW_MS = 1_000_000


def contents(count: int, *, seed: int = 0, deletes: int = 3, codebook: bool = True) -> IndexContents:
    """Return contents with every kind of value that must come back unchanged."""
    rng = np.random.default_rng(seed)
    vectors = rng.normal(size=(count, OF.dim)).astype(np.float32)
    rows = Rows(
        candidate_ids=[f"t:鳥-{seed}-{n}" for n in range(count)],
        vectors=vectors / np.linalg.norm(vectors, axis=1, keepdims=True),
        versions=np.stack([np.arange(count) + 2**40, np.full(count, 2**63 - 1)], axis=1),
        created_ms=np.arange(count, dtype=np.int64) - 5,
        languages=[("en", "", "ja", "🐦")[n % 4] for n in range(count)],
        author_ids=[f"a:{n % 7}" for n in range(count)],
        payloads=[b"\x00\xff\n" * (n % 5) for n in range(count)],
    )
    deleted = {f"t:gone-{seed}-{n}": (n, 2**63 - 1) for n in range(deletes)}
    return IndexContents(rows, deleted, -(2**63), rng.normal(size=(OF.dim, 16)).astype(np.float32) if codebook else None)


def snapshot(count: int, *, seed: int = 0, of: SnapshotOf = OF, written_ms: int = NOW_MS) -> Snapshot:
    """Return a snapshot whose offsets tell which one it is."""
    held = contents(count, seed=seed)
    return Snapshot(of, {0: seed, 3: 7 * seed}, 5_000 + seed, written_ms, held, deleted_ms(held))


def deleted_ms(held: IndexContents) -> dict[str, int]:
    """Return when each delete in contents was appended."""
    return {candidate_id: 700 + at for at, candidate_id in enumerate(held.deleted)}


class Crash(BaseException):
    """The process ends here: nobody catches it, nothing is tidied up."""


class UnsyncedFiles(Files):
    """The real disk without the wait for it: a test does not cut the power."""

    def sync(self, handle: BinaryIO) -> None:
        """As `Files.sync`, at once."""

    def sync_folder(self, folder: Path) -> None:
        """As `Files.sync_folder`, at once."""


class FailingFiles(UnsyncedFiles):
    """The real disk until its n-th operation, which raises in the middle.

    `lose_unsynced` is what a power cut does: files whose sync did not return keep half their bytes; a rename whose folder's
    sync did not return is undone.
    """

    def __init__(self, fail_at: int, error: BaseException) -> None:
        self._left = fail_at
        self._error = error
        self._unsynced: set[Path] = set()
        self._renamed: list[tuple[Path, Path]] = []
        self.failed = False

    def _count(self) -> None:
        self._left -= 1
        if self._left == 0:
            self.failed = True
            raise self._error

    def make_folder(self, folder: Path) -> None:
        """As `Files.make_folder`."""
        self._count()
        super().make_folder(folder)

    def put(self, handle: BinaryIO, part: bytes | memoryview) -> None:
        """As `Files.put`; failing, half of the bytes are written."""
        self._unsynced.add(Path(handle.name))
        try:
            self._count()
        except BaseException:
            super().put(handle, part[: len(part) // 2])
            raise
        super().put(handle, part)

    def sync(self, handle: BinaryIO) -> None:
        """As `Files.sync`."""
        self._count()
        super().sync(handle)
        self._unsynced.discard(Path(handle.name))

    def sync_folder(self, folder: Path) -> None:
        """As `Files.sync_folder`."""
        self._count()
        super().sync_folder(folder)
        self._renamed = [pair for pair in self._renamed if pair[1].parent != folder]

    def rename(self, before: Path, after: Path) -> None:
        """As `Files.rename`."""
        self._count()
        super().rename(before, after)
        self._renamed.append((before, after))

    def remove(self, folder: Path) -> None:
        """As `Files.remove`; failing, one file of the folder is gone."""
        try:
            self._count()
        except BaseException:
            for path in sorted(folder.glob("*"))[:1]:
                path.unlink()
            raise
        super().remove(folder)

    def lose_unsynced(self) -> None:
        """Let the power be cut now."""
        for path in self._unsynced:
            if path.exists():
                os.truncate(path, path.stat().st_size // 2)
        for before, after in reversed(self._renamed):
            if after.exists():
                after.rename(before)
