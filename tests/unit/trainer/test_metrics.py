"""Each metric against arithmetic done by hand."""

import math
import tracemalloc

import numpy as np
import pytest

from trainer.metrics import grouped_roc_auc, language_mismatch, nearest, popularity_correlation, roc_auc


def test_auc_is_the_share_of_rightly_ranked_pairs() -> None:
    """Positives 0.9 and 0.4, negatives 0.5 and 0.1: of four pairs only (0.4, 0.5) is wrong: 3 / 4."""
    assert roc_auc(np.array([0.9, 0.4, 0.5, 0.1]), np.array([True, True, False, False])) == pytest.approx(0.75)


def test_ties_count_half() -> None:
    """A model that gives everything the same score must get 0.5, not 1 or 0 by the luck of sorting."""
    assert roc_auc(np.full(6, 0.3), np.array([True, False] * 3)) == pytest.approx(0.5)
    # positive 2 beats 1, ties with 2: (1 + 0.5) / 2
    assert roc_auc(np.array([2.0, 2.0, 1.0]), np.array([True, False, False])) == pytest.approx(0.75)


def test_auc_of_one_class_is_nan_not_zero() -> None:
    """Zero would read as the worst model there is, and 1 as the best."""
    assert math.isnan(roc_auc(np.array([0.1, 0.2]), np.array([True, True])))
    assert math.isnan(roc_auc(np.empty(0), np.empty(0, bool)))
    assert math.isnan(grouped_roc_auc(np.empty(0), np.empty(0, bool), np.empty(0, np.int64)))


def test_per_user_auc_averages_over_users_and_ignores_those_with_one_class() -> None:
    """User 0: positive 0.9 above 0.1: 1. User 2: positive 0.3 under 0.6, above 0.2: 0.5. User 1 has only a positive.
    The mean is 0.75; scores of different users are never compared: user 0's could all be above user 2's.
    """
    scores = np.array([0.9, 0.1, 0.7, 0.3, 0.6, 0.2])
    labels = np.array([True, False, True, True, False, False])
    users = np.array([0, 0, 1, 2, 2, 2])
    assert grouped_roc_auc(scores, labels, users) == pytest.approx(0.75)
    shifted = scores + np.where(users == 0, 10.0, 0.0)
    assert grouped_roc_auc(shifted, labels, users) == pytest.approx(0.75)


def test_grouped_auc_agrees_with_counting_pairs() -> None:
    """The fast form by ranks must equal the definition, ties and all."""
    rng = np.random.default_rng(5)
    scores, labels, groups = rng.integers(0, 6, 400) / 5, rng.random(400) < 0.3, rng.integers(0, 20, 400)
    per_group = []
    for group in range(20):
        own, other = scores[(groups == group) & labels], scores[(groups == group) & ~labels]
        pairs = np.sign(own[:, None] - other[None, :])
        per_group.append((pairs + 1).mean() / 2)
    assert grouped_roc_auc(scores, labels, groups) == pytest.approx(np.mean(per_group))


def test_nearest_is_exhaustive_and_ordered() -> None:
    """The best candidate comes first, and k may exceed the corpus."""
    candidates = np.array([[1.0, 0.0], [0.0, 1.0], [0.6, 0.8]], np.float32)
    queries = np.array([[1.0, 0.0], [0.0, 1.0]], np.float32)
    assert nearest(queries, candidates, 2).tolist() == [[0, 2], [1, 2]]
    assert nearest(queries, candidates, 9).shape == (2, 3)
    assert nearest(queries, candidates[:0], 5).shape == (2, 0)


def test_nearest_holds_the_scores_of_a_few_queries_at_a_time_however_many_candidates_there_are() -> None:
    """Of a million candidates the scores of 1,024 queries, and their order, took 16 GB: the trainer ended, at every training."""
    rng = np.random.default_rng(0)
    queries, candidates = (rng.normal(size=(count, 2)).astype(np.float32) for count in (600, 60_000))
    tracemalloc.start()
    best = nearest(queries, candidates, 3)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 300e6
    assert best[[0, 599]].tolist() == nearest(queries[[0, 599]], candidates, 3).tolist()


def test_language_mismatch_counts_top_candidates_in_no_declared_language() -> None:
    """Of four judged users one gets a candidate in an undeclared language: 1 / 4. Who declared none, or whose candidate has no
    determined language, cannot be judged and is left out.
    """
    declared = np.array([[0, -1], [0, 1], [1, -1], [2, -1], [-1, -1], [0, -1]])
    top = np.array([0, 1, 1, 0, 0, -1])
    assert language_mismatch(top, declared) == pytest.approx(0.25)
    # the four have two places each, of which one has no determined language: of 7, one of the first and one of the second are wrong
    second = np.array([2, 0, 1, -1, 0, 0])
    assert language_mismatch(np.stack([top, second], axis=1)[:5], declared[:5]) == pytest.approx(2 / 7)
    assert math.isnan(language_mismatch(np.array([-1]), np.array([[0]])))
    assert math.isnan(language_mismatch(np.array([0]), np.array([[-1]])))


def test_popularity_correlation_is_pearsons() -> None:
    """Two queries, top 2 of three items: item 0 in both (1.0), items 1 and 2 in one each (0.5). Popularity 10, 4, 1: deviations
    (5, -1, -4) and (1/3, -1/6, -1/6); the correlation is 2.5 / sqrt(42 * 1/6) = 0.9449.
    """
    assert popularity_correlation(np.array([[0, 1], [0, 2]]), np.array([10, 4, 1])) == pytest.approx(0.9449, abs=1e-4)


def test_popularity_correlation_without_spread_is_nan() -> None:
    """All items alike: there is nothing to correlate."""
    assert math.isnan(popularity_correlation(np.array([[0, 1]]), np.array([3, 3])))
    assert math.isnan(popularity_correlation(np.empty((0, 5), np.int64), np.array([3, 4])))
