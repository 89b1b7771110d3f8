"""An embedder in a process of its own, which kills itself with SIGKILL at a named moment. Run by tests; holds none.

Usage: python -m tests.embedder_process BOOTSTRAP REGISTRY [CRASH_POINT NTH]
"""

import logging
import os
import signal
import sys
import threading
from pathlib import Path

from streams.embedder.role import run_embedder
from streams.settings import EmbedderSettings


def main() -> None:
    """Run until SIGTERM, or until the nth time the crash point is reached."""
    bootstrap, registry, *crash = sys.argv[1:]
    wanted, left = (crash[0], int(crash[1])) if crash else ("", 0)
    logging.basicConfig(level=logging.INFO, stream=sys.stderr)
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())

    def crash_point(name: str) -> None:
        nonlocal left
        if name == wanted:
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    settings = EmbedderSettings(
        bootstrap=bootstrap, registry=Path(registry), checkpoint_interval_s=0.2, session_timeout_s=6, backfill_slice=8
    )
    run_embedder(settings, stop, crash_point=crash_point)


if __name__ == "__main__":
    main()
