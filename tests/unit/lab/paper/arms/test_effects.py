"""Effects on users who can be counted by hand, and on many who differ far more than any tower could make them."""

from math import sqrt

import numpy as np
import pytest

from lab.paper.arms.effects import alone, measured, usual_rate, without_noise
from lab.paper.arms.traffic import Fed
from streams.canary.sequential import Sums, difference


def fed(shown: list[float], engaged: list[float], expected: list[float]) -> Fed:
    """Return what users were shown."""
    return Fed(np.array(shown), np.array(engaged), np.array(expected))


def test_the_truth_pairs_users_and_counts_true_probabilities() -> None:
    """Rates 6/20 and 10/20; influences of (.05, -.05) and (.05, -.05): the same users, so what they share cancels out."""
    live = fed([10, 10], [9, 9], [4, 2])
    canary = fed([10, 10], [0, 0], [6, 4])
    found = alone(live, canary)
    assert (found["value"], found["low"], found["high"]) == pytest.approx((0.2, 0.2, 0.2))
    # influences (.05, -.05) and (-.05, .05): their difference has a variance of .02 over two users
    found = alone(live, fed([10, 10], [0, 0], [4, 6]))
    assert found["value"] == pytest.approx(0.2)
    assert found["high"] - found["value"] == pytest.approx(1.96 * sqrt(2 * 0.02))


def test_a_canary_is_measured_as_the_controller_measures_it() -> None:
    """The study is of the product's figure: users who were shown nothing are in no arm."""
    rng = np.random.default_rng(1)
    shown = rng.integers(0, 20, 400).astype(float)
    engaged = rng.binomial(shown.astype(int), 0.2).astype(float)
    in_canary = rng.random(400) < 0.5
    found = measured(Fed(shown, engaged, engaged), in_canary)
    rates = [engaged[arm].sum() / shown[arm].sum() for arm in (in_canary, ~in_canary)]
    assert found["value"] == pytest.approx(rates[0] - rates[1])
    ours, others = (Sums.of(shown[arm], engaged[arm]) for arm in (in_canary, ~in_canary))
    whole = difference(ours, others, alpha=0.02, expected_effect=0.02)
    assert whole.value == pytest.approx(found["value"])
    assert whole.high > found["high"], "always-valid bounds are wider than those of one look"


def test_without_the_noise_of_the_split_a_small_effect_is_seen_and_none_is_not_made_up() -> None:
    """Users from never to always: which of them an arm happens to get moves its rate by more than towers do."""
    rng = np.random.default_rng(2)
    taste, shown = rng.beta(0.2, 0.8, 1_000), rng.integers(20, 40, 1_000).astype(float)
    in_canary = rng.random(1_000) < 0.5
    for effect in (0.0, 0.01):
        expected = shown * np.clip(taste + effect * in_canary, 0, 1)
        found = Fed(shown, rng.binomial(shown.astype(int), expected / shown).astype(float), expected)
        noisy, quiet = measured(found, in_canary), without_noise(found, in_canary, taste)
        assert noisy["high"] - noisy["low"] > 5 * (quiet["high"] - quiet["low"])
        assert quiet["value"] == pytest.approx(effect, abs=0.002)


def test_a_user_s_usual_rate_is_over_both_recipes_and_0_for_who_never_came() -> None:
    """It must not depend on the split, or what it takes away would be part of the effect."""
    assert usual_rate(fed([10, 0], [0, 0], [2, 0]), fed([30, 0], [0, 0], [10, 0])).tolist() == [0.3, 0.0]
