"""The few operations on disk that a snapshot is made of, each of which may be the last one before a crash. Decides nothing."""

import os
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO

from schemas.registry.folder import sync_folder


class Files:
    """The real disk. A test stands in for single operations to stop, or to fail, at each of them."""

    def make_folder(self, folder: Path) -> None:
        """Make a folder, and those above it."""
        folder.mkdir(parents=True, exist_ok=True)

    def write(self, path: Path, parts: Iterable[bytes | memoryview]) -> None:
        """Write a new file; on return its bytes are on the disk."""
        with path.open("xb") as handle:
            for part in parts:
                self.put(handle, part)
            handle.flush()
            self.sync(handle)

    def put(self, handle: BinaryIO, part: bytes | memoryview) -> None:
        """Append bytes; the interpreter is free meanwhile."""
        handle.write(part)

    def sync(self, handle: BinaryIO) -> None:
        """Wait until a file's bytes are on the disk."""
        os.fsync(handle.fileno())

    def sync_folder(self, folder: Path) -> None:
        """Wait until a folder's entries are on the disk."""
        sync_folder(folder)

    def rename(self, before: Path, after: Path) -> None:
        """Give a folder another name, in one step."""
        before.rename(after)

    def remove(self, folder: Path) -> None:
        """Remove a folder and what is in it; what is already gone does not matter."""
        shutil.rmtree(folder, ignore_errors=True)
