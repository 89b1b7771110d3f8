"""A registry of bundles in a folder: files whole or not at all, and lasting. Judges none; see `schemas.bundle`."""

import errno
import os
import shutil
import stat
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from io import FileIO
from pathlib import Path

from schemas.errors import BundleCorrupt, BundlesUnavailable
from schemas.progress import OnProgress, told_by_bytes, untold
from schemas.registry.kind import Check, T

# what lies there, and goes on being so; any other error is of the disk, the mount or this process
_OF_THE_FILE = {
    errno.ENOENT,
    errno.ENOTDIR,
    errno.EISDIR,
    errno.ELOOP,
    errno.ENXIO,
    errno.ENAMETOOLONG,
    errno.EACCES,
    errno.EPERM,
}


@dataclass(frozen=True, slots=True)
class FolderRegistry:
    """Reads and writes below one folder; methods as `schemas.registry.kind.BundleRegistry` says them."""

    folder: Path

    def __str__(self) -> str:
        """Return the folder's path, for sentences."""
        return str(self.folder)

    def names(self, path: str) -> list[str]:
        """See `BundleRegistry.names`."""
        try:
            return sorted(entry.name for entry in (self.folder / path).iterdir())
        except (FileNotFoundError, NotADirectoryError):
            return []
        except OSError as error:
            raise self._unavailable(path, error) from error

    def read(self, path: str, most_bytes: int) -> bytes:
        """See `BundleRegistry.read`."""
        file_path = self.folder / path
        try:
            with FileIO(file_path, opener=_open_plain) as file:
                status = os.fstat(file.fileno())
                if not stat.S_ISREG(status.st_mode) or status.st_size > most_bytes:
                    raise BundleCorrupt(f"{file_path} is no plain file of at most {most_bytes} bytes")
                return file.read()
        except OSError as error:
            # nor is it the file's fault where the whole registry is not there
            if error.errno not in _OF_THE_FILE or not os.access(self.folder, os.F_OK):
                raise self._unavailable(path, error) from error
            raise BundleCorrupt(f"{file_path} cannot be read ({error.strerror}); publish the bundle again") from error

    def _unavailable(self, path: str, error: OSError) -> BundlesUnavailable:
        return BundlesUnavailable(
            f"{self.folder / path} cannot be read just now ({error.strerror}); look at the disk, or the mount, of {self}"
        )

    def checked(self, path: str, check: Check[T], *, keep: bool = False) -> T:
        """See `BundleRegistry.checked`: it lies on this machine already."""
        return check(lambda name, most_bytes: self.read(f"{path}/{name}", most_bytes))

    def create(self, path: str, content: bytes) -> bool:
        """See `BundleRegistry.create`."""
        try:
            return self._create(self.folder / path, content)
        except OSError as error:
            raise BundlesUnavailable(
                f"{self} cannot be written to ({error.strerror}); make room, or name another folder"
            ) from error

    def _create(self, target: Path, content: bytes) -> bool:
        target.parent.mkdir(parents=True, exist_ok=True)
        descriptor, temporary = tempfile.mkstemp(prefix=".", dir=target.parent)
        try:
            with os.fdopen(descriptor, "wb") as file:
                # other roles may run as other users
                os.fchmod(descriptor, 0o644)
                file.write(content)
                file.flush()
                os.fsync(descriptor)
            # a link is made where nothing is, and whole; a rename would go over what is there
            target.hardlink_to(temporary)
        except FileExistsError:
            return False
        finally:
            Path(temporary).unlink()
        sync_folder(target.parent)
        return True

    def publish(
        self, path: str, files: Mapping[str, bytes], *, last: str, check: Check[object], on_progress: OnProgress = untold
    ) -> None:
        """See `BundleRegistry.publish`: written under a hidden name, synced, then renamed, also beside other writers."""
        try:
            if not (self.folder / path).exists():
                self._put(path, files, on_progress)
        except OSError as error:
            raise BundlesUnavailable(
                f"{self} cannot be written to ({error.strerror}); make room, or name another folder"
            ) from error
        self.checked(path, check)

    def replace(self, path: str, files: Mapping[str, bytes]) -> None:
        """Put files in the place of what cannot be read; who reads it at this moment finds nothing."""
        shutil.rmtree(self.folder / path, ignore_errors=True)
        self._put(path, files)

    def require_writable(self) -> None:
        """See `BundleRegistry.require_writable`."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=self.folder):
                return
        except OSError as error:
            raise BundlesUnavailable(f"no bundle can be published in {self} ({error.strerror}); name another folder") from error

    def _put(self, path: str, files: Mapping[str, bytes], on_progress: OnProgress = untold) -> None:
        target = self.folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        staging = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
        try:
            _fill(staging, told_by_bytes(f"writing to {self}", files, on_progress))
            _rename_unless_published(staging, target)
        finally:
            shutil.rmtree(staging, ignore_errors=True)


def _open_plain(path: str, flags: int) -> int:
    # never through a link, and never waiting for a pipe's other end
    return os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK)


def sync_folder(folder: Path) -> None:
    """Make what was put into a folder outlast a loss of power."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _fill(folder: Path, files: Iterable[tuple[str, bytes]]) -> None:
    # mkdtemp lets only its owner in; other roles may run as other users
    folder.chmod(0o755)
    for name, content in files:
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
