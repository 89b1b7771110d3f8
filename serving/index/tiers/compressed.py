"""Rows as 4-bit product-quantised codes, scanned whole with SIMD. The only user of faiss in this package's read path.

A tier is immutable once published: adding or dropping rows makes a new one from a copy (a copy of 50,000 codes takes a
millisecond), so readers never see codes move. Scores of codes only choose what is re-ranked in fp32.
"""

from dataclasses import dataclass

import faiss
import numpy as np
from numpy.typing import NDArray

from serving.index.errors import WrongDimension
from serving.index.protocol import FloatArray
from serving.index.tiers.arena import GRAVE, BoolArray, SlotArray
from serving.index.tiers.levels import best_levels
from serving.index.tiers.nibbles import BLOCK_ROWS, Codes, borders_of, coded, packed

BITS = 4
# of rows of length 1: what is left by rounding where all are equal
_NO_VARIANCE = 1e-9


@dataclass(frozen=True, slots=True)
class Codebook:
    """A trained, empty quantiser: one 16-value code a dimension, so half a byte each."""

    empty: faiss.IndexPQFastScan
    dim: int
    borders: FloatArray

    @property
    def values(self) -> FloatArray:
        """[dim, 16] float32: what each code of each dimension stands for; enough to make the codebook again."""
        values: FloatArray = faiss.vector_to_array(self.empty.pq.centroids).reshape(self.dim, 1 << BITS)
        return values

    def lost(self, vectors: FloatArray) -> float:
        """Return the share of the variance of some unit rows [n, dim] that their codes lose; 0 of equal ones. 3 ms for 2,000."""
        variance = float(vectors.var(axis=0).sum())
        stood_for = np.take_along_axis(self.values.T, coded(vectors, self.borders).astype(np.int64), axis=0)
        return float(np.square(vectors - stood_for).sum(axis=1).mean()) / variance if variance > _NO_VARIANCE else 0.0


def train_codebook(vectors: FloatArray) -> Codebook:
    """Learn the quantiser from a sample [n, dim]. About 0.05 CPU-seconds for 10,000 rows of 64."""
    return codebook_of(best_levels(vectors, 1 << BITS), vectors.shape[1])


def codebook_of(values: FloatArray, dim: int) -> Codebook:
    """The codebook whose `values` these are. Raises WrongDimension when they are of another dimension."""
    if values.shape != (dim, 1 << BITS):
        raise WrongDimension(f"the codebook is {list(values.shape)}, this index needs [{dim}, {1 << BITS}]; learn one anew")
    ascending = np.sort(np.asarray(values, np.float32), axis=1)
    index = faiss.IndexPQFastScan(dim, dim, BITS, faiss.METRIC_INNER_PRODUCT)
    faiss.copy_array_to_vector(ascending.ravel(), index.pq.centroids)
    index.is_trained = True
    return Codebook(index, dim, borders_of(ascending))


@dataclass(frozen=True, slots=True)
class Proposed:
    """What codes propose.

    Attributes:
        slots: [n], best first.
        different: how many different scores they have by their codes; copies of a row have one.
        far: [n]; which lie in the farther of the cells that were asked. None where none lie in cells.
    """

    slots: SlotArray
    different: int
    far: BoolArray | None = None

    def __len__(self) -> int:
        return len(self.slots)


def positions_told(scores: FloatArray, positions: NDArray[np.int64]) -> tuple[NDArray[np.int64], int]:
    """Return the positions that faiss found, best first, less the -1 where it found no more; and how many scores differ."""
    if len(positions) and positions[-1] < 0:
        scores, positions = scores[positions >= 0], positions[positions >= 0]
    return positions, 1 + int(np.count_nonzero(scores[1:] != scores[:-1]))


