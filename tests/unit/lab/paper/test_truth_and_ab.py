"""True worth, intervals and the A/B test, on examples small enough to work by hand."""

from dataclasses import replace

import numpy as np
import pytest

from lab.observed.log import Truth
from lab.paper.ab_test import ABSettings, ab_test, production_lists, ranker_scores
from lab.paper.intervals import mean_over_users, ratio_over_users
from lab.paper.truth import MISSING, fresh, fresh_engagement, fresh_share, oracle_lists, true_engagement_at, unreadable_share
from lab.world import WorldSettings, simulate

P = np.array([[0.1, 0.4, 0.2, 0.0], [0.5, 0.1, 0.3, 0.2]])
READABLE = np.array([[True, True, True, False], [True, False, True, True]])
TRUTH = Truth(0.0, np.arange(2), np.arange(4), P, 0.5 * P, 0.1 * P, READABLE)


def test_true_engagement_is_the_mean_p_of_the_first_k() -> None:
    """User 0: (0.1 + 0.4) / 2 = 0.25. User 1: (0.3 + 0) / 2 = 0.15, a missing entry engages nobody."""
    lists = np.array([[0, 1, 3], [2, MISSING, MISSING]])
    assert true_engagement_at(TRUTH, lists, 2) == pytest.approx([0.25, 0.15])
    assert true_engagement_at(TRUTH, lists, 1) == pytest.approx([0.1, 0.3])


def test_the_unreadable_share_is_of_what_is_there() -> None:
    """User 0 cannot read candidate 3: 1 of 2. User 1 has one candidate, readable: 0 of 1. Nothing there: not measured."""
    assert unreadable_share(TRUTH, np.array([[3, 0], [2, MISSING]]), 2) == pytest.approx([0.5, 0.0])
    assert np.isnan(unreadable_share(TRUTH, np.full((2, 2), MISSING), 2)).all()
    silent = Truth(0.0, np.arange(2), np.arange(4), P, P, P, None)
    assert np.isnan(unreadable_share(silent, np.zeros((2, 1), np.int64), 1)).all()


def test_what_is_under_an_hour_old_counts_by_how_much_is_shown_and_how_much_it_engages() -> None:
    """At second 10,000: created at 6,400 is an hour old and not under it; 6,401, 9,999 are; candidate 0 is of the first second.

    First 3 of user 0: candidates 0, 2, 3, of which 2 and 3 are fresh: 2 of 3, engaging 0.2 + 0.0. User 1: candidates 2 and 1:
    1 of 2, engaging 0.3. Together (0.2 + 0.0 + 0.3) / 3 = 0.1667. The fourth place of user 0 is not among the first 3.
    """
    truth = replace(TRUTH, time_s=10_000.0)
    young = fresh(truth, np.array([0.0, 6_400.0, 6_401.0, 9_999.0]))
    assert young.tolist() == [False, False, True, True]
    lists = np.array([[0, 2, 3, 2], [2, 1, MISSING, 3]])
    assert fresh_share(lists, young, 3) == pytest.approx([2 / 3, 1 / 2])
    engaged, shown = fresh_engagement(truth, lists, young, 3)
    assert engaged == pytest.approx([0.2, 0.3])
    assert shown.tolist() == [2, 1]
    assert ratio_over_users(engaged, shown).value == pytest.approx(0.5 / 3)
    nobody = np.full((2, 3), MISSING)
    assert np.isnan(fresh_share(nobody, young, 3)).all()
    assert np.isnan(ratio_over_users(*fresh_engagement(truth, nobody, young, 3)).value)


def test_the_oracle_lists_the_highest_p_first() -> None:
    """User 0: 0.4, 0.2, 0.1. User 1: 0.5, 0.3, 0.2."""
    assert oracle_lists(TRUTH, 3).tolist() == [[1, 2, 0], [0, 2, 3]]


