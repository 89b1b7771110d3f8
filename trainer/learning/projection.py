"""Fewer dimensions for vectors whose inner products must stay: linear algebra on samples of both sides. Trains no tower.

The best linear map of a rank for the inner products of two distributions is the singular value decomposition of the product of
their whitenings.
"""

import numpy as np
from numpy.typing import NDArray

Vectors = NDArray[np.float32]

_SMALLEST_EIGENVALUE = 1e-9
# of the sample's largest length: a vector that is longer than any of the sample is not to be longer than 1
_HEADROOM = 1.1


def fit_projection(queries: Vectors, candidates: Vectors, rank: int) -> tuple[Vectors, Vectors]:
    """Return a linear map for each side, float32 [from, rank], under which the samples' inner products change least.

    They change by one factor, which brings the samples' images inside the unit ball.

    Args:
        queries, candidates: float32 [n, from] and [m, from], samples of what will be projected.
        rank: 1 to from.
    """
    if not 0 < rank <= queries.shape[1]:
        raise ValueError(f"vectors of {queries.shape[1]} dimensions have no projection of rank {rank}")
    (query_root, query_inverse), (candidate_root, candidate_inverse) = _whitening(queries), _whitening(candidates)
    left, singular, right = np.linalg.svd(query_root @ candidate_root)
    root = np.sqrt(singular[:rank])
    query = (query_inverse @ left[:, :rank] * root).astype(np.float32)
    candidate = (candidate_inverse @ right[:rank].T * root).astype(np.float32)
    return query / _length(queries @ query), candidate / _length(candidates @ candidate)


def _whitening(vectors: Vectors) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the root of the second moments and its inverse, float64 [from, from]."""
    wide = vectors.astype(np.float64)
    values, basis = np.linalg.eigh(wide.T @ wide / len(wide))
    roots = np.sqrt(np.maximum(values, _SMALLEST_EIGENVALUE))
    return (basis * roots) @ basis.T, (basis / roots) @ basis.T


def _length(vectors: Vectors) -> np.float32:
    return np.float32(_HEADROOM * np.linalg.norm(vectors, axis=1).max())
