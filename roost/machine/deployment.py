"""Where a running one-machine deployment writes what it is, so that other commands find it. Starts and stops nothing."""

import contextlib
import fcntl
import json
import shutil
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

from roost.whole_file import write_whole
from schemas.errors import RoostError

_FILE_NAME = "deployment.json"
# Held by the launcher for as long as it lives. A process id proves nothing: after a reboot it is somebody else's.
_LOCK_NAME = "up.lock"
# whoever looks whether a launcher runs holds the lock for a moment
_LOOK_S = 1.0
LEAST_FREE_BYTES = 64 * 2**20


@dataclass(frozen=True, slots=True)
class Deployment:
    """A running `roost up`.

    Attributes:
        pid: process id of the launcher.
        bootstrap: the broker, host:port.
        node_url: base address of the serving node.
        registry: folder of the bundles.
        surfaces: file of the surfaces, or None for the shipped ones.
        roles: process id by role.
        console_url: base address of the console; None when it does not run.
        restarts: how often a role that ended was started again, by role.
    """

    pid: int
    bootstrap: str
    node_url: str
    registry: str
    surfaces: str | None
    roles: dict[str, int]
    console_url: str | None = None
    restarts: dict[str, int] = field(default_factory=dict)

    def write(self, data_dir: Path) -> None:
        """Write whole or not at all."""
        write_whole(data_dir / _FILE_NAME, json.dumps(asdict(self), indent=2))

    @staticmethod
    def find(data_dir: Path) -> "Deployment | None":
        """Return the deployment that runs on `data_dir`, or None."""
        if not _is_held(data_dir):
            return None
        try:
            return Deployment(**json.loads((data_dir / _FILE_NAME).read_text()))
        except (FileNotFoundError, ValueError, TypeError):
            return None

    @staticmethod
    def require(data_dir: Path) -> "Deployment":
        """Return the deployment that runs on `data_dir`; raises `RoostError` when there is none."""
        deployment = Deployment.find(data_dir)
        if deployment is None and _is_held(data_dir):
            raise RoostError(f"`roost up` is still starting, or stopping, on {data_dir}; ask again in a moment")
        if deployment is None:
            raise RoostError(f"nothing runs on {data_dir}; start it with `roost up`, or name the broker and node to use")
        return deployment


def make_folder(data_dir: Path) -> None:
    """Make the folder of a deployment; raises `RoostError` that says what else to do where it cannot be, or its disk is full."""
    try:
        data_dir.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RoostError(f"the folder {data_dir} cannot be made ({error.strerror}); name another with --data-dir") from error
    # a broker that cannot write ends, and says so in a log that cannot be written either
    free_bytes = shutil.disk_usage(data_dir).free
    if free_bytes < LEAST_FREE_BYTES:
        raise RoostError(
            f"the disk of {data_dir} has {free_bytes / 2**20:.0f} MiB free, less than {LEAST_FREE_BYTES / 2**20:.0f}; "
            "make room there, or name another folder with --data-dir"
        )


@contextlib.contextmanager
def claimed(data_dir: Path) -> Iterator[None]:
    """Let nobody else start a deployment on `data_dir` meanwhile; at the end this one is forgotten.

    Raises:
        RoostError: one runs there already, or the folder cannot be made or written to.
    """
    make_folder(data_dir)
    try:
        lock = (data_dir / _LOCK_NAME).open("ab")
    except OSError as error:
        raise RoostError(f"the folder {data_dir} cannot be written to ({error.strerror}); name another with --data-dir") from error
    with lock:
        deadline_s = time.monotonic() + _LOOK_S
        while not _taken(lock.fileno(), fcntl.LOCK_EX):
            if time.monotonic() > deadline_s:
                running = Deployment.find(data_dir)
                pid = "" if running is None else f" (pid {running.pid})"
                raise RoostError(f"a deployment already runs on {data_dir}{pid}; `roost down` stops it")
            time.sleep(0.05)
        try:
            yield
        finally:
            (data_dir / _FILE_NAME).unlink(missing_ok=True)


def _is_held(data_dir: Path) -> bool:
    try:
        # a lock can be asked for without the right to write
        with (data_dir / _LOCK_NAME).open("rb") as lock:
            return not _taken(lock.fileno(), fcntl.LOCK_SH)
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return False


def _taken(file_number: int, how: int) -> bool:
    try:
        fcntl.flock(file_number, how | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
