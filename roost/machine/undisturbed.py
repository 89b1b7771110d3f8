"""Signals that wait until what stops other processes is done. Starts and stops nothing."""

import contextlib
import signal
import threading
from collections.abc import Iterator

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextlib.contextmanager
def undisturbed() -> Iterator[None]:
    """Let SIGINT or SIGTERM come after the block, as one. Threads other than the main one hear of none anyway."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    came: list[int] = []
    before = {signum: signal.signal(signum, lambda number, _: came.append(number)) for signum in _SIGNALS}
    try:
        yield
    finally:
        for signum, handler in before.items():
            # None stands for one that was not set from Python
            signal.signal(signum, handler or signal.SIG_DFL)
        if came:
            signal.raise_signal(came[0])
