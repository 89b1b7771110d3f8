"""Labeler and user state in a process of their own, until SIGTERM. Run by tests; holds none.

Usage: python -m tests.label_roles_process, with the settings in the environment.
"""

import logging
import signal
import threading

from streams.label_role import run_label_roles
from streams.settings import LabelerSettings, UserStateSettings


def main() -> None:
    """Run both roles as `roost label` does."""
    logging.basicConfig(level=logging.WARNING)
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    run_label_roles(LabelerSettings(), UserStateSettings(), stop)


if __name__ == "__main__":
    main()
