"""The middles of cells, and to which of them each of many rows is nearest, on one core. Calls nothing of faiss.

faiss looks for the nearest of 2,000 in 9 us a row of 64. Products of numpy's BLAS and the largest of each take 3, in pieces so
small that BLAS works through them on the calling thread.
"""

import numpy as np
from numpy.typing import NDArray

from serving.index.protocol import FloatArray

ROUNDS = 5
_TOGETHER = 64
# a longer product would wake BLAS's own threads: they spin as they wait, and at normal priority where the caller's is the lowest
_ONE_CORE_PRODUCT = 64 * 64 * 64
# a thread of the lowest priority that holds the GIL keeps queries waiting: few calls, though their scores must fit a core's cache
_GROUPS = 4

Cells = NDArray[np.int64]


class Centroids:
    """One unit vector a cell. Immutable."""

    __slots__ = ("_rows_together", "_stacks", "vectors")

    def __init__(self, vectors: FloatArray) -> None:
        """Take `vectors` [cells, dim] float32 of length 1."""
        cells, dim = vectors.shape
        # the first one fills up the last stack
        padded = vectors.take(np.r_[:cells, np.zeros(-cells % _TOGETHER, np.int64)], axis=0)
        self.vectors = vectors
        self._stacks = np.ascontiguousarray(padded.reshape(-1, _TOGETHER, dim).transpose(0, 2, 1))
        self._rows_together = max(1, _ONE_CORE_PRODUCT // (_TOGETHER * dim))

    def __len__(self) -> int:
        return len(self.vectors)

    @property
    def bytes_held(self) -> int:
        """The vectors, and the same as products take them."""
        return self.vectors.nbytes + self._stacks.nbytes

    def nearest(self, rows: FloatArray) -> Cells:
        """Return the cell whose centroid has the largest inner product with each row [n, dim]; releases the GIL while it works."""
        together, stacks, dim = self._rows_together, len(self._stacks), rows.shape[1]
        groups = -(-len(rows) // together)
        grouped = np.zeros((groups, 1, together, dim), np.float32)
        grouped.reshape(-1, dim)[: len(rows)] = rows
        cells = np.empty(groups * together, np.int64)
        scores = np.empty((_GROUPS, together, stacks, _TOGETHER), np.float32)
        for begin in range(0, groups, _GROUPS):
            some = grouped[begin : begin + _GROUPS]
            of_some = scores[: len(some)]
            np.matmul(some, self._stacks, out=of_some.transpose(0, 2, 1, 3))
            first, end = begin * together, (begin + len(some)) * together
            np.argmax(of_some.reshape(-1, stacks * _TOGETHER), axis=1, out=cells[first:end])
        # should the same product have come out larger in its second place
        cells[cells >= len(self)] = 0
        return cells[: len(rows)]


def learned(sample: FloatArray, cells: int, *, seed: int) -> Centroids:
    """Learn so many centroids of at least as many unit rows [n, dim]: k-means by cosine, begun at rows drawn at random."""
    random = np.random.default_rng(seed)
    centroids = Centroids(sample.take(random.choice(len(sample), cells, replace=False), axis=0))
    for _ in range(ROUNDS):
        nearest = centroids.nearest(sample)
        order = np.argsort(nearest, kind="stable")
        filled, begins = np.unique(nearest.take(order), return_index=True)
        # a cell that is nearest to no row begins anew at one drawn at random
        vectors = sample.take(random.choice(len(sample), cells, replace=False), axis=0)
        sums = np.add.reduceat(sample.take(order, axis=0), begins, axis=0)
        lengths = np.linalg.norm(sums, axis=1, keepdims=True)
        vectors[filled] = np.divide(sums, lengths, out=vectors[filled], where=lengths > 0)
        centroids = Centroids(vectors)
    return centroids
