"""The always-valid test: hand-worked values, and how often it is wrong when it is looked at all the time."""

from math import inf, log, sqrt

import numpy as np
import pytest

from streams.canary.judge import CanaryRules, Verdict, read_arms, read_guards
from streams.canary.sequential import Sums, imbalance_evidence, interval

RULES = CanaryRules()
LOOKS, USERS_A_LOOK = 60, 50


def arm_over_time(rng: np.random.Generator, rate: float, *, looks: int = LOOKS) -> list[Sums]:
    """Return an arm's sums at each look: users come and come back, differ in taste, and have several impressions a visit.

    Engagement rates of users are beta-distributed around `rate`, so that impressions of one user resemble each other.
    """
    users = looks * USERS_A_LOOK
    taste = rng.beta(4 * rate, 4 * (1 - rate), users)
    shown = np.zeros(users)
    engaged = np.zeros(users)
    sums = []
    for look in range(1, looks + 1):
        here = look * USERS_A_LOOK
        visits = rng.poisson(1.0, here) * rng.integers(1, 9, here)
        shown[:here] += visits
        engaged[:here] += rng.binomial(visits, taste[:here])
        sums.append(Sums.of(shown[:here], engaged[:here]))
    return sums


def outcome(seed: int, canary_rate: float, live_rate: float) -> Verdict:
    """Return how a canary of half the users ends that is looked at after every fifty users: the first decision counts."""
    rng = np.random.default_rng(seed)
    canary, live = arm_over_time(rng, canary_rate), arm_over_time(rng, live_rate)
    for ours, theirs in zip(canary, live, strict=True):
        # the number of users is fixed here; the balance has a test of its own
        verdict = read_arms(ours, theirs, share=1.0, rules=RULES).verdict
        if verdict is not Verdict.WAIT:
            return verdict
    return Verdict.WAIT


@pytest.fixture(scope="module")
def equal_towers() -> list[Verdict]:
    """How 200 canaries end whose towers are the live ones."""
    return [outcome(seed, 0.2, 0.2) for seed in range(200)]


def test_of_200_equal_towers_at_most_one_in_twenty_is_promoted(equal_towers: list[Verdict]) -> None:
    """Looked at sixty times each: a fixed-horizon test would promote many of them."""
    assert equal_towers.count(Verdict.BETTER) <= 10
    assert equal_towers.count(Verdict.WORSE) <= 10


def test_looking_at_a_fixed_horizon_interval_as_often_is_wrong_far_more_often() -> None:
    """The comparison that shows what the bound is for, on the same data."""
    wrong = 0
    for seed in range(60):
        rng = np.random.default_rng(seed)
        arms = zip(arm_over_time(rng, 0.2), arm_over_time(rng, 0.2), strict=True)
        # 2.326: the normal quantile of alpha .02, two-sided
        wrong += any(
            abs(a.rate - b.rate) > 2.326 * sqrt(a.variance + b.variance)
            for a, b in arms
            if min(a.users, b.users) >= RULES.min_users
        )
    assert wrong >= 4


def test_a_worse_tower_is_aborted_and_a_better_one_promoted() -> None:
    """A fifth of the engagements lost, or won, is found within some thousand users; the wrong way round never."""
    worse = [outcome(seed, 0.16, 0.20) for seed in range(20)]
    better = [outcome(seed, 0.24, 0.20) for seed in range(20)]
    assert worse.count(Verdict.WORSE) >= 19
    assert better.count(Verdict.BETTER) >= 19
    assert Verdict.BETTER not in worse
    assert Verdict.WORSE not in better


def test_the_bound_is_the_normal_mixture_s() -> None:
    """Worked by hand: information 400, prior information 100."""
    found = interval(0.1, 1 / 400, alpha=0.02, expected_effect=0.1)
    radius = sqrt(500 * log(500 / (100 * 0.02**2))) / 400
    assert (found.value, found.low, found.high) == pytest.approx((0.1, 0.1 - radius, 0.1 + radius))


