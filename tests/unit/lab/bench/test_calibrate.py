"""A calibration sees a machine that was slow: what it says is compared before any benchmark's figures are."""

import os
import signal
import subprocess
import sys
import time

from lab.bench import calibrate
from lab.bench.machine import machine

# looks for pauses in a process of its own, which the test stops meanwhile: it says so once it has looked at the clock
LOOKS = """
import itertools, time
from lab.bench.calibrate import pauses

clock, looks = time.perf_counter, itertools.count()

def told():
    now_s = clock()
    if next(looks) == 1:
        print("looking", flush=True)
    return now_s

time.perf_counter = told
print(max(pauses(3.0)))
"""


def test_a_process_that_was_stopped_sees_its_pause() -> None:
    """As a host does that takes a core away: nothing inside tells, but the clock."""
    with subprocess.Popen([sys.executable, "-c", LOOKS], stdout=subprocess.PIPE, text=True) as looking:
        assert looking.stdout is not None
        assert looking.stdout.readline() == "looking\n"
        stopped_s = time.monotonic()
        os.kill(looking.pid, signal.SIGSTOP)
        time.sleep(0.4)
        os.kill(looking.pid, signal.SIGCONT)
        longest_ms = float(looking.stdout.read())
        since_ms = (time.monotonic() - stopped_s) * 1000
    # on a busy machine it waits for its turn on top, and never longer than there was
    assert 390 <= longest_ms <= min(3_000, since_ms)


def test_a_report_says_what_the_machine_does_alone_and_beside_others() -> None:
    """The names that two reports are compared by; none of them can be nothing."""
    told: list[tuple[int, int]] = []
    report = calibrate.run(seconds=0.2, on_progress=lambda done, parts: told.append((done, parts)))
    assert told == [(done, 5) for done in range(6)]
    figures = [report[name] for name in ("loop_ms", "beside_over_alone", "scan_ms", "sync_ms_p50", "sync_ms_p99")]
    assert all(isinstance(value, float) and value > 0 for value in [*figures, machine()["loop_ms"]]), report
