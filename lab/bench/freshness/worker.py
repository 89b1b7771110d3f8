"""One part of a run in a process of its own, so that no part waits for another's interpreter. Knows no part's job."""

import multiprocessing
import traceback
from collections.abc import Callable
from multiprocessing.connection import Connection
from types import TracebackType
from typing import Any, Self

from schemas.errors import RoostError

# forking a process that holds threads of a Kafka client can lock the child
_SPAWN = multiprocessing.get_context("spawn")


class PartFailed(RoostError):
    """A part of the benchmark ended with an error; its trace is in the message."""


class Worker:
    """A process that runs `part(connection, *arguments)`; what it sends is what `ask` and `receive` return."""

    def __init__(self, part: Callable[..., None], *arguments: object) -> None:
        """Start; `part` and the arguments are pickled."""
        self._connection, theirs = _SPAWN.Pipe()
        self._process = _SPAWN.Process(target=_guarded, args=(part, theirs, arguments), daemon=True)
        self._process.start()
        theirs.close()

    @property
    def pid(self) -> int:
        """The process's id."""
        return self._process.pid or 0

    def tell(self, message: object) -> None:
        """Send the part a message."""
        self._connection.send(message)

    def has_said(self, *, wait_s: float) -> bool:
        """Tell whether a message of the part's waits to be received, or comes in this time; its end counts as one."""
        return self._connection.poll(wait_s)

    def receive(self, *, timeout_s: float) -> Any:
        """Return the part's next message.

        Raises:
            PartFailed: it ended, or said nothing for `timeout_s`.
        """
        if not self._connection.poll(timeout_s):
            raise PartFailed(f"a part of the benchmark said nothing for {timeout_s:g} s")
        try:
            message = self._connection.recv()
        except EOFError as error:
            raise PartFailed(f"a part of the benchmark ended with {self._process.exitcode}") from error
        if isinstance(message, PartFailed):
            raise message
        return message

    def ask(self, message: object, *, timeout_s: float) -> Any:
        """Send a message and return the answer; raises as `receive` does."""
        self.tell(message)
        return self.receive(timeout_s=timeout_s)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._connection.close()
        self._process.join(2.0)
        if self._process.is_alive():
            self._process.terminate()
            self._process.join()


def _guarded(part: Callable[..., None], connection: Connection, arguments: tuple[object, ...]) -> None:
    try:
        part(connection, *arguments)
    except (EOFError, BrokenPipeError):
        # the benchmark ended before this part did
        return
    except Exception:  # noqa: BLE001  it is told to whoever waits
        connection.send(PartFailed(traceback.format_exc()))
