"""The training loop, on a tiny world: it learns what it should, the same way each time, and says so when it cannot."""

from dataclasses import replace
from typing import get_args

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from schemas.errors import Refused
from schemas.features.catalog import TWEET
from schemas.manifest import Metric
from tests.unit.trainer.conftest import Encoded
from trainer.data.columns import EXPLICIT_NEGATIVE, POSITIVE
from trainer.evaluation import evaluate
from trainer.learning.fit import FitConfig, FitProgress, fit
from trainer.learning.negatives import Kind, Negatives
from trainer.learning.objectives import Loss, Objective, Task
from trainer.learning.towers import Frozen, TorchEmbedder, TowerConfig, TwoTowers

UNIFORM = Objective(negatives=Negatives("uniform", 32))
IMPLICIT = Objective(negatives=Negatives("implicit", 4))


@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize(
    "objective",
    [
        UNIFORM,
        IMPLICIT,
        Objective("triplet", Negatives("frequency", 32)),
        Objective("triplet", Negatives("implicit", 4), margin=0.5),
        Objective("sampled_softmax", Negatives("in_batch"), popularity_t=50.0),
        Objective("sampled_softmax", Negatives("mixed", 32, {"uniform": 0.5, "frequency": 0.25, "in_batch": 0.25})),
    ],
    ids=lambda objective: f"{objective.loss}-{objective.negatives.kind}",
)
def test_every_named_option_lowers_its_loss(
    small: Encoded, small_towers: TowerConfig, objective: Objective, *, sparse: bool
) -> None:
    """An option that runs but learns nothing is a stub."""
    config = TowerConfig(**{**small_towers.to_json(), "hidden": small_towers.hidden, "sparse_gradients": sparse})
    seen: list[FitProgress] = []
    towers = TwoTowers(TWEET, config, seed=0)
    first = FitConfig((objective,), learning_rate=3e-3, epochs=1, batch_size=32, seed=0)
    before = fit(towers, small.train, small.corpus, first)
    after = fit(towers, small.train, small.corpus, FitConfig((objective,), 3e-3, 3, 32), progress=seen.append)
    assert after.loss < before.loss * 0.97
    assert seen[-1].step == seen[-1].steps == after.steps
    assert seen[-1].eta_s == 0


@pytest.mark.parametrize("metric", get_args(Metric))
@pytest.mark.parametrize("loss", get_args(Loss))
@pytest.mark.parametrize("kind", get_args(Kind))
def test_every_loss_goes_with_every_kind_of_negatives_and_every_metric(
    small: Encoded, small_towers: TowerConfig, loss: Loss, kind: Kind, metric: Metric
) -> None:
    """The paper's techniques are options that combine, popularity weights included; each combination changes the towers."""
    negatives = Negatives(kind, 4, {"uniform": 0.5, "frequency": 0.5} if kind == "mixed" else {})
    towers = TwoTowers(TWEET, replace(small_towers, metric=metric), seed=0)
    before = towers.weights()
    few = small.train.take(np.arange(200))
    report = fit(towers, few, small.corpus, FitConfig((Objective(loss, negatives, popularity_t=50.0),), 3e-3, 1, 64))
    assert np.isfinite(report.loss)
    after = towers.weights()
    assert all(np.isfinite(value).all() for value in after.values())
    assert not np.array_equal(before["table"], after["table"])


@pytest.mark.parametrize("metric", ["inner_product", "euclidean"])
def test_other_metrics_than_cosine_learn_too(small: Encoded, small_towers: TowerConfig, metric: Metric) -> None:
    """A metric that runs but ranks at chance would be an option in name only."""
    towers = TwoTowers(TWEET, replace(small_towers, metric=metric), seed=0)
    untrained = evaluate(TorchEmbedder(towers), small.evaluation, small.corpus)
    fit(towers, small.train, small.corpus, FitConfig((UNIFORM,), 3e-3, 10, 32))
    trained = evaluate(TorchEmbedder(towers), small.evaluation, small.corpus)
    assert trained["sampled_auc"] > max(0.7, untrained["sampled_auc"] + 0.1)


