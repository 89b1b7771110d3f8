"""Rows as 4-bit codes, and the codes as faiss lays them out for its scan. Pure arrays; calls nothing of faiss.

faiss finds a row's codes by the distance to each value in each dimension, 3.8 us a row of 64. The values of a dimension are in
order, so that a code is how many of the borders between them lie below: .2 us, and the same codes.
"""

import numpy as np
from numpy.typing import NDArray

from serving.index.protocol import FloatArray

BLOCK_ROWS = 32
LANES = BLOCK_ROWS // 2
# of a block's first half, and of its second: faiss's order, in which one shuffle of the processor looks 16 of them up
_LANE_ROWS = np.arange(LANES).reshape(2, LANES // 2).T.ravel()
_LANE_OF_ROW = np.argsort(_LANE_ROWS)

Codes = NDArray[np.uint8]


def borders_of(values: FloatArray) -> FloatArray:
    """Return what lies between each dimension's ascending values: [dim, values] to [values - 1, dim]."""
    borders: FloatArray = np.ascontiguousarray(((values[:, 1:] + values[:, :-1]) / 2).T)
    return borders


def coded(vectors: FloatArray, borders: FloatArray) -> Codes:
    """Return the number of the nearest value for each row and dimension: [n, dim], one a byte."""
    codes: Codes = np.zeros(vectors.shape, np.uint8)
    for border in borders:
        codes += vectors > border
    return codes


def packed(codes: Codes, first: int) -> Codes:
    """Return blocks [blocks, bytes] that hold the codes from row `first` of the first block on, and zeros in all other rows.

    A block holds a dimension's codes in 16 bytes: of its rows 0 to 15 in the lower halves, of 16 to 31 in the upper ones.
    """
    rows, dim = codes.shape
    blocks = -(-(first + rows) // BLOCK_ROWS)
    whole = np.zeros((blocks * BLOCK_ROWS, dim), np.uint8)
    whole[first : first + rows] = codes
    halves = whole.reshape(blocks, 2, LANES, dim)[:, :, _LANE_ROWS]
    bytes_: Codes = halves[:, 0] | (halves[:, 1] << 4)
    return np.ascontiguousarray(bytes_.transpose(0, 2, 1)).reshape(blocks, dim * LANES)


def lanes_of(rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return which of a dimension's 16 bytes holds each row of a block, [n] of 0 to 31."""
    lanes: NDArray[np.int64] = _LANE_OF_ROW.take(rows % LANES)
    return lanes
