"""The three similarities, by hand, and the same in torch as in arrays."""

import numpy as np
import pytest
import torch

from schemas.manifest import Metric
from trainer.learning.similarity import with_own, with_several, with_shared
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