@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize(("frozen", "changing"), [("embeddings", {"layers.0", "layers.2"}), ("all_but_last", {"layers.2"})])
def test_frozen_weights_stay_as_they_are_and_the_others_learn(
    small: Encoded, small_towers: TowerConfig, frozen: Frozen, changing: set[str], *, sparse: bool
) -> None:
    """Freezing is how fine-tuning is kept from forgetting (section 6); a frozen layer that drifts forgets in silence."""
    towers = TwoTowers(TWEET, replace(small_towers, sparse_gradients=sparse), seed=0)
    before = towers.weights()
    config = FitConfig((IMPLICIT,), learning_rate=3e-3, epochs=1, batch_size=64, frozen=frozen)
    fit(towers, small.train, small.corpus, config)
    after = towers.weights()
    assert {name.split(".", 1)[1].rsplit(".", 1)[0] for name in before if not np.array_equal(before[name], after[name])} == changing
    assert all(weights.requires_grad for weights in towers.parameters()), "the next fit decides anew"


def test_the_same_seeds_give_the_same_weights_bit_for_bit(small: Encoded, small_towers: TowerConfig) -> None:
    """A bundle is reproduced from its seeds and offsets; whatever drew from the global generators in between."""

    def trained(seed: int) -> dict[str, NDArray[np.float32]]:
        towers = TwoTowers(TWEET, small_towers, seed=1)
        fit(
            towers,
            small.train,
            small.corpus,
            FitConfig((UNIFORM, IMPLICIT), learning_rate=3e-3, epochs=1, batch_size=64, seed=seed),
        )
        return towers.weights()

    first = trained(3)
    torch.rand(5)
    np.random.rand(5)  # noqa: NPY002  the legacy global generator is what must not matter
    assert all(np.array_equal(value, first[name]) for name, value in trained(3).items())
    assert not np.array_equal(trained(4)["table"], first["table"])


def test_a_small_window_still_gets_enough_steps(small: Encoded, small_towers: TowerConfig) -> None:
    """Too few steps under-train, which looks like too many negatives (FACTS: Figure 5 inverted)."""
    report = fit(
        TwoTowers(TWEET, small_towers, seed=0),
        small.train.take(small.train.positives[:20]),
        small.corpus,
        FitConfig((UNIFORM,), learning_rate=1e-3, epochs=1, batch_size=16, min_steps=31),
    )
    # 20 positives are 2 batches an epoch
    assert report.steps == 32


def test_a_fine_tune_begins_at_the_base_rate(small: Encoded, small_towers: TowerConfig) -> None:
    """Pre-trained cosines are far from any base rate; without calibration the first steps undo them all at once."""
    towers = TwoTowers(TWEET, small_towers, seed=0)
    task = Task(IMPLICIT, small.train, small.corpus, batch_size=64, rng=np.random.default_rng(0))
    task.calibrate(towers)
    rows = small.train.implicit
    with torch.no_grad():
        queries = towers.embed_queries(torch.from_numpy(small.train.queries.ids[small.train.query[rows]]))
        own = towers.embed_candidates(torch.from_numpy(small.train.candidate_ids[rows]))
        predicted = torch.sigmoid(task.scale * (queries * own).sum(dim=1) + task.bias).mean().item()
    assert predicted == pytest.approx(len(small.train.positives) / len(rows), abs=0.02)


def test_explicit_negatives_are_no_implicit_ones(small: Encoded) -> None:
    """Show-less and block are rare and skewed (section 3.2); the contracts keep them out of both classes."""
    labels = small.train.labels.copy()
    labels[:50] = EXPLICIT_NEGATIVE
    marked = replace(small.train, labels=labels)
    task = Task(IMPLICIT, marked, small.corpus, batch_size=64, rng=np.random.default_rng(0))
    assert task.rows.min() >= 50


def test_one_class_only_is_refused_with_what_to_wait_for(small: Encoded, small_towers: TowerConfig) -> None:
    """A window in which nobody engaged, or everybody did, teaches nothing."""
    config = FitConfig((IMPLICIT,), learning_rate=1e-3, epochs=1)
    for rows in (small.train.positives, np.flatnonzero(small.train.labels != POSITIVE), np.zeros(0, np.int64)):
        with pytest.raises(Refused, match="needs both classes"):
            fit(TwoTowers(TWEET, small_towers, seed=0), small.train.take(rows), small.corpus, config)


def test_a_diverged_loss_ends_the_fit(small: Encoded, small_towers: TowerConfig) -> None:
    """NaN weights would otherwise be found only by the parity check, without a word about the learning rate."""
    towers = TwoTowers(TWEET, small_towers, seed=0)
    with torch.no_grad():
        towers.table[5:] = float("inf")
    with pytest.raises(Refused, match="lower the learning rate"):
        fit(towers, small.train, small.corpus, FitConfig((UNIFORM,), learning_rate=1e-3, epochs=1))
