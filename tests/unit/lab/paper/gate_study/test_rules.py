"""A single limit is chosen on other seeds than it judges: one chosen on its own would flatter every metric."""

import numpy as np
import pytest

from lab.paper.gate_study.rules import RISES, limit, limited_elsewhere, rise_elsewhere, with_rise
from trainer.gates import GateLimits


def test_the_limit_is_half_way_between_the_bundles_that_it_tells_apart() -> None:
    """Worse at -.3 and -.1, others at 0 and .2: -.05 lies between."""
    worse = np.array([True, True, False, False])
    assert limit(np.array([-0.3, -0.1, 0.0, 0.2]), worse) == pytest.approx(-0.05)


def test_of_two_limits_that_separate_equally_the_laxer_is_taken() -> None:
    """Worse at 0 and 2, others at 1 and 3: .5 and 2.5 both are right about three of four; to refuse less is cheaper."""
    assert limit(np.array([0.0, 1.0, 2.0, 3.0]), np.array([True, False, True, False])) == pytest.approx(0.5)


def test_a_metric_that_tells_nothing_refuses_nothing() -> None:
    """Constant, or turned the wrong way round: accepting everything is as good."""
    worse = np.array([True, False])
    assert limit(np.zeros(2), worse) == -np.inf
    assert limit(np.array([1.0, 0.0]), worse) == -np.inf
    assert limit(np.array([1.0, 0.0]), np.zeros(2, np.bool_)) == -np.inf, "nothing was worse: there is nothing to tell"


def test_a_seed_is_judged_by_the_limit_of_the_others() -> None:
    """Seed 1 would say 0.5, seed 2 says 5.5; each is judged by the other's."""
    changes, seeds = np.array([0.0, 1.0, 5.0, 6.0]), np.array([1, 1, 2, 2])
    accepted, limits = limited_elsewhere(changes, np.array([True, False, True, False]), seeds)
    assert limits == {1: 5.5, 2: 0.5}
    assert accepted.tolist() == [False, False, True, True]


def test_what_was_not_measured_is_refused_and_a_single_seed_has_nothing_to_choose_on() -> None:
    """A gate that cannot measure must not wave a bundle through."""
    changes, worse = np.array([np.nan, 1.0]), np.array([True, False])
    accepted, limits = limited_elsewhere(changes, worse, np.array([1, 1]))
    assert (accepted.tolist(), limits) == ([False, True], {1: -np.inf})


def test_the_laxest_rise_that_lets_nothing_worse_pass_on_other_seeds_judges_a_seed() -> None:
    """The second rise lets a worse bundle of seed 2 pass, the third none but that: seed 2 itself is judged by the laxest, and pays;
    of seed 1, which sees that bundle, it is the first.
    """
    worse, seeds = np.array([False, True, False, True]), np.array([1, 1, 2, 2])
    first, second = np.array([False, False, False, False]), np.array([True, False, True, True])
    accepted, rises = rise_elsewhere([first, *[second] * (len(RISES) - 1)], worse, seeds)
    assert rises == {1: RISES[0], 2: RISES[-1]}
    assert accepted.tolist() == [False, False, True, True]
    _, alone = rise_elsewhere([first, *[second] * (len(RISES) - 1)], worse, np.ones(4, np.int64))
    assert alone == {1: RISES[0]}, "there is nothing to choose on"


def test_a_rise_is_of_both_limits_and_never_stricter_than_what_is_shipped() -> None:
    """The first of the rises is the yardstick of the others, so it has to be what is shipped."""
    assert with_rise(RISES[0]) == GateLimits()
    both = with_rise(0.2)
    assert (both.anchor_language_mismatch_rise, both.language_mismatch_rise) == (0.2, 0.2)
    between = with_rise(0.05)
    assert (between.anchor_language_mismatch_rise, between.language_mismatch_rise) == (0.05, GateLimits().language_mismatch_rise)
