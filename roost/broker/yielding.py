"""Lets what a broker does beside its clients, compiling and cleaning compacted logs, come after them. Starts no thread."""

import os
from contextlib import suppress
from pathlib import Path

__all__ = ["yield_background"]

_NICENESS = 10
# as Linux cuts them: 15 bytes
_BACKGROUND = ("C1 CompilerThre", "C2 CompilerThre", "Sweeper thread", "kafka-log-clean")


def yield_background(pid: int) -> None:
    """Lower the priority of a Java machine's background threads; those that they start inherit it. Nothing where there is no /proc.

    Java heeds the priorities of its threads on Linux for root only. On two cores a cleaner at work, and what is compiled for it,
    held up every client for .1 to .6 s.
    """
    for task in Path(f"/proc/{pid}/task").glob("*"):
        # a thread that has just ended
        with suppress(OSError):
            if (task / "comm").read_text().rstrip("\n") in _BACKGROUND:
                os.setpriority(os.PRIO_PROCESS, int(task.name), _NICENESS)
