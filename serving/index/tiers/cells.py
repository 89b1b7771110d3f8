"""Codes in cells, of which a query scans the nearest: what a corpus needs whose codes are too many to scan whole.

A cell holds the rows nearest to its centroid by cosine. A tier is immutable once published: rows are added to a copy. None is taken
out, since a removal from faiss 1.15.1's packed blocks leaves bits behind (see `compressed`): a row that dies is masked by the arena
until the rows are grouped anew, by centroids of that moment, for the data drift away from the old ones.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import faiss
import numpy as np
from numpy.typing import NDArray

from serving.index.protocol import FloatArray
from serving.index.tiers.arena import SlotArray
from serving.index.tiers.centroids import Cells, Centroids, learned
from serving.index.tiers.compressed import BITS, Codebook, Proposed, positions_told
from serving.index.tiers.lists import add_to_lists
from serving.index.tiers.nibbles import coded

SAMPLE_ROWS_PER_CELL = 40
CellOf = NDArray[np.int32]
_ONE_QUERY = 11


class Round(NamedTuple):
    """Cells to be asked together; the first `near` are those which only the others can tell to be enough."""

    cells: Cells
    near: int


@dataclass(frozen=True, slots=True)
class CelledTier:
    """Codes by cell and, for each in the order they were added, its cell and the arena slot of its full row."""

    codes: faiss.IndexIVFPQFastScan
    slots: SlotArray
    cell_of: CellOf
    centroids: Centroids
    sizes: Cells
    """[cells]: how many rows each holds. To count them anew would hold the interpreter for a millisecond at each extension."""
    borders: FloatArray

    def __len__(self) -> int:
        return len(self.slots)

    @property
    def bytes_held(self) -> int:
        """Codes, faiss's number, our slot and the cell of each, and the centroids."""
        return len(self.slots) * ((self.codes.d * BITS + 7) // 8 + 8 + 8 + 4) + self.centroids.bytes_held

    def rounds(self, query: FloatArray, near: int) -> Iterator[Round]:
        """All cells, those nearest to a unit query [dim] first, in rounds: `near` and as many again, twice as many, ..."""
        farness = -(self.centroids.vectors @ query)
        left, size = np.arange(len(farness)), 2 * near
        while len(left) > size:
            order = np.argpartition(farness[left], (near, size))
            yield Round(left[order[:size]], near)
            left = left[order[size:]]
            near, size = 0, len(farness) - len(left)
        yield Round(left, near)

    def nearest(self, query: FloatArray, asked: Round, count: int) -> Proposed:
        """About the `count` best codes of these cells for a unit query [dim]; dead rows included."""
        # the setting belongs to the calling thread, and each reader is a new caller
        faiss.omp_set_num_threads(1)
        wanted, cells = min(count, len(self.slots)), asked.cells
        scores, positions = np.empty(wanted, np.float32), np.empty(wanted, np.int64)
        unused = np.zeros(len(cells), np.float32)
        # the wrapper for numpy takes no parameters of a search, and how many cells one asks is such a parameter
        self.codes.search_preassigned_c(  # type: ignore[attr-defined]
            1,
            faiss.swig_ptr(query),
            wanted,
            faiss.swig_ptr(cells),
            faiss.swig_ptr(unused),
            faiss.swig_ptr(scores),
            faiss.swig_ptr(positions),
            False,
            _asking(len(cells)),
        )
        places, different = positions_told(scores, positions)
        far = np.zeros(len(self.centroids), np.bool_)
        far[cells[asked.near :]] = True
        return Proposed(self.slots.take(places), different, far.take(self.cell_of.take(places)))


@lru_cache(maxsize=1_024)
def _asking(cells: int) -> faiss.IVFSearchParameters:
    # made in Python it costs a tenth of a search
    return faiss.IVFSearchParameters(nprobe=cells)  # type: ignore[call-arg]


class CellsBuild:
    """A celled tier being filled, in chunks, by one thread. Nobody searches it."""

    def __init__(self, sample: FloatArray, codebook: Codebook, *, cells: int, seed: int) -> None:
        """Learn the centroids of so many cells from a sample [n, dim] of unit rows."""
        self._centroids = learned(sample, cells, seed=seed)
        self._cell_of: list[CellOf] = []
        self._sizes: Cells = np.zeros(cells, np.int64)
        # a search is told its cells, and rows theirs: faiss's own way to find them is never asked
        finder = faiss.IndexFlatIP(codebook.dim)
        codes = faiss.IndexIVFPQFastScan(finder, codebook.dim, cells, codebook.dim, BITS, faiss.METRIC_INNER_PRODUCT)
        codes.by_residual = False
        # of its loops over cells the one that takes a query's cells one by one: a tenth faster than those for many queries
        codes.implem = _ONE_QUERY
        faiss.copy_array_to_vector(np.ascontiguousarray(codebook.values).ravel(), codes.pq.centroids)
        codes.is_trained = True
        self.codebook = codebook
        self._codes = codes

    def __len__(self) -> int:
        return int(self._codes.ntotal)

    def add(self, vectors: FloatArray) -> None:
        """Take the next rows [n, dim]; releases the GIL for most of its work."""
        cell_of, self._sizes = _add(self._codes, self._centroids, self._sizes, self.codebook.borders, vectors)
        self._cell_of.append(cell_of)

    def sealed(self, slots: SlotArray) -> CelledTier:
        """The finished tier, given the arena slots of the rows in the order they were added."""
        return CelledTier(self._codes, slots, np.concatenate(self._cell_of), self._centroids, self._sizes, self.codebook.borders)


def extended_cells(tier: CelledTier, vectors: FloatArray, slots: SlotArray) -> CelledTier:
    """A new tier with these rows added, each to the cell whose centroid is nearest. The old one is untouched."""
    codes = faiss.clone_index(tier.codes)
    if not isinstance(codes, faiss.IndexIVFPQFastScan):
        raise TypeError(f"faiss copied cells of codes into a {type(codes).__name__}; use the pinned faiss release")
    added, sizes = _add(codes, tier.centroids, tier.sizes, tier.borders, vectors)
    cell_of = np.concatenate([tier.cell_of, added])
    return CelledTier(codes, np.concatenate([tier.slots, slots]), cell_of, tier.centroids, sizes, tier.borders)


def _add(
    codes: faiss.IndexIVFPQFastScan, centroids: Centroids, sizes: Cells, borders: FloatArray, vectors: FloatArray
) -> tuple[CellOf, Cells]:
    """Add rows as faiss's `add` does, given how many each cell holds; return the cell of each, and how many each holds then."""
    faiss.omp_set_num_threads(1)
    cells = centroids.nearest(vectors)
    # never None, but in faiss's types
    add_to_lists(codes.invlists, sizes, cells, coded(vectors, borders), codes.ntotal)  # type: ignore[arg-type]
    codes.ntotal += len(cells)
    return cells.astype(np.int32), sizes + np.bincount(cells, minlength=len(sizes))
