"""Rows added to faiss's packed lists: what faiss unpacks from them is what was added."""

from typing import Any

import faiss
import numpy as np
import pytest

from serving.index.tiers.lists import add_to_lists

BLOCK_ROWS = 32


class Lists:
    """Lists that rows are added to, as codes in cells have them, and what they should hold."""

    def __init__(self, lists: int, dim: int) -> None:
        # owns the lists
        self._index = faiss.IndexIVFPQFastScan(faiss.IndexFlatIP(dim), dim, lists, dim, 4, faiss.METRIC_INNER_PRODUCT)
        self.lists: Any = faiss.downcast_InvertedLists(self._index.invlists)  # type: ignore[arg-type]
        self.cells = np.empty(0, np.int64)
        self.codes = np.empty((0, dim), np.uint8)
        self.sizes = np.zeros(lists, np.int64)

    def add(self, cells: np.ndarray, codes: np.ndarray) -> None:
        """Add rows, given the cell and the codes of each."""
        add_to_lists(self.lists, self.sizes, cells, codes, len(self.cells))
        self.cells = np.concatenate([self.cells, cells])
        self.codes = np.concatenate([self.codes, codes])
        self.sizes = self.sizes + np.bincount(cells, minlength=len(self.sizes))

    def check(self) -> None:
        """Each list holds its rows in the order they came, each with its own codes."""
        for cell in range(len(self.sizes)):
            own = np.flatnonzero(self.cells == cell)
            assert self.lists.list_size(cell) == len(own) == self.sizes[cell]
            if not len(own):
                continue
            assert faiss.rev_swig_ptr(self.lists.get_ids(cell), len(own)).tolist() == own.tolist()
            blocks = -(-len(own) // BLOCK_ROWS)
            held = faiss.rev_swig_ptr(self.lists.get_codes(cell), blocks * self.lists.block_size).reshape(blocks, -1)
            for rank, number in enumerate(own.tolist()):
                pairs = self.lists.packer.unpack_1(held[rank // BLOCK_ROWS :][:1], rank % BLOCK_ROWS)
                codes = np.stack([pairs & 15, pairs >> 4], axis=1).ravel()[: self.codes.shape[1]]
                assert codes.tolist() == self.codes[number].tolist()


@pytest.mark.parametrize("dim", [1, 7, 16, 64])
@pytest.mark.parametrize("lists", [1, 3, 40])
@pytest.mark.parametrize("rows", [1, 31, 32, 33, 100])
def test_lists_hold_what_was_added(rows: int, lists: int, dim: int) -> None:
    """In however many pieces it comes: into empty lists, behind half a block, a row at a time."""
    random = np.random.default_rng(rows + lists + dim)
    held = Lists(lists, dim)
    for _ in range(12):
        held.add(random.integers(0, lists, rows), random.integers(0, 16, (rows, dim)).astype(np.uint8))
    held.check()


def test_a_list_that_faiss_takes_for_empty_is_not_overwritten() -> None:
    """Where as many rows are held as a block has bytes, and twice as many."""
    dim = 4
    held = Lists(3, dim)
    size = held.lists.block_size
    random = np.random.default_rng(1)

    def some(rows: int) -> np.ndarray:
        return random.integers(0, 16, (rows, dim)).astype(np.uint8)

    for _ in range(2):
        held.add(np.repeat([0, 1], size), some(2 * size))
        assert held.sizes[0] % size == 0
        held.add(np.array([1, 0, 2, 0, 1]), some(5))
        held.check()
        filling = np.repeat([0, 1], size - 2)
        held.add(filling, some(len(filling)))
    held.check()


def test_nothing_is_added_of_nothing() -> None:
    """Empty batches are common where a settle finds that all of its rows have died."""
    held = Lists(3, 8)
    held.add(np.empty(0, np.int64), np.empty((0, 8), np.uint8))
    held.check()
