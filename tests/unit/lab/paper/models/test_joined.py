"""Models joined in one index, and brought back to the dimension of one."""

import numpy as np
import pytest
from numpy.typing import NDArray

from lab.paper.models.joined import JoinedModel, Joining
from lab.paper.models.projection import fit_projection
from schemas.manifest import Metric


class Fixed:
    """A model of given vectors, whatever is asked: the first is the query's."""

    metric: Metric = "cosine"

    def __init__(self, *vectors: tuple[float, ...]) -> None:
        self._vectors = np.array(vectors, np.float32)

    def embed_queries(self, ids: NDArray[np.integer]) -> NDArray[np.float32]:
        """Return the first row."""
        return self._vectors[:1]

    def embed_candidates(self, ids: NDArray[np.integer]) -> NDArray[np.float32]:
        """Return the other rows."""
        return self._vectors[1:]


def unit(rng: np.random.Generator, rows: int, columns: int) -> NDArray[np.float32]:
    """Draw unit vectors."""
    vectors = rng.standard_normal((rows, columns)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors


def test_joined_models_have_the_weighted_mean_of_their_cosines() -> None:
    """One index for two models. Cosines 0.6 and 1 in the first, 0 and -1 in the second: .75 * .6 = .45, .75 - .25 = .5."""
    joined = JoinedModel({Fixed((1, 0), (0.6, 0.8), (1, 0)): 0.75, Fixed((0, 1), (1, 0), (0, -1)): 0.25})
    queries, candidates = joined.embed_queries(np.zeros(1, np.int32)), joined.embed_candidates(np.zeros(2, np.int32))
    assert (queries @ candidates.T)[0] == pytest.approx([0.45, 0.5])
    assert np.linalg.norm(candidates, axis=1) == pytest.approx([1.0, 1.0])
    assert candidates.shape == (2, 4)


@pytest.mark.parametrize("weights", [{"a": 0.7, "b": 0.7}, {"a": 1.2, "b": -0.2}])
def test_weights_under_which_vectors_have_another_length_are_refused(weights: dict[str, float]) -> None:
    """An index of unit vectors would rank them wrongly, and nobody would see it."""
    with pytest.raises(ValueError, match="add up to 1"):
        Joining("x", weights)


def test_a_projection_of_full_rank_scales_every_inner_product_by_one_factor() -> None:
    """Nothing is lost but length: the order within and between queries is the one before."""
    rng = np.random.default_rng(0)
    queries, candidates = unit(rng, 300, 6), unit(rng, 400, 6)
    projection = fit_projection(queries, candidates, 8)
    before, after = queries @ candidates.T, projection.queries(queries) @ projection.candidates(candidates).T
    assert after == pytest.approx(before / (projection.query_length * projection.candidate_length), abs=1e-5)


def test_projected_vectors_have_length_1_and_the_asked_dimension() -> None:
    """The index takes unit vectors only; a vector longer than any of the sample is cut to length, not refused."""
    rng = np.random.default_rng(1)
    queries, candidates = unit(rng, 200, 10), unit(rng, 200, 10)
    projection = fit_projection(queries, candidates, 5)
    for vectors in (projection.queries(queries), projection.candidates(candidates), projection.queries(100 * queries)):
        assert vectors.shape == (200, 5)
        assert vectors.dtype == np.float32
        assert np.linalg.norm(vectors, axis=1) == pytest.approx(np.ones(200), abs=1e-5)


def test_the_directions_that_neither_side_uses_are_the_ones_given_up() -> None:
    """Queries live in two directions of ten, and candidates everywhere: two dimensions say all there is to say."""
    rng = np.random.default_rng(2)
    queries = np.zeros((200, 10), np.float32)
    queries[:, :2] = unit(rng, 200, 2)
    candidates = unit(rng, 300, 10)
    projection = fit_projection(queries, candidates, 4)
    after = projection.queries(queries) @ projection.candidates(candidates).T
    assert after * projection.query_length * projection.candidate_length == pytest.approx(queries @ candidates.T, abs=2e-3)


@pytest.mark.parametrize("dim", [2, 9])
def test_a_dimension_that_cannot_be_is_refused(dim: int) -> None:
    """Two of the dimensions keep the length; more than there are cannot be kept."""
    rng = np.random.default_rng(3)
    with pytest.raises(ValueError, match="choose 3 to 8"):
        fit_projection(unit(rng, 20, 6), unit(rng, 20, 6), dim)
