"""The interval around a recall: hand-worked, and held to its promise on samples whose truth is known."""

import numpy as np
import pytest

from serving.audit.bounds import FLOOR, JUDGED_FROM_QUERIES, NOTHING_KNOWN, recall_interval


def test_without_any_hit_nothing_is_known() -> None:
    """An empty corpus is no shortfall, and no proof of health either."""
    assert recall_interval([], []) == NOTHING_KNOWN
    assert recall_interval([0], [0]) == NOTHING_KNOWN


def test_independent_hits_give_wilsons_interval() -> None:
    """90 of 100, one hit a query, by Wilson's formula: 0.840 at z = 1.645, 0.969 at z = 4."""
    interval = recall_interval([1] * 90 + [0] * 10, [1] * 100)
    assert interval.estimate == 0.9
    assert interval.lower == pytest.approx(0.8396, abs=1e-3)
    assert interval.upper == pytest.approx(0.9691, abs=1e-3)


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
def test_a_lower_bound_is_wrong_about_one_time_in_twenty_and_an_upper_one_never(recall: float, spread: float) -> None:
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
    assert high == 0


def test_of_a_sound_index_no_language_of_few_hits_is_below_the_floor() -> None:
    """Dozens are judged in a minute, of a hit or two a query: a node dropped its codes for two that were missed of nine."""
    assert recall_interval([1, 1, 2, 1, 1, 1], [2, 2, 2, 1, 1, 1]).upper > FLOOR
    random = np.random.default_rng(0)
    for _ in range(300):
        wanted = random.integers(1, 4, size=40)
        found = random.binomial(wanted, 0.985)
        for queries in range(JUDGED_FROM_QUERIES, len(wanted)):
            assert recall_interval(found[:queries].tolist(), wanted[:queries].tolist()).upper > FLOOR


def test_a_language_of_few_hits_that_is_found_half_is_below_the_floor_within_twenty_queries() -> None:
    """Half a minute of audits."""
    assert recall_interval([1] * 20, [2] * 20).upper < FLOOR
