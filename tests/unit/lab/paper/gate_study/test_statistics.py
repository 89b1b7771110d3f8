"""The study's figures, each worked out by hand: a wrong count here would praise or damn gates that live bundles depend on."""

import numpy as np
import pytest

from lab.observed.columns import Floats, Ints
from lab.paper.gate_study.statistics import bootstrapped, confusion, rank_correlation, sign_auc
from lab.paper.intervals import Interval


def drawn_by_seed(x: Floats, y: Floats, seeds: Ints) -> Interval:
    """Return the rank correlation with its interval."""
    return bootstrapped(rank_correlation, x, y, seeds, whole=(-1.0, 1.0))


def test_a_verdict_is_right_where_it_accepts_what_is_not_worse_and_refuses_what_is() -> None:
    """Three accepted, one of them worse; two refused, one of them wrongly."""
    accepted = np.array([True, True, True, False, False])
    worse = np.array([False, False, True, True, False])
    found = confusion(accepted, worse, np.array([7, 7, 8, 8, 8]))
    assert (found.accepted_fine.tolist(), found.accepted_worse.tolist()) == ([2, 0], [0, 1])
    assert (found.refused_fine.tolist(), found.refused_worse.tolist()) == ([0, 1], [0, 1])
    assert found.precision.value == pytest.approx(2 / 3), "of the accepted, those that are not worse"
    assert found.recall.value == pytest.approx(2 / 3), "of those not worse, the accepted"
    assert found.refusal_precision.value == pytest.approx(1 / 2)
    assert found.refusal_recall.value == pytest.approx(1 / 2)
    assert found.right.value == pytest.approx(3 / 5)
    # of seed 7 both are right, of seed 8 one of three: Wilson's of 3 of 5 begins at .2307, and drawing seed 7 alone ends at 1
    assert (found.right.low, found.right.high) == pytest.approx((0.2307, 1.0), abs=1e-3)
    nothing = confusion(np.zeros(1, np.bool_), np.ones(1, np.bool_), np.zeros(1, np.int64))
    assert np.isnan(nothing.precision.value), "where nothing was accepted there is no share of it"


def test_a_share_whose_failures_are_of_one_seed_is_less_certain_than_one_of_as_many_independent_bundles() -> None:
    """Six seeds of ten accepted bundles; all of one seed's are worse. As independent ones 50 of 60 would be .72 to .91."""
    every, worse = np.ones(60, np.bool_), np.arange(60) < 10
    precision = confusion(every, worse, np.arange(60) // 10).precision
    assert precision.value == pytest.approx(5 / 6)
    assert precision.high == 1.0, "a third of all draws is without that seed"
    assert precision.low == pytest.approx(0.5), "three times of six"
    alone = confusion(every, worse, np.arange(60)).precision
    assert (alone.low, alone.high) == pytest.approx((0.72, 0.91), abs=0.02)


def test_rank_correlation_is_spearmans_with_ties_at_their_mean_rank() -> None:
    """Ranks 1 2 3 4 and 1 3 2 4: 1 - 6 (0 + 1 + 1 + 0) / (4 (16 - 1)) = .8."""
    x = np.array([0.1, 0.2, 0.3, 50.0])
    assert rank_correlation(x, np.array([-7.0, 2.0, 1.0, 3.0])) == pytest.approx(0.8)
    # ranks 1.5 1.5 3 and 1 2 3, less 2: (-.5, -.5, 1) and (-1, 0, 1): 1.5 / sqrt(1.5 * 2)
    assert rank_correlation(np.array([5.0, 5.0, 9.0]), np.array([1.0, 2.0, 3.0])) == pytest.approx(1.5 / np.sqrt(3))
    assert np.isnan(rank_correlation(np.ones(3), np.arange(3.0))), "what never varies predicts nothing, neither well nor badly"


def test_the_auc_for_the_sign_counts_pairs_of_a_worse_and_a_not_worse_bundle() -> None:
    """Worse: .1 and .4; not worse: .3 and .5, the first with no effect at all. Of four pairs .4 against .3 is wrong."""
    x, effect = np.array([0.1, 0.4, 0.3, 0.5]), np.array([-1.0, -0.2, 0.0, 2.0])
    assert sign_auc(x, effect) == pytest.approx(3 / 4)
    assert np.isnan(sign_auc(x, np.ones(4))), "without a worse one there is no sign to tell"


def test_an_interval_narrows_with_more_bundles_and_is_the_same_each_time() -> None:
    """The kept result must come out again, and forty bundles must not look like four hundred."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal(400)
    y = x + rng.standard_normal(400)
    few, many = (drawn_by_seed(x[:n], y[:n], np.arange(n) // 4) for n in (40, 400))
    assert few == drawn_by_seed(x[:40], y[:40], np.arange(40) // 4)
    assert few.low < few.value < few.high
    assert many.high - many.low < (few.high - few.low) / 2
    assert np.isnan(drawn_by_seed(np.ones(40), y[:40], np.arange(40) // 4).value)


def test_bundles_that_repeat_each_other_within_a_seed_count_once() -> None:
    """Ten bundles of a seed that all say the same are one piece of evidence: its interval is that of one bundle a seed, and not the
    third of it that ten times as many independent ones would have.
    """
    rng = np.random.default_rng(0)
    x = rng.standard_normal(12)
    y, seeds = x + rng.standard_normal(12), np.arange(12)
    one, ten = (drawn_by_seed(np.repeat(x, n), np.repeat(y, n), np.repeat(seeds, n)) for n in (1, 10))
    assert (ten.low, ten.high) == pytest.approx((one.low, one.high), abs=0.02)
    as_independent = drawn_by_seed(np.repeat(x, 10), np.repeat(y, 10), np.arange(120))
    assert as_independent.high - as_independent.low < (ten.high - ten.low) / 2


def test_a_single_seed_tells_nothing_of_others() -> None:
    """Its interval is all that the figure can be: it was that of its bundles, as if another world had been seen."""
    x = np.arange(10.0)
    assert drawn_by_seed(x, x, np.zeros(10, np.int64)) == Interval(1.0, -1.0, 1.0)
    found = confusion(np.ones(10, np.bool_), np.zeros(10, np.bool_), np.zeros(10, np.int64))
    assert found.precision == Interval(1.0, 0.0, 1.0)
