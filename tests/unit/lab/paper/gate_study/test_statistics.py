"""The study's figures, each worked out by hand: a wrong count here would praise or damn gates that live bundles depend on."""

import numpy as np
import pytest

from lab.paper.gate_study.statistics import bootstrapped, confusion, rank_correlation, sign_auc


def test_a_verdict_is_right_where_it_accepts_what_is_not_worse_and_refuses_what_is() -> None:
    """Three accepted, one of them worse; two refused, one of them wrongly."""
    accepted = np.array([True, True, True, False, False])
    worse = np.array([False, False, True, True, False])
    found = confusion(accepted, worse)
    assert (found.accepted_fine, found.accepted_worse, found.refused_fine, found.refused_worse) == (2, 1, 1, 1)
    assert found.precision.value == pytest.approx(2 / 3), "of the accepted, those that are not worse"
    assert found.recall.value == pytest.approx(2 / 3), "of those not worse, the accepted"
    assert found.refusal_precision.value == pytest.approx(1 / 2)
    assert found.refusal_recall.value == pytest.approx(1 / 2)
    assert found.right.value == pytest.approx(3 / 5)
    # Wilson's, of 3 of 5: middle (.6 + 3.8415 / 10) / 1.7683 = .5566, half 1.96 sqrt(.048 + .0384) / 1.7683 = .3259
    assert (found.right.low, found.right.high) == pytest.approx((0.2307, 0.8824), abs=1e-3)
    nothing = confusion(np.zeros(1, np.bool_), np.ones(1, np.bool_))
    assert np.isnan(nothing.precision.value), "where nothing was accepted there is no share of it"


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
    few, many = (bootstrapped(rank_correlation, x[:n], y[:n]) for n in (40, 400))
    assert few == bootstrapped(rank_correlation, x[:40], y[:40])
    assert few.low < few.value < few.high
    assert many.high - many.low < (few.high - few.low) / 2
    assert np.isnan(bootstrapped(rank_correlation, np.ones(40), y[:40]).value)
