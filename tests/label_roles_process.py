"""Labeler and user state in a process of their own, until SIGTERM. Run by tests; holds none.

Usage: python -m tests.label_roles_process [SECONDS], with the settings in the environment; user state gathers events for so long,
and lags by it.
"""

import logging
import signal
import sys
import threading

from streams.label_role import run_label_roles
from streams.settings import LabelerSettings, UserStateSettings


def main() -> None:
    """Run both roles as `roost label` does."""
    logging.basicConfig(level=logging.WARNING)
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    user_state = UserStateSettings(batch_within_s=float(sys.argv[1])) if sys.argv[1:] else UserStateSettings()
    run_label_roles(LabelerSettings(), user_state, stop)


if __name__ == "__main__":
    main()
