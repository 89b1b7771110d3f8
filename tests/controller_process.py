"""Controllers in processes of their own, which may kill themselves with SIGKILL at a named moment. Run by tests; holds none.

Usage: python -m tests.controller_process [CRASH_POINT …], with the settings in the environment. With several moments, one
controller after the other dies at the next of them, in turn, and each death is a line on standard output.
"""

import logging
import os
import signal
import sys
import threading
from itertools import cycle

from streams.controller.role import run_controller
from streams.settings import ControllerSettings


def control(*points: str) -> None:
    """Run until SIGTERM, or until one of the crash points is reached."""
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())

    def crash_point(name: str) -> None:
        if name in points:
            os.kill(os.getpid(), signal.SIGKILL)

    run_controller(ControllerSettings(), stop, crash_point=crash_point)


def die_in_turn(points: list[str]) -> None:
    """Run one controller after the other; each is forked, as to start an interpreter takes longer than all that one does."""
    for point in cycle(points):
        # this process has no client of Kafka, whose threads would be missing in the child
        child = os.fork()
        if child == 0:
            control(point)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        if (code := os.waitstatus_to_exitcode(status)) != -signal.SIGKILL:
            sys.exit(f"the controller ended with {code}, not at {point}")
        sys.stdout.write(f"{point}\n")
        sys.stdout.flush()


def main() -> None:
    """Run one controller, or many."""
    logging.basicConfig(level=logging.WARNING)
    if len(sys.argv) > 2:
        die_in_turn(sys.argv[1:])
    else:
        control(*sys.argv[1:])


if __name__ == "__main__":
    main()
