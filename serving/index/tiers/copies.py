"""Which rows are copies of others: of candidates with the same features the towers make the same vector. Pure arrays."""

import numpy as np

from serving.index.protocol import FloatArray
from serving.index.tiers.arena import SlotArray

_CHUNK_ROWS = 4_096


def first_of_each(vectors: FloatArray, seed: int) -> tuple[SlotArray, SlotArray]:
    """Return one position for each different row of [n, dim], ascending, and for each row [n] the number of the one it equals."""
    odd = np.random.default_rng(seed).integers(0, 2**63, vectors.shape[1], dtype=np.uint64) * 2 + 1
    hashes = np.empty(len(vectors), np.uint64)
    for begin in range(0, len(vectors), _CHUNK_ROWS):
        bits = np.ascontiguousarray(vectors[begin : begin + _CHUNK_ROWS]).view(np.uint32)
        hashes[begin : begin + _CHUNK_ROWS] = (bits * odd).sum(axis=1)
    _, firsts, numbers = np.unique(hashes, return_index=True, return_inverse=True)
    if len(firsts) == len(vectors) or not np.array_equal(vectors, vectors.take(firsts.take(numbers), axis=0)):
        # none has a copy; or two that differ have one hash, once in many lives of the universe
        return np.arange(len(vectors)), np.arange(len(vectors))
    ascending = np.argsort(firsts)
    return firsts[ascending], np.argsort(ascending)[numbers]
