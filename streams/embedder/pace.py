"""How fast the corpus is embedded again for a new bundle: as fast as it goes alone, in a share of the time beside live traffic.

Embeds nothing.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

# without a record for so long there is no live traffic to make room for
_LIVE_S = 1.0
# alone, a slice may be so many times as large: towers and requests cost less by the record in large ones
_ALONE = 8
# records of the corpus that stand before a live one in the producer's queue: a few milliseconds of a broker's work
_MOST_UNSENT = 1_000
_UNSENT_REST_S = 0.005


class Pace:
    """Says when the next slice may begin. One thread."""

    def __init__(self, share: float, *, unsent: Callable[[], int], clock_s: Callable[[], float] = time.monotonic) -> None:
        """Begin without live traffic.

        Args:
            share: of the thread's time beside live traffic, above 0 and at most 1.
            unsent: records that the broker has not acknowledged yet.
            clock_s: monotonic.
        """
        self._share = share
        self._unsent = unsent
        self._clock_s = clock_s
        self._live_until_s = self._rest_until_s = clock_s()

    def live(self) -> None:
        """Note that live records came."""
        self._live_until_s = self._clock_s() + _LIVE_S

    def rest_s(self) -> float:
        """Return the seconds until the next slice may begin, or should be asked for again; 0 for now."""
        if self._unsent() > _MOST_UNSENT:
            return _UNSENT_REST_S
        now_s = self._clock_s()
        return max(0.0, self._rest_until_s - now_s) if now_s < self._live_until_s else 0.0

    def size(self, slice_size: int) -> int:
        """Return how many records the next slice may have: more without live traffic, which one in hand holds up."""
        return slice_size if self._clock_s() < self._live_until_s else _ALONE * slice_size

    @contextmanager
    def slice(self) -> Iterator[None]:
        """Time a slice: on a busy machine it takes longer, and so does the rest after it."""
        begin_s = self._clock_s()
        yield
        end_s = self._clock_s()
        self._rest_until_s = end_s + (end_s - begin_s) * (1 / self._share - 1)
