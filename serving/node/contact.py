"""When the broker last answered, and what time it was there. Asks nothing: topics read to their ends and heartbeats tell."""

import time


class BrokerContact:
    """A silent topic and a silent broker look alike to a reader; this tells them apart."""

    def __init__(self) -> None:
        self._seen_s: float | None = None
        # the broker's time, in Unix milliseconds, and when it was told
        self._told: tuple[int, float] | None = None

    def seen(self, append_ms: int | None = None) -> None:
        """Note that the broker answered now, and when it says that it appended what it answers for."""
        self._seen_s = time.monotonic()
        if append_ms is not None:
            self._told = append_ms, self._seen_s

    def past_ms(self, wall_ms: int) -> int | None:
        """Return a time that has surely come, Unix milliseconds: by this machine's clock and by the broker's. None before it told.

        What is removed for good is removed by it: a clock that is ahead for a moment must not empty an index.
        """
        if self._told is None:
            return None
        append_ms, told_s = self._told
        return min(wall_ms, append_ms + int((time.monotonic() - told_s) * 1000))

    @property
    def age_s(self) -> float | None:
        """Seconds since the broker last answered; None when it never did."""
        return None if self._seen_s is None else time.monotonic() - self._seen_s
