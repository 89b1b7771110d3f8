"""The newest live query of each bundle, for whoever audits it. A query pays one assignment; nothing queues up."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from serving.index import Filter


@dataclass(frozen=True, slots=True)
class LiveQuery:
    """A query as it was searched for: a vector [dim], how many hits were wanted, and the filter."""

    vector: NDArray[np.float32]
    k: int
    where: Filter


class QueryTap:
    """Written by every query, read by one auditor. It holds one query a bundle: the auditor comes by when its budget lets it."""

    def __init__(self) -> None:
        self._newest: dict[str, LiveQuery] = {}

    def offer(self, bundle: str, query: LiveQuery) -> None:
        """Leave a query, in place of the one before."""
        self._newest[bundle] = query

    def take(self, bundle: str) -> LiveQuery | None:
        """Take the newest query since the last time; None when there was none."""
        return self._newest.pop(bundle, None)
