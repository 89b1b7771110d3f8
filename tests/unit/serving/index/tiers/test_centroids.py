"""Which centroid is nearest to each row, and learning them: nothing may depend on how the products are cut into pieces."""

import numpy as np
import pytest

from serving.index.tiers.centroids import Centroids, learned


def unit_rows(rows: int, dim: int, seed: int = 1) -> np.ndarray:
    """[rows, dim] float32 of length 1."""
    raw = np.random.default_rng(seed).normal(size=(rows, dim)).astype(np.float32)
    unit: np.ndarray = raw / np.linalg.norm(raw, axis=1, keepdims=True)
    return unit


@pytest.mark.parametrize("dim", [1, 7, 64, 100, 5_000])
@pytest.mark.parametrize("cells", [1, 63, 64, 65, 200])
@pytest.mark.parametrize("rows", [0, 1, 64, 257, 600])
def test_the_nearest_is_that_of_the_largest_product(rows: int, cells: int, dim: int) -> None:
    """Whatever part of a piece is filled up."""
    vectors, of = unit_rows(rows, dim), unit_rows(cells, dim, 2)
    nearest = Centroids(of).nearest(vectors)
    assert nearest.dtype == np.int64
    assert nearest.shape == (rows,)
    products = vectors @ of.T
    chosen = np.take_along_axis(products, nearest[:, None], axis=1)[:, 0]
    assert chosen == pytest.approx(products.max(axis=1, initial=-2.0), abs=1e-6)


def test_what_fills_up_the_last_piece_is_never_the_nearest() -> None:
    """The first centroid stands there again, and rows that are nearest to it stay its own."""
    of = unit_rows(65, 8)
    assert Centroids(of).nearest(np.repeat(of[:1], 100, axis=0)).tolist() == [0] * 100


def test_learned_centroids_stand_in_the_middle_of_their_rows() -> None:
    """Of five far groups each gets one of its own, of length 1."""
    middles = np.eye(5, 16, dtype=np.float32)
    numbers = np.repeat(np.arange(5), 40)
    rows = middles[numbers] + 0.01 * unit_rows(200, 16)
    rows = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
    # of some starts two of five lie in one group for ever: that is k-means
    found = [learned(rows, 5, seed=seed) for seed in range(20)]
    best = max(found, key=lambda of: float((of.vectors @ middles.T).max(axis=0).min()))
    assert np.linalg.norm(best.vectors, axis=1) == pytest.approx(np.ones(5), abs=1e-5)
    assert len({int(cell) for cell in best.nearest(middles)}) == 5
    assert (best.vectors @ middles.T).max(axis=1).min() > 0.999


def test_learning_is_better_than_drawing() -> None:
    """Rows lie nearer to what was learned than to as many of themselves, and the same seed learns the same."""
    rows = unit_rows(4_000, 16)

    def nearness(of: Centroids) -> float:
        return float((rows * of.vectors[of.nearest(rows)]).sum(axis=1).mean())

    of = learned(rows, 100, seed=3)
    assert nearness(of) > nearness(Centroids(rows[:100])) + 0.03
    assert np.array_equal(learned(rows, 100, seed=3).vectors, of.vectors)


def test_rows_that_are_all_alike_leave_no_cell_without_a_unit_vector() -> None:
    """All cells but one are nearest to nothing, and begin anew each time."""
    rows = np.repeat(unit_rows(1, 16), 50, axis=0)
    of = learned(rows, 50, seed=1)
    assert len(of) == 50
    assert np.isfinite(of.vectors).all()
    assert np.linalg.norm(of.vectors, axis=1) == pytest.approx(np.ones(50), abs=1e-5)


def test_rows_that_cancel_out_leave_no_cell_without_a_unit_vector() -> None:
    """The sum of opposite rows has no direction; the cell goes on with one of them."""
    row = unit_rows(1, 16)
    of = learned(np.concatenate([row, -row]), 1, seed=1)
    assert np.linalg.norm(of.vectors, axis=1) == pytest.approx(np.ones(1), abs=1e-5)
