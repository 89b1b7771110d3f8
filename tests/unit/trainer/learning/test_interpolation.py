"""The way between two models, and how far along it a judge lets one go."""

from dataclasses import dataclass

import numpy as np
import pytest

from schemas.bundle import Gate
from schemas.features.catalog import TWEET
from trainer.learning.ensemble import Ensemble, EnsembleShape, Tunable
from trainer.learning.interpolation import between, drawn_back
from trainer.learning.towers import TowerConfig, TwoTowers

SMALL = TowerConfig(dim=32, embedding_dim=4, hidden=(8,))
BASE, TUNED = TwoTowers(TWEET, SMALL, seed=1), TwoTowers(TWEET, SMALL, seed=2)


@dataclass(frozen=True)
class Verdict:
    """How far towers are from the base, and whether that is near enough."""

    gates: tuple[Gate, ...]


def test_towers_between_two_others_have_their_weights_in_proportion() -> None:
    """A quarter of the way is a quarter of each weight's change; the ends are the towers themselves."""
    begin, end, quarter = BASE.weights(), TUNED.weights(), between(BASE, TUNED, 0.25).weights()
    for name in begin:
        assert np.allclose(quarter[name], 0.75 * begin[name] + 0.25 * end[name], atol=1e-6)
    for share, expected in ((0.0, begin), (1.0, end)):
        found = between(BASE, TUNED, share).weights()
        assert all(np.allclose(found[name], expected[name], atol=1e-6) for name in expected)


def test_between_two_ensembles_with_the_same_heads_there_is_one_with_those_heads() -> None:
    """A fine-tune's parts move and its heads stay, so that one can be drawn back."""
    shape = EnsembleShape(SMALL, 2, 16)
    base, tuned = (Ensemble.untrained(TWEET, shape, seed=seed) for seed in (1, 5))
    for ensemble in (base, tuned):
        for head in (ensemble.query, ensemble.candidate):
            head.matrix += 0.125
    begin, end, quarter = base.weights(), tuned.weights(), between(base, tuned, 0.25).weights()
    assert np.allclose(quarter["parts.1.table"], 0.75 * begin["parts.1.table"] + 0.25 * end["parts.1.table"], atol=1e-6)
    assert (quarter["query.matrix"] == 0.125).all()


@pytest.mark.parametrize(("limit", "share"), [(0.85, 0.8), (0.6, 0.6), (0.25, 0.2), (0.1, None)])
def test_towers_are_drawn_back_as_far_as_a_gate_asks_and_no_farther(limit: float, share: float | None) -> None:
    """What is learned is kept where it may be; the base itself, which has learned nothing, is not taken."""
    whole = np.abs(TUNED.weights()["table"] - BASE.weights()["table"]).sum()

    def judge(towers: Tunable) -> Verdict:
        moved = float(np.abs(towers.weights()["table"] - BASE.weights()["table"]).sum() / whole)
        return Verdict((Gate("moved", moved, limit, moved <= limit + 1e-4, ""),))

    found = drawn_back(BASE, TUNED, 5, judge=judge)
    assert (found and found[1]) == share
    if found is not None:
        assert found[0].gates[0].value == pytest.approx(found[1], abs=1e-4)
    assert drawn_back(BASE, TUNED, 0, judge=judge) is None, "0 steps go nowhere"
