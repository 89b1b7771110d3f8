"""Who was shown what: nobody is shown a tweet twice. Chooses nothing."""

import numpy as np
from numpy.typing import NDArray

from lab.observed.columns import Ints
from lab.observed.log import Impressions
from lab.world.policy import Visits

READING_S = 2.0


class Shown:
    """What every user was shown so far."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self._requests = 0
        # (user << 32 | tweet) of what was shown, ascending
        self._pairs = np.zeros(0, np.int64)

    def show(self, visits: Visits, drawn: Ints, *, slots: int, oldest: int) -> Impressions:
        """Show each visit the first `slots` of what was drawn for it and its user has not seen; labels are still 0.

        Args:
            visits: one request each.
            drawn: int64 [visits, k], rows of tweets, best first, -1 for none.
            slots: of a visit.
            oldest: no tweet before this row is drawn any more.
        """
        pair = (visits.user[:, None] << 32) | drawn
        fresh = (drawn >= 0) & ~_contains(self._pairs, pair)
        # two visits of one step may draw the same pair: the earlier one shows it
        first = np.zeros(pair.size, np.bool_)
        first[np.unique(pair, return_index=True)[1]] = True
        fresh &= first.reshape(pair.shape)
        position = np.cumsum(fresh, axis=1) - 1
        fresh &= position < slots
        visit, column = np.nonzero(fresh)
        kept = self._pairs[(self._pairs & 0xFFFFFFFF) >= oldest]
        self._pairs = np.sort(np.concatenate([kept, pair[fresh]]))
        request = self._requests + visit
        self._requests += len(visits)
        position = position[visit, column]
        # a tweet is shown when the reader gets to it
        time_s = visits.time_s[visit] + READING_S * position
        shown = Impressions(request, visits.user[visit], drawn[visit, column], position, time_s, np.zeros(len(visit), np.int8))
        return shown.take(np.argsort(time_s, kind="stable"))


def _contains(ascending: Ints, values: Ints) -> NDArray[np.bool_]:
    if not len(ascending):
        return np.zeros(values.shape, np.bool_)
    at = np.minimum(np.searchsorted(ascending, values), len(ascending) - 1)
    found: NDArray[np.bool_] = ascending[at] == values
    return found
