"""The study of canaries that go on training, on a small world: who learns from whom, and how the signs are counted."""

import json
from dataclasses import replace

import numpy as np
import pytest

from lab.paper.arms.study import EQUAL, EXPLORING, NAIVE, SHIPPED, ArmsSettings, Comparison, Of, arms, summary
from lab.paper.arms.traffic import Traffic
from lab.paper.continual.feed import Past
from lab.paper.continual.study import ContinualSettings, play, produced
from lab.world import WorldSettings
from lab.world.settings import DAY_S, HOUR_S
from lab.world.simulation import Simulation
from lab.world.world import World
from schemas.errors import InvalidInput
from trainer.learning.towers import TowerConfig

SETTINGS = ArmsSettings(
    ContinualSettings(
        world=WorldSettings(users=120, authors=30, tweets_per_day=100, languages=4, willing_mean=1.0, step_s=6 * HOUR_S),
        warm_up_days=1,
        pretrain_days=1,
        finetune_days=1,
        towers=TowerConfig(dim=32, embedding_dim=8, hidden=(32,)),
    ),
    days=2,
    pairs=((SHIPPED, EQUAL), (SHIPPED, NAIVE), (NAIVE, EXPLORING)),
)


@pytest.mark.parametrize("diverted", [False, True])
def test_arms_of_one_recipe_are_the_same_towers_on_the_shared_log_and_others_on_their_own(*, diverted: bool) -> None:
    """Who learns from everybody's answers is compared with himself: that is the bias, and diverting must really take it away."""
    simulation = Simulation(World(SETTINGS.past.world))
    made = produced(simulation, SETTINGS.past, 0)
    made.log.forget(made.log.untrained)
    past = Past(simulation.world, made.log, simulation.shown, made.pretrained, made.fresh, ())
    arm_of = np.arange(len(simulation.world.users)) % 2
    traffic = Traffic(past, [SHIPPED, SHIPPED], [past.towers, past.towers], arm_of, diverted=diverted, ranker_noise=1.0)
    simulation.hand_over()
    play(simulation, [traffic], simulation.time_s + DAY_S)
    traffic.learn(simulation.time_s, seed=1)
    one, other = (towers.weights() for towers in traffic.towers)
    assert all((one[name] == other[name]).all() for name in one) is not diverted
    fed = traffic.fed
    assert fed.shown.sum() > 500
    assert (fed.engaged <= fed.shown).all()
    assert fed.expected.sum() == pytest.approx(fed.engaged.sum(), rel=0.2), "coins fall as often as they are weighted"


def test_a_study_is_one_json_object_and_equal_for_equal_seeds() -> None:
    """The contract of `roost paper arms --json`: no NaN, and a kept result can be made again."""
    told: list[tuple[int, float]] = []
    study = arms([3], SETTINGS, on_progress=lambda *what: told.append(what))
    assert told == [(3, 0), (3, 1), (3, 2)]
    assert [one["canary"] for one in study["comparisons"]] == ["equal", "naive", "naive, exploring"]
    assert study["comparisons"][0]["of"] == "equal", "the same recipe, whatever chance made of its towers"
    (naive,) = [one for one in study["comparisons"] if one["canary"] == "naive"]
    assert naive["shared"] != naive["diverted"]
    assert [row["log"] for row in study["rows"]] == ["shared", "diverted"]
    assert all(row["of"] + row["equal"] == 3 for row in study["rows"])
    # alone, too: what a canary shows does not depend on which others are run beside it
    again = arms([3], replace(SETTINGS, pairs=SETTINGS.pairs[2:]))
    assert json.dumps(again["comparisons"], allow_nan=False) == json.dumps(study["comparisons"][2:], allow_nan=False)
    json.dumps(study, allow_nan=False)


def test_the_summary_is_the_one_worked_out_by_hand() -> None:
    """Two right of three; measured .01, -.03 and -.01 where .02, -.02 and .01 is true: 7 / 9 of it."""

    def one(seed: int, of: Of, truth: float, quiet: float, seen: float) -> Comparison:
        around = [{"value": value, "low": value - 0.02, "high": value + 0.02} for value in (truth, quiet, seen)]
        both = {"quiet": around[1], "seen": around[2]}
        return {"seed": seed, "live": "l", "canary": "c", "of": of, "truth": around[0], "shared": both, "diverted": both}  # type: ignore[typeddict-item]

    found = [
        one(1, "better", 0.02, 0.01, 0.01),
        one(1, "worse", -0.02, -0.03, 0.01),
        one(2, "better", 0.01, -0.01, -0.01),
        one(2, "equal", 0.0, 0.03, 0.0),
        one(2, "equal", 0.0, 0.01, 0.03),
    ]
    row = summary(found, "shared")
    assert (row["right"], row["seen_right"], row["of"]) == (2, 1, 3)
    assert (row["false_alarms"], row["equal"]) == (1, 2)
    assert row["recovered"] == pytest.approx(7 / 9)
    assert (row["recovered_low"], row["recovered_high"]) == pytest.approx((-1.0, 1.0))
    # Wilson's interval of 2 of 3
    assert (row["right_low"], row["right_high"]) == pytest.approx((0.2077, 0.9385), abs=1e-4)


@pytest.mark.parametrize("bad", [{"days": 1}, {"share": 0.0}, {"share": 1.0}])
def test_what_compares_nothing_is_refused(bad: dict[str, float]) -> None:
    """On day 1 nothing that a canary served was trained on; an arm without users has no rate."""
    with pytest.raises(InvalidInput):
        ArmsSettings(**bad)  # type: ignore[arg-type]
