"""Fewer dimensions for vectors whose inner products must stay: linear algebra on samples of both sides. Trains no tower.

The best linear map of a rank for the inner products of two distributions is the singular value decomposition of the product of
their whitenings. What it gives has other lengths than 1, and an index of unit vectors would rank by direction alone; two further
dimensions, one of each side only, take up what is missing to 1 and leave every inner product as it is, but for one factor.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Vectors = NDArray[np.float32]

_COMPLEMENTS = 2
_SMALLEST_EIGENVALUE = 1e-9
# of the sample's largest length: the few vectors that are longer lose what is too much
_HEADROOM = 1.1


@dataclass(frozen=True, eq=False)
class Projection:
    """A linear map for each side, float32 [from, rank], and the length that either side's vectors are divided by."""

    query: Vectors
    candidate: Vectors
    query_length: float
    candidate_length: float

    def queries(self, vectors: Vectors) -> Vectors:
        """Return unit vectors, float32 [n, rank + 2]."""
        return _complemented(vectors @ self.query / self.query_length, 0)

    def candidates(self, vectors: Vectors) -> Vectors:
        """Return unit vectors, float32 [n, rank + 2]."""
        return _complemented(vectors @ self.candidate / self.candidate_length, 1)


def fit_projection(queries: Vectors, candidates: Vectors, dim: int) -> Projection:
    """Return the projection to unit vectors of `dim` dimensions under which the samples' inner products change least.

    Args:
        queries, candidates: float32 [n, from] and [m, from], samples of what will be projected.
        dim: 3 to from + 2; the rank is two less.
    """
    if not _COMPLEMENTS < dim <= queries.shape[1] + _COMPLEMENTS:
        raise ValueError(f"vectors of {queries.shape[1]} dimensions cannot be brought to {dim}; choose 3 to {queries.shape[1] + 2}")
    rank = dim - _COMPLEMENTS
    (query_root, query_inverse), (candidate_root, candidate_inverse) = _whitening(queries), _whitening(candidates)
    left, singular, right = np.linalg.svd(query_root @ candidate_root)
    root = np.sqrt(singular[:rank])
    query = (query_inverse @ left[:, :rank] * root).astype(np.float32)
    candidate = (candidate_inverse @ right[:rank].T * root).astype(np.float32)
    return Projection(query, candidate, _length(queries @ query), _length(candidates @ candidate))


def _whitening(vectors: Vectors) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the root of the second moments and its inverse, float64 [from, from]."""
    wide = vectors.astype(np.float64)
    values, basis = np.linalg.eigh(wide.T @ wide / len(wide))
    roots = np.sqrt(np.maximum(values, _SMALLEST_EIGENVALUE))
    return (basis * roots) @ basis.T, (basis / roots) @ basis.T


def _length(vectors: Vectors) -> float:
    return _HEADROOM * float(np.linalg.norm(vectors, axis=1).max())


def _complemented(vectors: Vectors, side: int) -> Vectors:
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    inside = vectors / np.maximum(lengths, 1.0)
    missing = np.zeros((len(vectors), _COMPLEMENTS), np.float32)
    missing[:, side] = np.sqrt(np.maximum(1.0 - (inside**2).sum(axis=1), 0.0))
    both: Vectors = np.concatenate([inside, missing], axis=1)
    return both