@pytest.mark.parametrize("variance", [0.0, inf, float("nan")])
def test_nothing_is_known_without_a_variance(variance: float) -> None:
    """An arm of one user, or in which nobody ever engaged, must not be infinitely sure."""
    found = interval(0.1, variance, alpha=0.02, expected_effect=0.1)
    assert (found.low, found.high) == (-inf, inf)


def test_a_ratio_s_variance_counts_users_not_impressions() -> None:
    """Ten users who each engage always or never say as much as ten coins, however many impressions they have."""
    assert Sums(10, 1_000, 500, 100_000, 50_000, 50_000).variance == pytest.approx(0.5 * 0.5 / 9)
    users = [100] * 10 + [0], [100, 0] * 5 + [0]
    assert Sums.of(*users) == Sums(10, 1_000, 500, 100_000, 50_000, 50_000), "who was shown nothing is no user"
    assert Sums(1, 10, 5, 100, 25, 50).variance == inf
    assert Sums().rate == 0.0


def test_users_that_do_not_reach_the_canary_are_noticed_and_chance_is_not() -> None:
    """A canary that fails for a third of its users looks good on the others."""
    rng = np.random.default_rng(5)
    highest = []
    for _ in range(100):
        came = np.cumsum(rng.random(4_000) < 0.1)
        evidence = [imbalance_evidence(int(came[n]), n + 1 - int(came[n]), share=0.1) for n in range(99, 4_000, 100)]
        highest.append(max(evidence))
    assert sum(evidence >= 1_000 for evidence in highest) <= 1
    assert imbalance_evidence(270, 3_730, share=0.1) >= 1_000
    lost = read_arms(Sums(270, 2_700, 540, 30_000, 1_500, 6_000), Sums(3_730, 9, 1, 9, 1, 1), share=0.1, rules=RULES)
    assert lost.verdict is Verdict.UNBALANCED
    assert "6.75%" in lost.sentence


def test_few_users_decide_nothing() -> None:
    """A central limit of a dozen users is none."""
    sure = Sums(199, 1_990, 1_900, 20_000, 18_500, 19_100)
    unsure = Sums(199, 1_990, 10, 20_000, 10, 100)
    assert read_arms(sure, unsure, share=0.5, rules=RULES).verdict is Verdict.WAIT


def guarded(seed: int, *, slice_rates: tuple[float, float], mismatch: tuple[float, float]) -> Verdict:
    """Return how a canary ends whose users engage more as a whole, by one part of them and by what they are shown."""
    rng = np.random.default_rng((seed, 1))
    arms = [arm_over_time(rng, rate) for rate in (0.24, 0.20, *slice_rates, *mismatch)]
    for whole, others, part, part_of_others, shown, shown_elsewhere in zip(*arms, strict=True):
        reading = read_arms(whole, others, share=1.0, rules=RULES)
        verdict = read_guards(reading, (shown, shown_elsewhere), {"language ja": (part, part_of_others)}, {}, rules=RULES).verdict
        if verdict is Verdict.WORSE:
            return verdict
    return Verdict.WAIT


def test_a_tower_that_is_better_for_most_and_worse_for_a_language_is_aborted() -> None:
    """The average rises and nobody sees who pays for it."""
    ends = [guarded(seed, slice_rates=(0.14, 0.20), mismatch=(0.1, 0.1)) for seed in range(20)]
    assert ends.count(Verdict.WORSE) >= 19


def test_a_tower_that_is_engaged_with_more_and_shows_what_nobody_reads_is_aborted() -> None:
    """What the paper's implicit model did: a better AUC, and three quarters of the first tweets in a foreign language."""
    ends = [guarded(seed, slice_rates=(0.2, 0.2), mismatch=(0.3, 0.1)) for seed in range(20)]
    assert ends.count(Verdict.WORSE) >= 19


def test_a_rise_within_what_is_allowed_and_equal_slices_end_nothing() -> None:
    """A guard that fires at every canary is switched off within a week."""
    ends = [guarded(seed, slice_rates=(0.2, 0.2), mismatch=(0.12, 0.1)) for seed in range(40)]
    assert ends.count(Verdict.WORSE) <= 2