@dataclass(frozen=True, slots=True)
class CompressedTier:
    """Codes and, for each, the arena slot of its full row."""

    codes: faiss.IndexPQFastScan
    slots: SlotArray
    borders: FloatArray

    def __len__(self) -> int:
        return len(self.slots)

    @property
    def bytes_held(self) -> int:
        """Codes and slots."""
        return len(self.slots) * ((self.codes.d * BITS + 7) // 8 + 8)

    def nearest(self, query: FloatArray, count: int) -> Proposed:
        """About the `count` best codes for a unit query [dim]; dead rows included."""
        # the setting belongs to the calling thread, and each reader is a new caller
        faiss.omp_set_num_threads(1)
        scores, positions = self.codes.search(query[None, :], min(count, len(self.slots)))
        places, different = positions_told(scores[0], positions[0])
        return Proposed(self.slots.take(places), different)


class CodesBuild:
    """A tier being filled, in chunks, by one thread. Nobody searches it."""

    def __init__(self, codebook: Codebook) -> None:
        self.codebook = codebook
        self._codes = _copy(codebook.empty)

    def __len__(self) -> int:
        return int(self._codes.ntotal)

    def add(self, vectors: FloatArray) -> None:
        """Take the next rows [n, dim]."""
        _add(self._codes, packed(coded(vectors, self.codebook.borders), len(self) % BLOCK_ROWS), len(vectors))

    def sealed(self, slots: SlotArray) -> CompressedTier:
        """The finished tier, given the arena slots of the rows in the order they were added."""
        return CompressedTier(self._codes, slots, self.codebook.borders)


def empty_tier(codebook: Codebook) -> CompressedTier:
    """A tier of no rows that will encode with this codebook."""
    return CompressedTier(_copy(codebook.empty), np.empty(0, dtype=np.int64), codebook.borders)


def extended(tier: CompressedTier, vectors: FloatArray, slots: SlotArray, *, drop: BoolArray | None) -> CompressedTier:
    """A new tier without the positions marked in `drop` and with these rows added. The old one is untouched.

    A few dropped positions may stay, pointing at the arena's grave: see `_whole_blocks`.
    """
    codes = _copy(tier.codes)
    kept = tier.slots
    if drop is not None and drop.any():
        kept = np.where(drop, GRAVE, kept)
        removed = _whole_blocks(drop)
        if removed.any():
            # the bitmap selector tests one bit a row; a batch selector would hash every id
            bitmap = np.packbits(removed, bitorder="little")
            codes.remove_ids(faiss.IDSelectorBitmap(len(bitmap), faiss.swig_ptr(bitmap)))
            kept = kept[~removed]
    if len(slots):
        _add(codes, packed(coded(vectors, tier.borders), codes.ntotal % BLOCK_ROWS), len(slots))
    return CompressedTier(codes, np.concatenate([kept, slots]), tier.borders)


def _add(codes: faiss.IndexPQFastScan, blocks: Codes, rows: int) -> None:
    """Add rows as faiss's `add` does, given the blocks from the one that its last row stands in."""
    size = blocks.shape[1]
    begin = codes.ntotal // BLOCK_ROWS
    codes.ntotal += rows
    # faiss has it, its types do not
    codes.ntotal2 = (begin + len(blocks)) * BLOCK_ROWS  # type: ignore[attr-defined]
    old = codes.codes.size()
    codes.codes.resize((begin + len(blocks)) * size)
    held = faiss.rev_swig_ptr(codes.codes.get(), codes.codes.size()).reshape(-1, size)
    held[-(-old // size) :] = 0
    # the rows before them in the first block stay
    held[begin:] |= blocks


def _whole_blocks(drop: BoolArray) -> BoolArray:
    """As many of the marked positions as leave a multiple of 32 rows.

    faiss 1.15.1 packs 32 codes to a block, does not clear what a removal leaves behind in the last one, and ORs the next codes
    added into it: up to 31 rows would be silently unfindable.
    """
    surplus = -int(np.count_nonzero(~drop)) % BLOCK_ROWS
    removed = drop.copy()
    removed[np.flatnonzero(drop)[:surplus]] = False
    return removed if np.count_nonzero(~removed) % BLOCK_ROWS == 0 else np.zeros_like(drop)


def _copy(codes: faiss.IndexPQFastScan) -> faiss.IndexPQFastScan:
    copy = faiss.clone_index(codes)
    if not isinstance(copy, faiss.IndexPQFastScan):
        raise TypeError(f"faiss copied a fast-scan index into a {type(copy).__name__}; use the pinned faiss release")
    return copy
