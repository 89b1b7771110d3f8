"""What a batch or a query must look like before it may enter an index. Pure checks and normalisation, no storage."""

import numpy as np

from serving.index.errors import InvalidQuery, MisalignedRows, UnusableVectors, WrongDimension
from serving.index.protocol import Filter, FloatArray, IntArray, Rows

SMALLEST_LENGTH = 1e-12
"""Below this length a float32 vector has no usable direction."""
ROUNDING = float(np.finfo(np.float32).eps)
"""A vector scaled to length 1 and rounded to float32 is at most this much longer or shorter."""


def unit_vectors(rows: Rows, dim: int) -> FloatArray:
    """The batch's vectors scaled to length 1: [n, dim] float32, C-contiguous, a fresh copy.

    Raises MisalignedRows, WrongDimension, or UnusableVectors naming the rows without a direction.
    """
    count = len(rows.candidate_ids)
    vectors = np.asarray(rows.vectors, dtype=np.float32)
    if vectors.ndim != 2 or vectors.shape[1] != dim:
        raise WrongDimension(f"vectors are {list(vectors.shape)}, this index holds [n, {dim}]; is it another bundle's batch?")
    lengths = {
        "vectors": len(vectors),
        "versions": len(rows.versions),
        "created_ms": len(rows.created_ms),
        "languages": len(rows.languages),
        "author_ids": len(rows.author_ids),
        "payloads": len(rows.payloads),
    }
    wrong = {name: length for name, length in lengths.items() if length != count}
    if wrong:
        raise MisalignedRows(f"{count} candidate ids, but {wrong}; give every column one value a row")
    checked_versions(rows.versions, count)
    # float64: the square of a large float32 would overflow to infinity and refuse a usable vector
    norms = np.sqrt(np.einsum("ij,ij->i", vectors, vectors, dtype=np.float64))
    usable = np.isfinite(norms) & (norms > SMALLEST_LENGTH)
    if not usable.all():
        positions = np.flatnonzero(~usable).tolist()
        raise UnusableVectors(positions, [rows.candidate_ids[i] for i in positions])
    # already of length 1 to float32: left alone, so that an index restored from another's vectors holds the very same ones
    norms[np.abs(norms - 1.0) < ROUNDING] = 1.0
    unit: FloatArray = (vectors / norms[:, None]).astype(np.float32)
    return unit


def checked_versions(versions: IntArray, count: int) -> IntArray:
    """`versions` as int64 [count, 2]; raises MisalignedRows otherwise."""
    checked = np.asarray(versions, dtype=np.int64)
    if checked.shape != (count, 2):
        raise MisalignedRows(f"versions are {list(checked.shape)}, expected [{count}, 2] of (event time ms, sequence)")
    return checked


def unit_query(query: FloatArray, dim: int, k: int, where: Filter) -> FloatArray:
    """The query scaled to length 1: [dim] float32. Raises InvalidQuery on a wrong shape, NaN, infinity, zero, or a bad k."""
    vector = np.asarray(query, dtype=np.float32)
    if vector.shape != (dim,):
        raise InvalidQuery(f"the query is {list(vector.shape)}, this index holds [{dim}]; is it another bundle's query tower?")
    if k < 0:
        raise InvalidQuery(f"k is {k}; ask for 0 or more")
    if where.per_author_cap is not None and where.per_author_cap < 1:
        raise InvalidQuery(f"per_author_cap is {where.per_author_cap}; give 1 or more, or None for no cap")
    wide = vector.astype(np.float64)
    length = float(np.sqrt(wide @ wide))
    if not np.isfinite(length) or length <= SMALLEST_LENGTH:
        raise InvalidQuery("the query vector is NaN, infinite or zero; it has no direction to search in")
    unit: FloatArray = (wide / length).astype(np.float32)
    return unit
