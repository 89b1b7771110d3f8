"""Actions on threads that begin at the same moment: what one at a time is right may lose, or double, something then."""

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")


def at_once(actions: Sequence[Callable[[], T]]) -> list[T]:
    """Return what each action returns, in their order; raises what the first of them that failed has raised."""
    gate = threading.Barrier(len(actions))

    def begin(action: Callable[[], T]) -> T:
        gate.wait()
        return action()

    with ThreadPoolExecutor(len(actions)) as pool:
        return list(pool.map(begin, actions))
