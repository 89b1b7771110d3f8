"""The paper's options and the gates' limits, as operators set them."""

from dataclasses import asdict, fields
from typing import Any

import pytest
from pydantic import ValidationError

from trainer.gates import GateLimits
from trainer.learning.negatives import Negatives
from trainer.learning.objectives import Objective
from trainer.learning.towers import TowerConfig
from trainer.options.settings import EnsembleOptions, FinetuneOptions, GateOptions, Options, PretrainOptions
from trainer.recipes import PARTS, EnsembleConfig, FinetuneConfig, PretrainConfig
from trainer.schedule import Plan
from trainer.settings import TrainerSettings

LIMITS = GateLimits()


def test_who_sets_nothing_gets_the_recipes_as_they_are() -> None:
    """A default that is written twice would drift from the one that was measured."""
    assert PretrainOptions().config(limits=LIMITS, min_steps=120, seed=0, threads=1) == PretrainConfig()
    assert FinetuneOptions().config(limits=LIMITS, replay=0.0, seed=0, threads=1) == FinetuneConfig()
    assert EnsembleOptions().config(limits=LIMITS, min_steps=120, seed=0, threads=1) == EnsembleConfig()
    assert GateOptions().limits == LIMITS


def test_the_schedule_trains_and_judges_as_the_environment_says(monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything in the paper is a named option, of the loop as of the commands."""
    for name, value in {
        "PRETRAIN_METRIC": "euclidean",
        "PRETRAIN_LOSS": "sampled_softmax",
        "PRETRAIN_NEGATIVES": "mixed",
        "PRETRAIN_MIX": "uniform=0.25, in_batch=0.75",
        "PRETRAIN_RATIO": "4000",
        "PRETRAIN_SPARSE_GRADIENTS": "true",
        "FINETUNE_LOSS": "triplet",
        "FINETUNE_MARGIN": "0.2",
        "FINETUNE_POPULARITY_T": "20",
        "FINETUNE_LEARNING_RATE": "0.001",
        "FINETUNE_EPOCHS": "2",
        "FINETUNE_BATCH_SIZE": "64",
        "FINETUNE_FREEZE": "embeddings",
        "GATE_ANCHOR_LANGUAGE_MISMATCH_RISE": "0.05",
        "GATE_MIN_EXAMPLES": "1000",
    }.items():
        monkeypatch.setenv(f"ROOST_{name}", value)
    limits = GateOptions().limits
    plan = Plan.of(TrainerSettings(replay=2.0), Options(PretrainOptions(), FinetuneOptions(), EnsembleOptions(), limits))
    assert plan.pretrain.towers == TowerConfig(metric="euclidean", sparse_gradients=True)
    assert plan.pretrain.objectives == (
        Objective("sampled_softmax", Negatives("mixed", 4_000, {"uniform": 0.25, "in_batch": 0.75})),
    )
    assert plan.finetune.objective == Objective("triplet", Negatives("implicit", 16), margin=0.2, popularity_t=20.0)
    assert (plan.finetune.learning_rate, plan.finetune.epochs, plan.finetune.batch_size) == (0.001, 2, 64)
    assert (plan.finetune.frozen, plan.finetune.replay, plan.finetune.draw_back_steps) == ("embeddings", 2.0, 16)
    assert plan.pretrain.limits == plan.finetune.limits == GateLimits(min_examples=1_000, anchor_language_mismatch_rise=0.05)


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({"margin": 0.2}, "a margin is of the triplet loss"),
        ({"negatives": "in_batch", "ratio": 4}, "all others of the batch"),
        ({"negatives": "implicit", "ratio": 4}, "reads served pairs as they come"),
        ({"negatives": "mixed"}, "shares .mix. are needed"),
        ({"mix": "uniform=1"}, "shares .mix. are needed"),
        ({"negatives": "mixed", "mix": "uniform=0.5,in_batch=0.6"}, "sum to 1"),
        ({"negatives": "mixed", "mix": "uniform=0.5,implicit=0.5"}, "mix"),
        ({"negatives": "mixed", "mix": "uniform"}, "mix"),
        ({"ratio": 4_001}, "less than or equal to 4000"),
        ({"popularity_t": 0.0}, "greater than 0"),
        ({"learning_rate": float("nan")}, "finite"),
    ],
)
def test_options_that_do_not_fit_together_are_refused(given: dict[str, Any], why: str) -> None:
    """An option that is passed over in silence is a training that nobody asked for."""
    with pytest.raises(ValidationError, match=why):
        PretrainOptions(**given)


def test_the_schedule_trains_ensembles_of_the_parts_that_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """On other data than those that the weights were chosen on, others may be better."""
    monkeypatch.setenv("ROOST_ENSEMBLE_WEIGHTS", "random=0.25, implicit=0.75")
    monkeypatch.setenv("ROOST_ENSEMBLE_LEARNING_RATE", "0.002")
    options = Options(PretrainOptions(), FinetuneOptions(), EnsembleOptions(), LIMITS)
    assert Plan.of(TrainerSettings(), options).ensemble is None
    config = Plan.of(TrainerSettings(train_recipe="ensemble", pretrain_min_steps=7), options).ensemble
    assert config is not None
    assert {part.name: part.weight for part in config.parts} == {"implicit": 0.75, "random": 0.25}
    assert [part.fit.objectives[0] for part in config.fit.parts] == [PARTS[0].objective, PARTS[1].objective]
    assert {(part.fit.learning_rate, part.fit.min_steps) for part in config.fit.parts} == {(0.002, 7)}


def test_the_fine_tunes_learning_rate_is_a_tenth_of_that_of_what_is_tuned_unless_it_is_set() -> None:
    """One setting means the same of towers and of an ensemble's parts."""
    for options, rate in ((FinetuneOptions(), 3e-4), (FinetuneOptions(learning_rate=2e-4), 2e-4)):
        config = options.config(limits=LIMITS, replay=1.0, seed=0, threads=1)
        assert config.fit.learning_rate == pytest.approx(rate)
        tuned = config.fit_of_parts(EnsembleConfig().fit.parts)
        assert [part.fit.learning_rate for part in tuned.parts] == pytest.approx([rate] * 3)
        assert [part.fit.epochs for part in tuned.parts] == [1, 1, 1]


@pytest.mark.parametrize(
    ("weights", "why"),
    [
        ("implicit=0.6,uniform=0.4", "there is no part"),
        ("implicit=0.6,random=0.6", "add up to 1"),
        ("implicit=1.2,random=-0.2", "add up to 1"),
        ("implicit=1,random=0", "add up to 1"),
        ("implicit", "weights"),
        ("", "add up to 1"),
    ],
)
def test_weights_under_which_vectors_would_not_have_length_1_are_refused(weights: str, why: str) -> None:
    """An index of unit vectors would rank them wrongly, and nobody would see it."""
    with pytest.raises(ValidationError, match=why):
        EnsembleOptions.model_validate({"weights": weights})


def test_every_limit_is_a_setting_and_none_may_be_senseless(monkeypatch: pytest.MonkeyPatch) -> None:
    """A limit below nothing refuses whatever comes, one that is no number passes whatever comes."""
    for one in fields(GateLimits):
        monkeypatch.setenv(f"ROOST_GATE_{one.name.upper()}", "2")
    assert set(asdict(GateOptions().limits).values()) == {2}
    for name, value in (("auc_regression", -0.1), ("canary_shift", float("nan")), ("max_volume_change", 0.5), ("auc_regresion", 1)):
        with pytest.raises(ValidationError, match=name):
            GateOptions.model_validate({name: value})
