"""The thread that has a node's indexes saved, now and then and at the end. Writes nothing itself; knows no files."""

import logging
import os
import threading
from collections.abc import Callable

log = logging.getLogger(__name__)

STOP_WAIT_S = 30.0
NICENESS = 10
"""Its processor time comes after the queries', but it is never starved: it holds the interpreter's lock now and then."""


class Snapshotter:
    """Calls `save` every `every_s` until stopped, and once more then."""

    def __init__(self, save: Callable[[], None], *, every_s: float) -> None:
        self._save = save
        self._every_s = every_s
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="snapshots", daemon=True)

    def start(self) -> None:
        """Begin; once."""
        self._thread.start()

    def stop(self) -> None:
        """Save a last time; returns when that is done. A disk that does not answer is not waited for: the older snapshots stay."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(STOP_WAIT_S)

    def _run(self) -> None:
        _give_way()
        while not self._stopping.wait(self._every_s):
            self._try_to_save()
        self._try_to_save()

    def _try_to_save(self) -> None:
        try:
            self._save()
        # whatever it was, the node answers on and the next attempt may succeed
        except Exception:
            log.exception("the snapshots failed; trying again in %.0f s", self._every_s)


def _give_way() -> None:
    # Linux counts niceness by thread; elsewhere it would slow the whole process
    if hasattr(os, "SCHED_IDLE"):
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICENESS)
