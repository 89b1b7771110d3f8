"""Where and on what a benchmark ran, and a process's memory: a figure without its machine and commit cannot be compared."""

import os
import platform
import statistics
import subprocess
import time
from importlib.metadata import version
from pathlib import Path

LIBRARIES = ("numpy", "faiss-cpu", "hnswlib")
_LOOP = 200_000


def machine() -> dict[str, object]:
    """Processor, cores, load, how fast it is just now, and library versions, for a benchmark's report."""
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "load_1m": round(os.getloadavg()[0], 2),
        "loop_ms": round(loop_ms(), 2),
        "python": platform.python_version(),
        **{name: version(name) for name in LIBRARIES},
    }


def loop_ms(times: int = 5) -> float:
    """Return the processor milliseconds of a fixed loop of Python, the median of so many.

    Where two runs of a benchmark differ and this does likewise, the machine was another: a neighbour on the core, or its clock.
    """
    took = []
    for _ in range(times):
        began_s = time.thread_time()
        total = 0
        for number in range(_LOOP):
            total += number * number
        took.append(time.thread_time() - began_s)
    return statistics.median(took) * 1000


def commit() -> str:
    """The checked-out commit, "+" appended when files differ from it; "unknown" outside a checkout."""
    try:
        head = _git("rev-parse", "--short=12", "HEAD")
        return head + ("+" if _git("status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def resident_mb(pid: int) -> float:
    """Return the resident memory of a process; raises `OSError` where it is gone, or the system does not tell."""
    pages = int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def _git(*arguments: str) -> str:
    # found on the PATH on purpose: every system keeps git elsewhere
    ran = subprocess.run(["git", *arguments], cwd=Path(__file__).parent, capture_output=True, text=True, check=True)  # noqa: S607
    return ran.stdout.strip()


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())
