"""What every kind of registry does, whatever holds the files. Paths lead from its root, with slashes."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Protocol, TypeVar

from schemas.progress import OnProgress, untold

T = TypeVar("T")

# the bytes of a file by its name, of at most so many; raises as `BundleRegistry.read`
Read = Callable[[str, int], bytes]
# makes something of files that lie together; raises `BundleCorrupt` where they are not what they should be
Check = Callable[[Read], T]


class BundleRegistry(Protocol):
    """Files that are read and never changed. A method raises `BundlesUnavailable` when the place does not answer.

    As a string it is what a person calls the place, for sentences.
    """

    @property
    def folder(self) -> Path:
        """The folder on this machine that holds its bundles, or those that were fetched from it."""
        ...

    def names(self, path: str) -> list[str]:
        """Return the names below a path, sorted; none where nothing is."""
        ...

    def read(self, path: str, most_bytes: int) -> bytes:
        """Return a file's bytes; raises `BundleCorrupt` where there is no plain file of at most so many, or it may not be read."""
        ...

    def checked(self, path: str, check: Check[T], *, keep: bool = False) -> T:
        """Return what the check makes of the files below a path: of the copies on this machine, where they pass it.

        Args:
            keep: leave a copy of what had to be fetched, whole if the check reads all of it.
        """
        ...

    def create(self, path: str, content: bytes) -> bool:
        """Put a file where there is none, and tell whether this was done: of many at once one does.

        Args:
            content: differs from what anybody else would put there.

        Raises:
            Refused: on this kind of store nobody can.
            BundlesUnavailable: the store is away, cannot be written to, or is full.
        """
        ...

    def publish(
        self, path: str, files: Mapping[str, bytes], *, last: str, check: Check[object], on_progress: OnProgress = untold
    ) -> None:
        """Put files below a path unless they are there, and check what is there then; nobody sees `last` without the others.

        Args:
            on_progress: of the bytes that are put, told as each file is.
        """
        ...

    def require_writable(self) -> None:
        """Raise `BundlesUnavailable` where nothing can be written."""
        ...
