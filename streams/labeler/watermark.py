"""How far event time has surely come in one partition of several topics. Knows no joins.

CONTRACTS, 'The label join': the smallest of the topics' largest event times, less the lateness. An idle topic counts as wall clock;
one with records still to read never does.
"""

from collections.abc import Mapping, Sequence

from streams.processor import Clock

# nothing is idle before this long a silence
_LEAST_SILENCE_MS = 1000
NEVER_MS = -(2**62)


class Watermark:
    """Event times seen on one partition of each topic."""

    def __init__(self, topics: Sequence[str], newest_ms: Mapping[str, int] | None = None) -> None:
        """Begin with what an earlier run saw, or with nothing."""
        self._newest_ms = {topic: (newest_ms or {}).get(topic, NEVER_MS) for topic in topics}

    def observe(self, topic: str, event_time_ms: int, append_time_ms: int) -> None:
        """Take note of a record. Its event time counts at most as its append time: a fast clock must not close windows."""
        self._newest_ms[topic] = max(self._newest_ms[topic], min(event_time_ms, append_time_ms))

    def at(self, clock: Clock, lateness_ms: int) -> int:
        """Return the watermark in Unix milliseconds; below any time while a topic that is not idle has shown nothing yet."""
        silence_ms = max(_LEAST_SILENCE_MS, lateness_ms)
        seen = (
            clock.now_ms if clock.quiet_ms.get(topic, -1) >= silence_ms else newest_ms
            for topic, newest_ms in self._newest_ms.items()
        )
        return min(seen) - lateness_ms

    @property
    def newest_ms(self) -> dict[str, int]:
        """What a later run begins with."""
        return dict(self._newest_ms)
