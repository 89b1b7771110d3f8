"""When a partition of a compacted topic is to be written to, so that the broker cleans it. Writes nothing itself.

The broker closes a segment only when a record comes after its time, and never cleans an open one: on a partition without traffic a
deleted value would stay for ever, whatever `max.compaction.lag.ms` says.
"""

import time
from collections.abc import Callable

from schemas.topics import STIRRED_EVERY_MS


class Stirring:
    """The partitions of one process. One thread at a time."""

    def __init__(self, *, clock_s: Callable[[], float] = time.monotonic) -> None:
        self._clock_s = clock_s
        self._next_s: dict[int, float] = {}

    def due(self, partition: int) -> bool:
        """Tell whether to write to a partition now: at first, as nobody knows of the process before this one, and then on time."""
        now_s = self._clock_s()
        if now_s < self._next_s.get(partition, now_s):
            return False
        self._next_s[partition] = now_s + STIRRED_EVERY_MS / 1000
        return True
