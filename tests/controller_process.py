"""A controller in a process of its own, which may kill itself with SIGKILL at a named moment. Run by tests; holds none.

Usage: python -m tests.controller_process [CRASH_POINT], with the settings in the environment.
"""

import logging
import os
import signal
import sys
import threading

from streams.controller.role import run_controller
from streams.settings import ControllerSettings


def main() -> None:
    """Run until SIGTERM, or until the crash point is reached."""
    logging.basicConfig(level=logging.WARNING)
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())

    def crash_point(name: str) -> None:
        if name in sys.argv[1:]:
            os.kill(os.getpid(), signal.SIGKILL)

    run_controller(ControllerSettings(), stop, crash_point=crash_point)


if __name__ == "__main__":
    main()
