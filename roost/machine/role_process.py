"""One role as a child process: started, watched, restarted, stopped. Knows nothing of what the role does."""

import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from roost.child import spawn
from roost.settings import child_environment

# a role that dies at once, again and again, must not take the machine with it
_BACKOFF_S = (0.5, 1.0, 2.0, 5.0, 10.0)
_STABLE_S = 30.0


class RoleProcess:
    """`python -m roost <arguments>` with its log in a file."""

    def __init__(self, name: str, arguments: tuple[str, ...], *, environment: Mapping[str, str], log_dir: Path) -> None:
        """Describe the role; starts nothing.

        Args:
            name: the role's name, of its log file too.
            arguments: words behind `roost`.
            environment: variables added to this process's own.
            log_dir: an existing folder.
        """
        self.name = name
        self.restarts = 0
        self._arguments = arguments
        self._environment = dict(environment)
        self.log_path = log_dir / f"{name}.log"
        self._process: subprocess.Popen[bytes] | None = None
        self._started_s = 0.0
        self._failures = 0
        self._next_start_s = 0.0

    @property
    def pid(self) -> int | None:
        """Process id, or None when it does not run."""
        return self._process.pid if self._process is not None and self._process.poll() is None else None

    def start(self) -> None:
        """Start the process; one that runs is left alone."""
        if self.pid is not None:
            return
        with self.log_path.open("ab") as log:
            self._process = spawn(
                [sys.executable, "-m", "roost", *self._arguments], log=log, environment=child_environment(self._environment)
            )
        self._started_s = time.monotonic()

    def revive(self) -> str | None:
        """Start the role again if it died and its pause is over; return a sentence for people when something happened."""
        if self._process is None or self.pid is not None:
            return None
        now_s = time.monotonic()
        if self._next_start_s == 0.0:
            if now_s - self._started_s > _STABLE_S:
                self._failures = 0
            pause_s = _BACKOFF_S[min(self._failures, len(_BACKOFF_S) - 1)]
            self._failures += 1
            self._next_start_s = now_s + pause_s
            return f"{self.name} ended with {self._process.returncode}; it starts again in {pause_s:g} s (log: {self.log_path})"
        if now_s < self._next_start_s:
            return None
        try:
            self.start()
        # the machine is out of memory or of processes, as it was for the one that ended: the others run on meanwhile
        except OSError as error:
            self._next_start_s = now_s + _BACKOFF_S[-1]
            return f"{self.name} does not start, and is tried again in {_BACKOFF_S[-1]:g} s: {error}"
        self._next_start_s = 0.0
        self.restarts += 1
        return f"{self.name} started again"

    def ask_to_stop(self) -> None:
        """Send SIGTERM."""
        if self._process is not None and self.pid is not None:
            self._process.send_signal(signal.SIGTERM)

    def await_stop(self, *, timeout_s: float) -> bool:
        """Wait for the end; kill after `timeout_s`. Returns whether it stopped by itself."""
        process, self._process = self._process, None
        if process is None:
            return True
        try:
            process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            return False
        return True

    def kill(self) -> None:
        """SIGKILL, as a power cut would; `revive` starts it again."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def log_tail(self, lines: int = 20) -> str:
        """Return the last lines of the role's log."""
        if not self.log_path.is_file():
            return ""
        return "\n".join(self.log_path.read_text(errors="replace").splitlines()[-lines:])
