"""Recall of an index that answers nobody yet, on a sample of its users' queries. Starts no thread; decides nothing.

It runs the whole way of a query, tower and search, so a bundle is warm before its first user.
"""

import time
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from serving.filling.filled import FilledIndex
from serving.query.epochs import Epoch
from serving.query.users import UserStore

QUERIES = 12
"""A measurement's sample. Each costs an exact scan, some 4 ms at 50,000 candidates."""
K = 200
# between two of them: users ask meanwhile
_REST_S = 0.01
# scores are the same dot products, summed in another order
_SCORE_TOLERANCE = 1e-5


class ShadowAudit:
    """Draws another sample of users each time."""

    def __init__(self, users: UserStore, *, queries: int = QUERIES, k: int = K, seed: int | None = None) -> None:
        self._users = users
        self._queries = queries
        self._k = k
        self._random = np.random.default_rng(seed)

    def recall(self, epoch: Epoch, filled: FilledIndex) -> float:
        """Return the share of the exact best `k` that the epoch's search found, over all sampled queries; 1 for an empty index.

        Queries are those of users the node knows; while it knows too few, vectors of candidates stand in.

        Raises:
            BundleCorrupt: the query tower fails on a user.
            IndexClosed: the epoch was dropped meanwhile.
        """
        wanted = found = 0
        for query in self._sample(epoch, filled):
            time.sleep(_REST_S)
            exact = epoch.index.search_exact(query, self._k)
            if not len(exact):
                continue
            # by score: of candidates with equal scores either is right, and so is one that arrived between the two searches
            close = np.count_nonzero(epoch.index.search(query, self._k).scores >= exact.scores[-1] - _SCORE_TOLERANCE)
            wanted += len(exact)
            found += min(int(close), len(exact))
        return found / wanted if wanted else 1.0

    def _sample(self, epoch: Epoch, filled: FilledIndex) -> list[NDArray[np.float32]]:
        known = (self._users.features(user_id) for user_id in self._users.some(self._queries, self._random))
        features = [user for user in known if user is not None]
        vectors = list(epoch.towers.embed_queries(features)) if features else []
        if missing := self._queries - len(vectors):
            # in no order, as a set's are
            rows = (epoch.index.get(candidate_id) for candidate_id in islice(filled.ids(), missing))
            vectors += [row.vector for row in rows if row is not None]
        return vectors
