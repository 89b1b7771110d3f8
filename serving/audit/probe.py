"""Whether a query finds a candidate, and how long after a new one was published. Repairs nothing; keeps no record."""

import time
from collections.abc import Callable, Sequence

import numpy as np

from serving.filling.embeddings import EmbeddingBatch
from serving.index import Candidate, CandidateIndex

PROBE_K = 10
PROBE_TOLERANCE = 1e-5
EVERY_S = 1.0
"""A search takes about a millisecond of the thread that fills the index."""


def finds(index: CandidateIndex, candidate: Candidate) -> bool:
    """Tell whether a search by the candidate's own vector finds it, or what would do as well."""
    hits = index.search(candidate.vector, PROBE_K)
    if candidate.candidate_id in hits.candidate_ids:
        return True
    # more than so many of the very same vector: any of them is right
    if len(hits) >= PROBE_K and hits.scores[-1] >= 1.0 - PROBE_TOLERANCE:
        return True
    # it was deleted, or came with another vector, between the two
    now = index.get(candidate.candidate_id)
    return now is None or not np.array_equal(now.vector, candidate.vector)


class NewcomerProbe:
    """Looks for one new candidate a second, right after its batch was applied. One thread calls it."""

    def __init__(
        self,
        found: Callable[[float | None], None],
        *,
        now_ms: Callable[[], int],
        clock_s: Callable[[], float] = time.monotonic,
    ) -> None:
        """Look for nothing yet.

        Args:
            found: told of each probe how many seconds after the broker's append of its newest source record the candidate was
                found by a query; None when it was not.
        """
        self._found = found
        self._now_ms = now_ms
        self._clock_s = clock_s
        self._next_s = 0.0

    def look(self, index: CandidateIndex, batch: EmbeddingBatch, new: Sequence[int]) -> None:
        """Look for one of the rows at the positions `new`, if it is time."""
        if not new or self._clock_s() < self._next_s:
            return
        self._next_s = self._clock_s() + EVERY_S
        # the first of a batch has waited the longest, the last the shortest
        at = new[len(new) // 2]
        candidate = index.get(batch.rows.candidate_ids[at])
        if candidate is None:
            return
        found = finds(index, candidate)
        self._found(max(self._now_ms() - int(batch.append_time_ms[at]), 0) / 1000 if found else None)
