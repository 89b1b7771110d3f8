"""The interval around a recall: hand-worked, and held to its promise on samples whose truth is known."""

import numpy as np
import pytest

from serving.audit.bounds import NOTHING_KNOWN, recall_interval


def test_without_any_hit_nothing_is_known() -> None:
    """An empty corpus is no shortfall, and no proof of health either."""
    assert recall_interval([], []) == NOTHING_KNOWN
    assert recall_interval([0], [0]) == NOTHING_KNOWN


def test_independent_hits_give_wilsons_interval() -> None:
    """90 of 100, one hit a query: 0.840 to 0.939 by Wilson's formula at z = 1.645."""
    interval = recall_interval([1] * 90 + [0] * 10, [1] * 100)
    assert interval.estimate == 0.9
    assert interval.lower == pytest.approx(0.8396, abs=1e-3)
    assert interval.upper == pytest.approx(0.9393, abs=1e-3)


def test_hits_that_fall_together_are_worth_fewer() -> None:
    """One ruined query in ten is one observation, not two hundred: the interval must be as wide as for ten."""
    together = recall_interval([200] * 9 + [0], [200] * 10)
    apart = recall_interval([180] * 10, [200] * 10)
    few = recall_interval([1] * 9 + [0], [1] * 10)
    assert together.estimate == apart.estimate == pytest.approx(0.9)
    assert together.lower == pytest.approx(few.lower, abs=1e-6)


def test_a_flawless_sample_is_only_as_convincing_as_it_is_long() -> None:
    """Two queries without a miss prove little; four hundred prove 99%."""
    assert recall_interval([200] * 2, [200] * 2).lower < 0.5
    assert recall_interval([200] * 400, [200] * 400).lower > 0.99
    assert recall_interval([200] * 2, [200] * 2).upper == 1.0


@pytest.mark.parametrize("recall", [0.9, 0.97, 0.99])
@pytest.mark.parametrize("spread", [20.0, 100.0])
def test_each_bound_is_wrong_about_one_time_in_twenty(recall: float, spread: float) -> None:
    """Queries differ in how hard they are (a beta distribution): the bounds must allow for it. About: a rare ruin, one query in a
    hundred, is often not among sixty.
    """
    random = np.random.default_rng(int(recall * 1000 + spread))
    low = high = 0
    trials = 400
    for _ in range(trials):
        hardness = random.beta(recall * spread, (1 - recall) * spread, size=60)
        found = random.binomial(50, hardness)
        interval = recall_interval(found.tolist(), [50] * 60)
        low += interval.lower > recall
        high += interval.upper < recall
    assert low / trials < 0.11
    assert high / trials < 0.11
