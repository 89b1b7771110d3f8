"""The best linear map of a rank for inner products."""

import numpy as np
import pytest
from numpy.typing import NDArray

from trainer.learning.projection import fit_projection


def unit(rng: np.random.Generator, rows: int, columns: int) -> NDArray[np.float32]:
    """Draw unit vectors."""
    vectors = rng.standard_normal((rows, columns)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors


def test_a_projection_of_full_rank_scales_every_inner_product_by_one_factor() -> None:
    """Nothing is lost but length: the order within and between queries is the one before."""
    rng = np.random.default_rng(0)
    queries, candidates = unit(rng, 300, 6), unit(rng, 400, 6)
    query, candidate = fit_projection(queries, candidates, 6)
    before, after = queries @ candidates.T, (queries @ query) @ (candidates @ candidate).T
    assert after == pytest.approx(before * (after[0, 0] / before[0, 0]), abs=1e-5)


def test_the_samples_images_lie_inside_the_unit_ball() -> None:
    """With room for vectors that are a little longer than any of the sample."""
    rng = np.random.default_rng(1)
    queries, candidates = unit(rng, 200, 10), unit(rng, 200, 10)
    for vectors, matrix in zip((queries, candidates), fit_projection(queries, candidates, 3), strict=True):
        assert (vectors @ matrix).shape == (200, 3)
        assert np.linalg.norm(vectors @ matrix, axis=1).max() == pytest.approx(1 / 1.1, rel=1e-5)


def test_the_directions_that_neither_side_uses_are_the_ones_given_up() -> None:
    """Queries live in two directions of ten, and candidates everywhere: two dimensions say all there is to say."""
    rng = np.random.default_rng(2)
    queries = np.zeros((200, 10), np.float32)
    queries[:, :2] = unit(rng, 200, 2)
    candidates = unit(rng, 300, 10)
    query, candidate = fit_projection(queries, candidates, 2)
    before, after = queries @ candidates.T, (queries @ query) @ (candidates @ candidate).T
    assert after * (before.std() / after.std()) == pytest.approx(before, abs=2e-3)


@pytest.mark.parametrize("rank", [0, 7])
def test_a_rank_that_cannot_be_is_refused(rank: int) -> None:
    """No projection has none, or more than there are dimensions."""
    rng = np.random.default_rng(3)
    with pytest.raises(ValueError, match="no projection of rank"):
        fit_projection(unit(rng, 20, 6), unit(rng, 20, 6), rank)
