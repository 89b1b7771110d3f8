"""The bench of training: that both sides do the same work, and its report at toy size."""

import json
from dataclasses import replace

import numpy as np
import pytest

from lab.bench import train
from schemas.features.catalog import TWEET
from schemas.surfaces import load_surfaces
from tests.tiny_world import tiny_world
from trainer.data.columns import Encoder
from trainer.learning.fit import FitConfig, fit
from trainer.learning.negatives import Negatives
from trainer.learning.objectives import Objective
from trainer.learning.towers import TowerConfig, TwoTowers


@pytest.mark.parametrize("sparse", [False, True])
def test_the_bare_step_ends_at_the_weights_of_the_trainers_loop(*, sparse: bool) -> None:
    """A bare step on other batches, or of another loss, would make the ratio mean nothing."""
    world, encoder = tiny_world(users=60, tweets=200, impressions=1_000), Encoder(TWEET)
    examples, corpus = encoder.examples(world.examples), encoder.corpus(world.corpus)
    shape = TowerConfig(dim=32, embedding_dim=8, hidden=(32,), sparse_gradients=sparse)
    config = FitConfig((Objective(negatives=Negatives("uniform", 16)),), 3e-3, epochs=2, batch_size=64, seed=3)
    product, bare = TwoTowers(TWEET, shape, seed=1), TwoTowers(TWEET, shape, seed=1)
    before = bare.weights()
    report = fit(product, examples, corpus, config)
    batches, bias = train.prepared(bare, examples, corpus, config)
    step = train.BareStep(bare, scale=config.objectives[0].scale, bias=bias, learning_rate=config.learning_rate)
    for batch in batches:
        step(batch)
    assert len(batches) == report.steps
    for name, weights in product.weights().items():
        np.testing.assert_allclose(bare.weights()[name], weights, rtol=1e-3, atol=1e-4)
        assert np.abs(weights - before[name]).max() > 1e-2, f"{name} has not been trained"


def test_the_report_is_of_all_seeds_and_sizes_and_its_ratios_are_of_its_times() -> None:
    """A reader divides the figures that stand beside each other."""
    surface = replace(load_surfaces()["home-timeline"], dim=16)
    report = train.run(surface, seeds=(1, 2), impressions=600, authors=(64, 4_096))
    json.dumps(report, allow_nan=False)
    assert report["seed_list"] == [row["seed"] for row in report["per_seed"]] == [1, 2]
    for row in report["per_seed"]:
        assert row["ratio"] == pytest.approx(row["examples_per_s"] / row["bare_step_examples_per_s"])
        assert row["loop_ratio"] == pytest.approx(row["loop_examples_per_s"] / row["bare_step_examples_per_s"])
        assert row["ratio"] < row["loop_ratio"], "reading the cache is part of the one, and not of the other"
    few, many = report["sparse_vs_dense"]
    assert many["rows"] - few["rows"] == 4_096 - 64
    assert min(few["dense_ms"], few["sparse_ms"], many["dense_ms"], many["sparse_ms"]) > 0
    assert report["first_use_s"] > 0
