"""Where a running one-machine deployment writes what it is, so that other commands find it. Starts and stops nothing."""

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

from schemas.errors import RoostError

_FILE_NAME = "deployment.json"


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
    """

    pid: int
    bootstrap: str
    node_url: str
    registry: str
    surfaces: str | None
    roles: dict[str, int]
    console_url: str | None = None

    def write(self, data_dir: Path) -> None:
        """Write whole or not at all."""
        temporary = data_dir / f".{_FILE_NAME}"
        temporary.write_text(json.dumps(asdict(self), indent=2))
        temporary.replace(data_dir / _FILE_NAME)

    @staticmethod
    def remove(data_dir: Path) -> None:
        """Forget the deployment."""
        (data_dir / _FILE_NAME).unlink(missing_ok=True)

    @staticmethod
    def find(data_dir: Path) -> "Deployment | None":
        """Return the deployment that runs on `data_dir`, or None."""
        try:
            deployment = Deployment(**json.loads((data_dir / _FILE_NAME).read_text()))
        except (FileNotFoundError, ValueError, TypeError):
            return None
        return deployment if _is_alive(deployment.pid) else None

    @staticmethod
    def require(data_dir: Path) -> "Deployment":
        """Return the deployment that runs on `data_dir`; raises `RoostError` when there is none."""
        deployment = Deployment.find(data_dir)
        if deployment is None:
            raise RoostError(f"nothing runs on {data_dir}; start it with `roost up`, or name the broker and node to use")
        return deployment


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
