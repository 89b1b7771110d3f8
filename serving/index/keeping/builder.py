"""The background thread that does an index's upkeep at the lowest priority, and says that it lives. Knows no tiers."""

import logging
import os
import threading
import time

from serving.index.keeping.upkeep import Upkeep

log = logging.getLogger(__name__)

PAUSE_AFTER_FAULT_S = 1.0
STOP_WAIT_S = 2.0


class Builder:
    """Runs `Upkeep.step` until stopped. A fault is kept, logged, and retried; the heartbeat stops only with the thread."""

    def __init__(self, upkeep: Upkeep, *, pause_s: float, yields: bool = True) -> None:
        self._upkeep = upkeep
        self._pause_s = pause_s
        self._yields = yields
        self._wake = threading.Event()
        self._stopping = threading.Event()
        self._beat_s = time.monotonic()
        self.fault: str | None = None
        self._thread = threading.Thread(target=self._run, name="index-builder", daemon=True)

    @property
    def running(self) -> bool:
        """Whether the thread lives."""
        return self._thread.is_alive()

    @property
    def heartbeat_age_s(self) -> float:
        """Seconds since the thread last began a step."""
        return time.monotonic() - self._beat_s

    def start(self) -> None:
        """Begin; once."""
        self._thread.start()

    def wake(self) -> None:
        """Look for work now instead of after the pause."""
        self._wake.set()

    def stop(self) -> None:
        """End the thread after the step it is in. Waits a moment for that, no longer: on a busy machine a step may take long."""
        self._stopping.set()
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join(STOP_WAIT_S)

    def _run(self) -> None:
        if self._yields:
            yield_to_everything()
        while not self._stopping.is_set():
            self._beat_s = time.monotonic()
            try:
                worked = self._upkeep.step()
                self.fault = None
            # whatever it was, the index still answers and the next step may succeed; the fault is an alarm, not an end
            except Exception as fault:
                log.exception("index upkeep failed; trying again in %.0f s", PAUSE_AFTER_FAULT_S)
                self.fault = f"{type(fault).__name__}: {fault}"
                # a wake does not end it: while rows wait a writer wakes with every batch
                self._stopping.wait(PAUSE_AFTER_FAULT_S)
                continue
            if not worked:
                self._wake.wait(self._pause_s)
                self._wake.clear()


def yield_to_everything() -> bool:
    """Let the calling thread run only when a core is idle (Linux SCHED_IDLE); elsewhere says so and changes nothing."""
    if not hasattr(os, "SCHED_IDLE"):
        log.warning("no SCHED_IDLE on this system: index building competes with queries for the processor")
        return False
    try:
        os.sched_setscheduler(threading.get_native_id(), os.SCHED_IDLE, os.sched_param(0))
    except OSError as refused:
        log.warning("SCHED_IDLE was refused (%s): index building competes with queries for the processor", refused)
        return False
    return True
