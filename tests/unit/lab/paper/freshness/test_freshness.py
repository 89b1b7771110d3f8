"""What a delay from publish to retrievable costs: by hand, and in a world where only what is new engages anybody."""

import json
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from lab.paper.experiment import ExperimentSettings
from lab.paper.freshness.delayed import Ranked, delayed
from lab.paper.freshness.study import Curve, FreshnessSettings, freshness
from lab.paper.intervals import Interval, Resampling
from lab.paper.models.recipes import IN_BATCH, Recipe
from lab.world import WorldSettings
from trainer.learning.towers import TowerConfig

# everybody reads everything and likes it alike; an hour takes 8 off the logit, so that a tweet is worth half after half an hour
PLANTED = WorldSettings(
    users=150,
    authors=40,
    tweets_per_day=400,
    languages=3,
    intercept=4.0,
    w_topic=0.0,
    w_follow=0.0,
    w_taste=0.0,
    w_quality=0.0,
    w_trend=0.0,
    w_age_per_h=8.0,
    willing_mean=5.0,
    willing_sigma=0.0,
    unread_factor=1.0,
    second_language_factor=1.0,
)
SETTINGS = FreshnessSettings(
    ExperimentSettings(
        world=PLANTED,
        days=3.5,
        test_users=30,
        towers=TowerConfig(dim=32, embedding_dim=8, hidden=(32,)),
        recipes=(Recipe("in_batch", (IN_BATCH,), epochs=1),),
        joinings=(),
    ),
    moments=60,
)


@pytest.fixture(scope="module")
def curve() -> Curve:
    """Two seeds of a world in which only new tweets engage."""
    return freshness([1, 2], SETTINGS)


def ranked(age_s: list[float], p: list[float]) -> Ranked:
    """Return one user's tweets, nearest first."""
    return Ranked(np.array([age_s]), np.array([p]))


def test_the_figures_of_a_delay_are_those_worked_out_by_hand() -> None:
    """Twelve tweets, of which a minute's delay holds back the two that the index would have had first and fourth."""
    age_s = [5.0, 7_200.0, 100.0, 59.0, *[7_200.0] * 8]
    p = [0.9, 0.1, 0.5, 0.7, *[0.2] * 8]
    now = {name: values[0] for name, values in delayed(ranked(age_s, p), 0.0).items()}
    late = {name: values[0] for name, values in delayed(ranked(age_s, p), 60.0).items()}
    # .9 + .1 + .5 + .7 + 6 * .2 = 3.4 over 10; then .1 + .5 + 8 * .2 = 2.2
    assert [now["engagement_at_10"], late["engagement_at_10"]] == pytest.approx([0.34, 0.22])
    # all twelve have 3.8, without the two 2.2; 200 slots, most of them empty
    assert [now["engagement_at_200"], late["engagement_at_200"]] == pytest.approx([3.8 / 200, 2.2 / 200])
    # a ranker takes the best ten of twelve: .9 + .7 + .5 + 7 * .2 = 3.5; of ten it has to take all
    assert [now["ranked_at_10"], late["ranked_at_10"]] == pytest.approx([0.35, 0.22])
    assert [now["fresh_at_10"], late["fresh_at_10"]] == pytest.approx([0.3, 0.1])
    assert [now["fresh_at_200"], late["fresh_at_200"]] == pytest.approx([3 / 200, 1 / 200])
    assert [now["held_back"], late["held_back"]] == [0, 2]


def test_a_tweet_is_retrievable_from_the_very_end_of_its_delay_on() -> None:
    """`t + delay` itself counts as out; what is held back makes room for the next nearest, in order."""
    assert delayed(ranked([60.0], [0.8]), 60.0)["engagement_at_10"][0] == pytest.approx(0.08)
    many = Ranked(np.array([[1.0, *[9_999.0] * 200]]), np.array([[0.5, *np.linspace(0.4, 0.2, 200)]]))
    shown = delayed(many, 2.0)
    assert shown["engagement_at_10"][0] == pytest.approx(np.linspace(0.4, 0.2, 200)[:10].mean())
    assert shown["engagement_at_200"][0] == pytest.approx(0.3), "the 201st fills the place"


def test_where_only_the_new_engages_every_further_second_costs(curve: Curve) -> None:
    """A curve that is flat on this world would be flat on any: whatever is held back gives way to something worth less."""
    for rows in (curve["rows"], *curve["per_seed"]):
        for name in ("loss_at_10_pct", "loss_at_200_pct", "ranked_loss_at_10_pct"):
            losses = [row[name] for row in rows]
            assert losses[0] == 0
            assert (np.diff(losses) >= -1e-9).all(), name
            # at most e^-4 of the worth of a new one is left after an hour
            assert losses[-1] > 90, name
            low, high = rows[-1]["ci"][name]
            assert 0 < low <= losses[-1] <= high
        assert rows[-1]["fresh_at_200"] == 0, "nothing under an hour old can be there after an hour's delay"
        assert rows[0]["fresh_at_200"] > 0


def test_where_age_takes_nothing_away_a_delay_costs_nothing() -> None:
    """The loss is the decay's: in a world without any, what is held back is replaced by its equal."""
    still = replace(SETTINGS.experiment, world=replace(PLANTED, w_age_per_h=0.0))
    found = freshness([1], replace(SETTINGS, experiment=still, moments=5))
    assert [row["loss_at_200_pct"] for row in found["rows"]] == pytest.approx([0.0] * 8, abs=1e-9)


def test_a_curve_is_one_json_object_and_equal_for_equal_seeds(curve: Curve) -> None:
    """The contract of `roost paper freshness --json`: a kept result can be made again."""
    assert [row["delay_s"] for row in curve["rows"]] == [0.0, 0.1, 1.0, 10.0, 60.0, 300.0, 1_200.0, 3_600.0]
    assert (curve["seeds"], curve["model"], curve["users"], curve["moments"]) == ([1, 2], "in_batch", 30, 60)
    assert curve["age_logit_per_h"] == 8.0
    of_seeds = [rows[-1]["engagement_at_10"] for rows in curve["per_seed"]]
    assert curve["rows"][-1]["engagement_at_10"] == pytest.approx(np.mean(of_seeds))
    json.dumps(curve, allow_nan=False)
    told: list[tuple[int, str]] = []
    again = freshness([2], SETTINGS, on_progress=lambda seed, what, _: told.append((seed, what)))
    assert again["per_seed"][0] == curve["per_seed"][1]
    assert list(dict.fromkeys(told)) == [(2, "world"), (2, "in_batch"), (2, "asking")]


def test_what_all_users_share_at_a_moment_widens_the_interval() -> None:
    """A thousand users who all meet the same four moments are four measurements, not four thousand."""
    by_moment = np.tile([0.0, 1.0, 0.0, 1.0], (1_000, 1))
    low, high = bounds(by_moment)
    assert low < 0.2
    assert high > 0.8
    # and so with the sides changed
    assert bounds(by_moment.T) == pytest.approx((low, high), abs=0.2)
    assert bounds(np.full((7, 5), 0.3)) == pytest.approx((0.3, 0.3))


def bounds(values: NDArray[np.float64]) -> tuple[float, float]:
    """Return the interval of the mean of values [users, moments]."""
    found = Interval.of_draws(Resampling.of(*values.shape).means(values))
    assert found.value == pytest.approx(values.mean())
    return found.low, found.high
