"""Codes in cells: what a round asks, and that a tier that is extended leaves the one it came from as it was."""

from itertools import pairwise

import numpy as np
import pytest

from serving.index.tiers.cells import CelledTier, CellsBuild, Round, extended_cells
from serving.index.tiers.compressed import Codebook, empty_tier, extended, train_codebook

DIM = 16
ROWS = 2_000
CELLS = 25


@pytest.fixture(scope="module")
def vectors() -> np.ndarray:
    """[ROWS, DIM] float32 of length 1."""
    raw = np.random.default_rng(1).normal(size=(ROWS, DIM)).astype(np.float32)
    unit: np.ndarray = raw / np.linalg.norm(raw, axis=1, keepdims=True)
    return unit


@pytest.fixture(scope="module")
def codebook(vectors: np.ndarray) -> Codebook:
    """Learned from all of them."""
    return train_codebook(vectors)


def celled(vectors: np.ndarray, codebook: Codebook, slots: np.ndarray) -> CelledTier:
    """A tier of these rows, filled in chunks of uneven size."""
    build = CellsBuild(vectors, codebook, cells=CELLS, seed=1)
    for begin in range(0, len(vectors), 300):
        build.add(vectors[begin : begin + 300])
    assert len(build) == len(vectors)
    return build.sealed(slots)


def everything(tier: CelledTier, query: np.ndarray) -> Round:
    """All cells."""
    return Round(np.concatenate([asked.cells for asked in tier.rounds(query, 4)]), CELLS)


@pytest.mark.parametrize("near", [1, 3, 8, CELLS, 10 * CELLS])
def test_rounds_hold_every_cell_once_and_the_nearest_first(vectors: np.ndarray, codebook: Codebook, near: int) -> None:
    """A cell asked twice would give its rows twice; one never asked would lose them."""
    tier = celled(vectors, codebook, np.arange(ROWS))
    for query in vectors[:20]:
        rounds = list(tier.rounds(query, near))
        assert sorted(cell for asked in rounds for cell in asked.cells.tolist()) == list(range(CELLS))
        assert len(rounds[0].cells) == min(2 * near, CELLS)
        nearness = tier.centroids.vectors @ query
        for nearer, farther in pairwise(rounds):
            assert nearness[nearer.cells].min() >= nearness[farther.cells].max()
        assert [asked.near for asked in rounds] == [near] + [0] * (len(rounds) - 1)


def test_of_the_cells_asked_first_the_nearer_half_comes_first(vectors: np.ndarray, codebook: Codebook) -> None:
    """Only the farther half tells whether they were enough. Numpy sorts a few hundred whole, whatever it is asked for."""
    build = CellsBuild(vectors, codebook, cells=ROWS // 2, seed=1)
    build.add(vectors)
    tier, near = build.sealed(np.arange(ROWS)), 100
    for query in vectors[:20]:
        first = next(tier.rounds(query, near)).cells
        nearness = tier.centroids.vectors @ query
        assert nearness[first[:near]].min() >= nearness[first[near:]].max()


def test_what_lies_in_the_farther_half_of_the_cells_asked_is_told(vectors: np.ndarray, codebook: Codebook) -> None:
    """While it is among the best, cells further off are asked too; told of the wrong half, a search would end too soon."""
    build = CellsBuild(vectors[:1_500], codebook, cells=CELLS, seed=1)
    build.add(vectors[:700])
    build.add(vectors[700:1_500])
    tier = extended_cells(build.sealed(np.arange(1_500)), vectors[1_500:], np.arange(1_500, ROWS))
    for query in vectors[:20]:
        asked = next(tier.rounds(query, 4))
        proposed = tier.nearest(query, asked, 200)
        cells = np.argmax(vectors[proposed.slots] @ tier.centroids.vectors.T, axis=1)
        assert proposed.far is not None
        assert proposed.far.tolist() == np.isin(cells, asked.cells[asked.near :]).tolist()
        assert 0 < np.count_nonzero(proposed.far) < len(proposed)


def test_all_cells_give_what_a_scan_of_all_codes_gives(vectors: np.ndarray, codebook: Codebook) -> None:
    """The codes are the codebook's, in whatever cell."""
    slots = np.arange(ROWS) + 7
    tier = celled(vectors, codebook, slots)
    flat = extended(empty_tier(codebook), vectors, slots, drop=None)
    shares = []
    for query in vectors[:50]:
        found = tier.nearest(query, everything(tier, query), 100).slots.tolist()
        assert len(set(found)) == 100
        shares.append(len(set(found) & set(flat.nearest(query, 100).slots.tolist())) / 100)
    # rows whose codes score the same at the end of the hundred may differ
    assert np.mean(shares) > 0.97


def test_a_cell_is_asked_for_more_than_it_holds(vectors: np.ndarray, codebook: Codebook) -> None:
    """It gives what it holds, and nothing that stands for nothing."""
    tier = celled(vectors, codebook, np.arange(ROWS))
    nearest = next(tier.rounds(vectors[3], 1)).cells[:1]
    found = tier.nearest(vectors[3], Round(nearest, 0), ROWS).slots
    assert 0 < len(found) < ROWS / 2
    assert len(set(found.tolist())) == len(found)
    assert found.min() >= 0
    nearness = vectors[found] @ tier.centroids.vectors.T
    assert np.mean(nearness.argmax(axis=1) == nearest[0]) == 1.0


def test_a_longer_tier_holds_old_and_new_rows_and_the_old_one_is_as_it_was(vectors: np.ndarray, codebook: Codebook) -> None:
    """Readers go on with the tier they took while rows are added to a copy."""
    old, more = vectors[:1_500], vectors[1_500:]
    tier = celled(old, codebook, np.arange(1_500))
    before = [tier.nearest(query, everything(tier, query), 50).slots.tolist() for query in vectors[:20]]
    longer = extended_cells(tier, more, np.arange(1_500, ROWS))
    assert len(tier) == 1_500
    assert len(longer) == ROWS
    assert longer.bytes_held > tier.bytes_held
    assert [tier.nearest(query, everything(tier, query), 50).slots.tolist() for query in vectors[:20]] == before
    own = [number in longer.nearest(vectors[number], next(longer.rounds(vectors[number], 1)), 10).slots for number in range(ROWS)]
    assert np.mean(own) > 0.99