def test_an_ab_test_counts_only_what_the_ranker_puts_into_the_slots() -> None:
    """One slot, oracle ranker. Treatment: user 0 gets 0.4, user 1 gets 0.3. Control: 0.2 and 0.5. (0.7 - 0.7) / 0.7 = 0%.

    Two slots. Treatment: 0.4 + 0.1 and 0.3 + 0.2, sum 1.0. Control: 0.2 + 0.0 and 0.5 + 0.1, sum 0.8. (1.0 - 0.8) / 0.8 = 25%.
    """
    treatment, control = np.array([[0, 1], [3, 2]]), np.array([[3, 2], [1, 0]])
    assert ab_test(TRUTH, treatment, control, ABSettings(slots=1)).favorite_pct.value == pytest.approx(0.0)
    two = ab_test(TRUTH, treatment, control, ABSettings(slots=2))
    assert two.favorite_pct.value == pytest.approx(25.0)
    assert two.retweet_pct.value == pytest.approx(25.0)


def test_an_arm_against_itself_changes_nothing() -> None:
    """Whatever the ranker's noise: it is the same in both arms."""
    lists = np.array([[0, 1, 2], [3, 2, 1]])
    result = ab_test(TRUTH, lists, lists, ABSettings(slots=2, ranker_noise=2.0))
    assert (result.favorite_pct.value, result.favorite_pct.low, result.favorite_pct.high) == (0.0, 0.0, 0.0)


def test_missing_candidates_fill_no_slot() -> None:
    """Treatment has one candidate of p 0.2, control two of 0.2 + 0.1: (0.2 - 0.3) / 0.3 = -33.3%."""
    one = Truth(0.0, np.arange(1), np.arange(4), P[:1], P[:1], P[:1], None)
    result = ab_test(one, np.array([[MISSING, 2]]), np.array([[0, 2]]), ABSettings(slots=2))
    assert result.favorite_pct.value == pytest.approx(-100 / 3)


def test_only_the_first_200_are_ranked() -> None:
    """A generator may not win by giving more."""
    p = np.linspace(0, 1, 300)[None, :]
    truth = Truth(0.0, np.arange(1), np.arange(300), p, p, p, None)
    everything, worst = np.arange(300)[None, :], np.arange(200)[None, :]
    assert ab_test(truth, everything, worst, ABSettings(slots=5)).favorite_pct.value == 0.0


def test_a_ranker_without_noise_is_an_oracle() -> None:
    """Its order is that of p; with noise it is not, and the same seed gives the same noise."""
    assert (np.argsort(ranker_scores(TRUTH, noise=0, seed=0), axis=1) == np.argsort(P, axis=1)).all()
    assert (ranker_scores(TRUTH, noise=1, seed=3) == ranker_scores(TRUTH, noise=1, seed=3)).all()
    assert (ranker_scores(TRUTH, noise=1, seed=3) != ranker_scores(TRUTH, noise=1, seed=4)).any()


def test_intervals_cover_the_mean_as_often_as_they_say() -> None:
    """95% intervals that cover 70% of the time would make noise significant."""
    rng = np.random.default_rng(0)
    covered = 0
    for trial in range(150):
        interval = mean_over_users(rng.exponential(1.0, 200), draws=200, seed=trial)
        covered += interval.low <= 1.0 <= interval.high
    assert 0.89 <= covered / 150 <= 0.99


def test_a_ratio_is_of_the_sums_and_nothing_measured_is_nan() -> None:
    """(1 + 3) / (2 + 2) = 1; a mean of per-user ratios would be wrong: heavy users count as much as they engage."""
    assert ratio_over_users(np.array([1.0, 3.0]), np.array([2.0, 2.0])).value == 1.0
    assert np.isnan(ratio_over_users(np.zeros(0), np.zeros(0)).value)
    assert np.isnan(mean_over_users(np.full(3, np.nan)).low)
    assert mean_over_users(np.array([np.nan, 2.0])).value == 2.0


def test_production_lists_hold_what_is_alive_and_reachable() -> None:
    """The control arm: only living candidates, none twice, none that no heuristic names."""
    log = simulate(WorldSettings(seed=1, users=100, authors=40, tweets_per_day=200), 1.5, test_users=30)
    lists = production_lists(log, k=50)
    assert lists.shape == (30, 50)
    assert lists.max() < len(log.truth.tweet)
    for user, row in zip(log.truth.user, lists, strict=True):
        there = row[row != MISSING]
        assert len(np.unique(there)) == len(there) > 0
        tweets = log.truth.tweet[there]
        declared = log.profiles.languages[user, log.tweets.language[tweets]]
        followed = log.profiles.follows[user, log.tweets.author[tweets]]
        assert (declared | followed).all()
