"""Objectives bound to data: what the loss makes of draws and weights, against arithmetic done by hand."""

import math

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from schemas.features.spec import FeatureSpec, Field
from trainer.data.columns import IMPLICIT_NEGATIVE, POSITIVE, Corpus, Examples, Queries
from trainer.learning.negatives import Negatives
from trainer.learning.objectives import Objective, Task
from trainer.learning.towers import TowerConfig, TwoTowers

SPEC = FeatureSpec(
    "test", "seed", query=(Field("region", "region", "hash", 4),), candidate=(Field("language", "language", "hash", 5),)
)
A, B = 0, 1


def test_the_correction_is_subtracted_from_positives_and_negatives_alike() -> None:
    """Three queries with candidate A, one with B, each set against the others' candidates: q is 3/4 for A and 1/4 for B, so a
    logit of 0 becomes log 4/3 for A and log 4 for B. A has one negative, B: log(1 + 4 / (4/3)) = log 4. B has three, all A:
    log(1 + 3 * (4/3) / 4) = log 2. The mean is (3 log 4 + log 2) / 4 = 7/4 log 2. With the positive's sign reversed A would cost
    log(1 + 4 / (3/4)) and B log(1 + 3 * (4/3) / (1/4)).
    """
    loss = _loss(Objective("sampled_softmax", Negatives("in_batch"), scale=0.0), items=[A, A, A, B], labels=[POSITIVE] * 4)
    assert loss == pytest.approx(7 / 4 * math.log(2), abs=1e-5)


def test_implicit_negatives_are_corrected_for_nothing() -> None:
    """One positive and four negatives, all of logit 0: log(1 + 4) = log 5. What a user was served is no draw from all items."""
    loss = _loss(
        Objective("sampled_softmax", Negatives("implicit", 4), scale=0.0),
        items=[A, B, B],
        labels=[POSITIVE, *[IMPLICIT_NEGATIVE] * 2],
    )
    assert loss == pytest.approx(math.log(5), abs=1e-5)


def test_popularity_weighs_served_negatives_and_no_positive() -> None:
    """Logits of 1 and popularities of t for both: the positive costs softplus(-1) = 0.3133 at weight 1, the negative
    softplus(1) = 1.3133 at 0.5 + 0.5 / e = 0.6839: (0.3133 + 0.6839 * 1.3133) / 1.6839 = 0.7194. Were both weighted alike, it
    would be their mean, 0.8133.
    """
    objective = Objective("cross_entropy", Negatives("implicit", 1), scale=0.0, popularity_t=30.0)
    loss = _loss(objective, items=[A, B], labels=[POSITIVE, IMPLICIT_NEGATIVE], popularity=30, bias=1.0)
    assert loss == pytest.approx(0.7194, abs=1e-4)


def test_a_loss_that_does_not_exist_is_refused() -> None:
    """It trained by the last of those that do."""
    with pytest.raises(ValueError, match="no loss 'hinge'; choose one of cross_entropy"):
        Objective(loss="hinge")  # type: ignore[arg-type]


def _loss(objective: Objective, *, items: list[int], labels: list[int], popularity: int = 0, bias: float = 0.0) -> float:
    """Return the loss of one batch of everything that one user was served; at scale 0 every logit is the bias."""
    examples = _examples(items, labels, popularity)
    task = Task(objective, examples, _corpus(), batch_size=8, rng=np.random.default_rng(0))
    with torch.no_grad():
        task.bias.fill_(bias)
        return float(task.loss(TwoTowers(SPEC, TowerConfig(dim=8, embedding_dim=4, hidden=(8,)), seed=0), task.rows))


def _examples(items: list[int], labels: list[int], popularity: int) -> Examples:
    n = len(items)
    return Examples(
        queries=Queries(np.ones((1, 1), np.int32), np.zeros(1, np.int32), np.zeros((1, 1), np.int32)),
        query=np.zeros(n, np.int32),
        candidate_ids=_ids(items),
        items=np.array(items, np.int32),
        labels=np.array(labels, np.int8),
        popularity=np.full(n, popularity, np.int64),
        event_time_ms=np.zeros(n, np.int64),
        provenance=np.zeros(n, np.int8),
    )


def _corpus() -> Corpus:
    return Corpus(_ids([A, B]), np.array([A, B], np.int32), np.zeros(2, np.int32), np.zeros(2, np.int64))


def _ids(items: list[int]) -> NDArray[np.int32]:
    return np.array(items, np.int32)[:, None] + 1
