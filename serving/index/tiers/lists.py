"""Codes into faiss's lists of packed blocks, many rows at once: what adding to cells costs beside finding cell and codes.

Of faiss 1.15.1's own ways, `add` finds cells and codes itself, at three times the cost; `add_core` and `add_sa_codes` leave wrong
codes in packed blocks; and `add_entries` takes one list's rows a call, packed as in a list of their own. `merge_from` does that for
all lists in one call without the GIL: the rows are written here as lists that faiss reads, and merged.
"""

import faiss
import numpy as np
from numpy.typing import NDArray

from serving.index.tiers.centroids import Cells
from serving.index.tiers.nibbles import BLOCK_ROWS, LANES, Codes, lanes_of, packed

_KIND = b"ilbl"
_NO_CODE_SIZE = -1
_WORD = 8


def add_to_lists(lists: faiss.InvertedLists, sizes: Cells, cells: Cells, codes: Codes, first: int) -> None:
    """Add rows, given each one's cell [n] and codes [n, dim], numbered from `first` on; `sizes` [lists] are those before."""
    block_bytes = _block_bytes(codes)
    # faiss takes a list of as many rows as a block has bytes for an empty one, and writes past its end
    misread = (sizes > 0) & (sizes % block_bytes == 0)
    numbers = np.arange(first, first + len(cells))
    apart = misread[cells]
    for cell in np.unique(cells[apart]).tolist():
        of_cell = cells == cell
        _append_blocks(lists, cell, int(sizes[cell]), codes[of_cell], numbers[of_cell])
    if apart.any():
        cells, codes, numbers = cells[~apart], codes[~apart], numbers[~apart]
    if not len(cells):
        return
    reader = faiss.VectorIOReader()
    faiss.copy_array_to_vector(_as_file(cells, codes, numbers, lists.nlist, block_bytes), reader.data)
    # owned by an index, which frees them: as often as Python frees lists that faiss read, its bindings forget one of their types
    owner = faiss.IndexIVFFlat(faiss.IndexFlatIP(1), 1, lists.nlist)
    added = faiss.read_InvertedLists(reader)
    owner.replace_invlists(added, True)
    lists.merge_from(added, 0)


def _block_bytes(codes: Codes) -> int:
    dim = int(codes.shape[1])
    # faiss rounds an odd one up
    return LANES * (dim + dim % 2)


def _append_blocks(lists: faiss.InvertedLists, cell: int, size: int, codes: Codes, numbers: NDArray[np.int64]) -> None:
    """Add rows to a list whose last block is full."""
    lists.resize(cell, size + len(codes))
    blocks, block_bytes = packed(codes, 0), _block_bytes(codes)
    begin = size // BLOCK_ROWS * block_bytes
    held = faiss.rev_swig_ptr(lists.get_codes(cell), begin + len(blocks) * block_bytes)
    held[begin:].reshape(len(blocks), block_bytes)[:, : blocks.shape[1]] = blocks
    faiss.rev_swig_ptr(lists.get_ids(cell), size + len(codes))[size:] = numbers


def _as_file(cells: Cells, codes: Codes, numbers: NDArray[np.int64], lists: int, block_bytes: int) -> NDArray[np.uint8]:
    """Lists of these rows alone, as faiss writes them to a file: how many rows, their numbers, how many bytes, the blocks."""
    order = np.argsort(cells, kind="stable")
    cells, codes = cells[order], codes[order]
    counts = np.bincount(cells, minlength=lists)
    blocks = -(-counts // BLOCK_ROWS)
    words = 2 + counts + blocks * (block_bytes // _WORD)
    begins = np.cumsum(words) - words
    file = np.zeros(int(words.sum()), np.int64)
    file[begins] = counts
    file[begins + 1 + counts] = blocks * block_bytes
    rank = np.arange(len(cells)) - (np.cumsum(counts) - counts)[cells]
    file[begins[cells] + 1 + rank] = numbers[order]
    block, row = rank // BLOCK_ROWS, rank % BLOCK_ROWS
    at = (begins + 2 + counts)[cells] * _WORD + block * block_bytes + lanes_of(row)
    places = at[:, None] + LANES * np.arange(codes.shape[1])
    bytes_ = file.view(np.uint8)
    lower = row < LANES
    bytes_[places[lower]] = codes[lower]
    bytes_[places[~lower]] |= codes[~lower] << 4
    head = np.array([lists, _NO_CODE_SIZE, BLOCK_ROWS, block_bytes], np.int64)
    return np.concatenate([np.frombuffer(_KIND, np.uint8), head.view(np.uint8), bytes_])
