"""The three similarities, by hand, and the same in torch as in arrays."""

import numpy as np
import pytest
import torch

from schemas.manifest import Metric
from trainer.learning.similarity import INDEX_DIMENSIONS, for_index, in_space, with_own, with_several, with_shared
from trainer.metrics import nearest, pair_scores

QUERY, OTHER = torch.tensor([[3.0, 4.0]]), torch.tensor([[0.0, 0.0], [3.0, 3.0]])


@pytest.mark.parametrize(
    ("metric", "by_hand"),
    [("inner_product", [0.0, 3 * 3 + 4 * 3]), ("euclidean", [-5.0, -1.0])],
)
def test_a_similarity_is_the_inner_product_or_minus_the_distance(metric: Metric, by_hand: list[float]) -> None:
    """(3, 4) with (0, 0): product 0, distance sqrt(9 + 16) = 5. With (3, 3): product 21, distance sqrt(0 + 1) = 1."""
    assert with_shared(QUERY, OTHER, metric).tolist() == [pytest.approx(by_hand)]
    assert with_several(QUERY, OTHER.unsqueeze(0), metric).tolist() == [pytest.approx(by_hand)]
    assert with_own(QUERY.expand(2, 2), OTHER, metric).tolist() == pytest.approx(by_hand)


@pytest.mark.parametrize("metric", ["cosine", "inner_product", "euclidean"])
def test_torch_and_arrays_say_the_same(metric: Metric) -> None:
    """Or a model would be judged by another similarity than the one it was trained for."""
    rng = np.random.default_rng(0)
    queries, candidates = rng.normal(size=(20, 8)).astype(np.float32), rng.normal(size=(20, 8)).astype(np.float32)
    torch_scores = with_own(torch.from_numpy(queries), torch.from_numpy(candidates), metric).numpy()
    assert pair_scores(queries, candidates, metric) == pytest.approx(torch_scores, abs=1e-5)
    everything = with_shared(torch.from_numpy(queries), torch.from_numpy(candidates), metric).numpy()
    assert nearest(queries, candidates, 20, metric=metric).tolist() == np.argsort(-everything, axis=1).tolist()


def test_a_query_on_top_of_its_candidate_has_a_finite_gradient() -> None:
    """The root of 0 has an infinite slope: one such pair would make every weight NaN."""
    query = torch.tensor([[1.0, 2.0]], requires_grad=True)
    with_own(query, torch.tensor([[1.0, 2.0]]), "euclidean").sum().backward()  # type: ignore[no-untyped-call]
    assert query.grad is not None
    assert torch.isfinite(query.grad).all()


def test_an_inner_product_and_a_distance_become_cosines_by_hand() -> None:
    """Raw (3, 4) has length 5, in the ball 5 / sqrt(26): (3, 4) / sqrt(26), and what is missing to 1 is 1 / sqrt(26).

    By distance s = 25/26: (3, 4) / sqrt(26), then -25/52, then sqrt((1/26) (5 + 25/26)) / 2 = .2394, all by sqrt(5/4).
    The query (0, 2), in the ball (0, 2) / sqrt(5), asks the product as (0, 1, 0) and the distance as (0, .8944, 1, 0) / sqrt(1.8).
    """
    raw, query, ball = torch.tensor([[3.0, 4.0]]), torch.tensor([[0.0, 2.0]]), 26**0.5
    product = [3 / ball, 4 / ball, 1 / ball]
    assert for_index(raw, "inner_product", "candidate").tolist() == [pytest.approx(product)]
    assert for_index(query, "inner_product", "query").tolist() == [pytest.approx([0.0, 1.0, 0.0])]
    distance = [3 / ball / 1.25**0.5, 4 / ball / 1.25**0.5, -25 / 52 / 1.25**0.5, 0.2394 / 1.25**0.5]
    assert for_index(raw, "euclidean", "candidate").tolist() == [pytest.approx(distance, abs=1e-4)]
    asked = [0.0, (0.8 / 1.8) ** 0.5, (1 / 1.8) ** 0.5, 0.0]
    assert for_index(query, "euclidean", "query").tolist() == [pytest.approx(asked, abs=1e-4)]


@pytest.mark.parametrize("metric", ["cosine", "inner_product", "euclidean"])
def test_cosines_of_what_an_index_gets_rank_as_the_metric_does(metric: Metric) -> None:
    """From vectors near 0 to such of length 1,000: nothing a tower can yield is ranked by another similarity than it learned."""
    generator = torch.Generator().manual_seed(3)
    lengths = torch.logspace(-2, 3, 200).unsqueeze(1)
    raw = torch.nn.functional.normalize(torch.randn(200, 6, generator=generator), dim=1) * lengths
    queries = torch.randn(40, 6, generator=generator) * torch.logspace(-2, 2, 40).unsqueeze(1)
    candidates, asked = for_index(raw.double(), metric, "candidate"), for_index(queries.double(), metric, "query")
    assert candidates.shape == (200, 6 + INDEX_DIMENSIONS[metric])
    for vectors in (candidates, asked):
        assert vectors.norm(dim=1).numpy() == pytest.approx(1.0, abs=1e-9)
    wanted = with_shared(in_space(queries.double(), metric), in_space(raw.double(), metric), metric)
    assert (asked @ candidates.T).argsort(dim=1).tolist() == wanted.argsort(dim=1).tolist()
