"""Levels of a scalar quantiser: as good as the textbooks' optimum, better than general k-means, defined on odd columns."""

from collections.abc import Callable

import faiss
import numpy as np
import pytest

from serving.index.tiers.levels import best_levels


def error(sample: np.ndarray, levels: np.ndarray) -> float:
    """Mean squared distance of a column's values to the nearest of its levels."""
    return float(np.mean(np.min(np.abs(sample[:, None] - levels[None, :]), axis=1) ** 2))


@pytest.mark.parametrize(
    ("drawn", "optimum"),
    [
        # Max (1960), table I: 16 levels of a normal distribution of variance 1
        (lambda rng: rng.normal(size=20_000), 0.009497),
        # equal steps of 1/16: a variance of step^2 / 12
        (lambda rng: rng.random(size=20_000), 1 / 16**2 / 12),
    ],
    ids=["normal", "uniform"],
)
def test_the_error_is_that_of_the_best_quantiser_known(drawn: Callable[[np.random.Generator], np.ndarray], optimum: float) -> None:
    """Five rounds from a good start are enough; from quantiles they are not."""
    sample = drawn(np.random.default_rng(1)).astype(np.float32)
    assert error(sample, best_levels(sample[:, None], 16)[0]) == pytest.approx(optimum, rel=0.03)


def test_the_error_is_below_that_of_the_librarys_own_training() -> None:
    """Skewed, sparse and lumpy columns as towers give them."""
    rng = np.random.default_rng(2)
    lumps = rng.normal(size=(9, 8)).take(rng.integers(9, size=4_000), axis=0) + 0.1 * rng.normal(size=(4_000, 8))
    sparse = np.where(rng.random((4_000, 8)) < 0.5, 0.0, rng.normal(size=(4_000, 8)))
    sample = np.hstack([lumps, sparse, rng.exponential(size=(4_000, 8))]).astype(np.float32)
    library = faiss.IndexPQ(24, 24, 4)
    library.train(sample)
    theirs = faiss.vector_to_array(library.pq.centroids).reshape(24, 16)
    ours = best_levels(sample, 16)
    total = [sum(error(sample[:, d], levels[d]) for d in range(24)) for levels in (ours, theirs)]
    assert total[0] < total[1]


@pytest.mark.parametrize("column", [[0.5], [0.0, 0.0, 0.0], [-1.0, 1.0], [0.0] * 999 + [7.0]], ids=str)
def test_a_column_of_few_values_keeps_them_exactly(column: list[float]) -> None:
    """A unit that is dead, or one that fires for a single candidate."""
    sample = np.array(column, np.float32)
    levels = best_levels(sample[:, None], 16)[0]
    assert np.isfinite(levels).all()
    assert (np.diff(levels) >= 0).all()
    assert error(sample, levels) == pytest.approx(0.0, abs=1e-12)
