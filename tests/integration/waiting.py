"""Waiting for what another process does. Holds no test."""

import time
from collections.abc import Callable


def until(condition: Callable[[], bool], *, what: str, timeout_s: float = 25.0) -> None:
    """Wait until a condition holds; fail with `what` when it does not in time."""
    begun = time.monotonic()
    while not condition():
        waited_s = time.monotonic() - begun
        assert waited_s < timeout_s, f"after {timeout_s} s still not: {what}"
        # a tenth late at most, and what takes long is not asked all the time
        time.sleep(min(0.2, max(0.02, waited_s / 10)))
