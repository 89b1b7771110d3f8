"""Waiting for what another process does. Holds no test."""

import time
from collections.abc import Callable


def until(condition: Callable[[], bool], *, what: str, timeout_s: float = 25.0) -> None:
    """Wait until a condition holds; fail with `what` when it does not in time."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"after {timeout_s} s still not: {what}"
        time.sleep(0.2)
