"""How fast this machine is just now, whatever runs on it: what tells two runs of one benchmark apart. Measures nothing of Roost."""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from lab.bench.machine import commit, loop_ms, machine
from lab.bench.progress import OnProgress, counted, untold

PAUSE_MS = 1.0
"""A loop that does nothing but look at the clock sees each look within a microsecond; from this on it was not running."""
_LOOPS = 15
_WRITES = 100
_SCANS = 50
_SCANNED = (50_000, 64)


def run(*, seconds: float = 5.0, folder: Path | None = None, on_progress: OnProgress = untold) -> dict[str, object]:
    """Measure the processor alone and with every other core busy, pauses, memory and disk.

    Args:
        seconds: how long pauses are looked for.
        folder: on the disk that matters, the broker's; None takes the system's temporary one.
        on_progress: called with the parts measured, and how many there are.
    """
    measured = counted(5, on_progress)
    alone_ms = loop_ms(_LOOPS)
    measured()
    with _others_busy():
        beside_ms = loop_ms(_LOOPS)
    measured()
    pauses_ms = pauses(seconds)
    measured()
    synced_ms = _synced_ms(folder)
    measured()
    scan_ms = _scan_ms()
    measured()
    return {
        "bench": "calibrate",
        "machine": machine(),
        "commit": commit(),
        "config": {"seconds": seconds, "pause_ms": PAUSE_MS},
        "seed_list": [],
        "loop_ms": round(alone_ms, 2),
        "beside_over_alone": round(beside_ms / alone_ms, 2),
        "paused_share": round(sum(pauses_ms) / 1000 / seconds, 4),
        "longest_pause_ms": round(max(pauses_ms, default=0.0), 1),
        "scan_ms": round(scan_ms, 2),
        "sync_ms_p50": round(float(np.percentile(synced_ms, 50)), 2),
        "sync_ms_p99": round(float(np.percentile(synced_ms, 99)), 2),
    }


def pauses(seconds: float) -> list[float]:
    """Return the milliseconds of each pause of at least `PAUSE_MS` in a loop that only looks at the clock."""
    found = []
    seen_s = time.perf_counter()
    end_s = seen_s + seconds
    while seen_s < end_s:
        now_s = time.perf_counter()
        if (now_s - seen_s) * 1000 >= PAUSE_MS:
            found.append((now_s - seen_s) * 1000)
        seen_s = now_s
    return found


@contextmanager
def _others_busy() -> Iterator[None]:
    busy = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range((os.cpu_count() or 1) - 1)]
    try:
        # until they run
        time.sleep(0.3)
        yield
    finally:
        for process in busy:
            process.kill()
            process.wait()


def _scan_ms() -> float:
    vectors = np.random.default_rng(1).normal(size=_SCANNED).astype(np.float32)
    took = []
    for query in vectors[:_SCANS]:
        began_s = time.perf_counter()
        vectors @ query
        took.append(time.perf_counter() - began_s)
    return statistics.median(took) * 1000


def _synced_ms(folder: Path | None) -> list[float]:
    took = []
    with tempfile.TemporaryFile(dir=folder) as file:
        for _ in range(_WRITES):
            began_s = time.perf_counter()
            file.write(bytes(4_096))
            file.flush()
            os.fsync(file.fileno())
            took.append((time.perf_counter() - began_s) * 1000)
    return took
