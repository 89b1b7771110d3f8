"""The table of metrics: on vectors chosen by hand."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from schemas.bundle import CanaryVectors
from schemas.manifest import Metric
from trainer.data.columns import NO_LANGUAGE, Corpus, Examples, Queries
from trainer.evaluation import EvaluationConfig, canary_shift, evaluate


class Chosen:
    """Towers that read each id as the angle, in degrees, of its vector."""

    def __init__(self, metric: Metric = "cosine") -> None:
        self.metric = metric

    def embed_queries(self, ids: NDArray[np.integer]) -> NDArray[np.float32]:
        """See `Embedder`."""
        angle = np.radians(ids[:, 0].astype(np.float64))
        return np.stack([np.cos(angle), np.sin(angle)], axis=1).astype(np.float32)

    embed_candidates = embed_queries


def column(values: list[int]) -> NDArray[np.int32]:
    """Return one column of ids."""
    return np.array(values, np.int32)[:, None]


def examples(labels: list[int], angles: list[int]) -> Examples:
    """Two users at 0 and 90 degrees, languages 0 and 1; served alternately."""
    n = len(labels)
    return Examples(
        queries=Queries(column([0, 90]), np.array([0, 1], np.int32), np.array([[0, NO_LANGUAGE], [1, NO_LANGUAGE]], np.int32)),
        query=np.arange(n, dtype=np.int32) % 2,
        candidate_ids=column(angles),
        items=np.arange(n, dtype=np.int32),
        labels=np.array(labels, np.int8),
        popularity=np.zeros(n, np.int64),
        event_time_ms=np.zeros(n, np.int64),
        provenance=np.zeros(n, np.int8),
    )


CORPUS = Corpus(
    column([5, 45, 80]), np.array([7, 8, 9], np.int32), np.array([0, NO_LANGUAGE, 0], np.int32), np.array([9, 1, 2], np.int64)
)


def test_every_metric_is_of_the_right_pairs() -> None:
    """User 0 is served 10 (engaged) and 40; user 1 is served 10 (engaged) and 50. User 0 is ranked rightly, user 1 wrongly, so
    per-user AUC is 0.5. Cosines: .985, .174 engaged; .766, .766 not: globally (2 of 2, 0 of 2) 0.5 too. User 0's nearest
    candidate is at 5 degrees in language 0: right; user 1's is at 80, in language 0 instead of 1: mismatch 0.5. Of the three
    candidates one has no determined language, the others are right for user 0 and wrong for user 1: of five places 2 of 4.
    """
    metrics = evaluate(Chosen(), examples([1, 1, 0, 0, -1], [10, 10, 40, 50, 0]), CORPUS)
    assert metrics["auc"] == pytest.approx(0.5)
    assert metrics["per_user_auc"] == pytest.approx(0.5)
    assert metrics["language_mismatch"] == metrics["language_mismatch_at_5"] == pytest.approx(0.5)


def test_a_user_is_all_of_ones_queries_and_a_query_is_one_answer() -> None:
    """User 0 asks twice at 0 degrees. First served 10 (engaged) and 20, then 30 (engaged) and 40: within either query the engaged
    one is nearer, so per query 1. Over both, 30 is behind 20: of four pairs three are right, so per user 3/4. User 1 asks once, and
    is served 80 (engaged) and 89, which is nearer to 90: 0. Per query (1 + 1 + 0) / 3, per user (3/4 + 0) / 2.
    """
    served = examples([1, 0, 1, 0, 1, 0], [10, 20, 30, 40, 80, 89])
    queries = Queries(column([0, 0, 90]), np.array([0, 0, 1], np.int32), np.full((3, 1), NO_LANGUAGE, np.int32))
    metrics = evaluate(Chosen(), replace(served, queries=queries, query=np.repeat(np.arange(3, dtype=np.int32), 2)), CORPUS)
    assert metrics["per_query_auc"] == pytest.approx(2 / 3)
    assert metrics["per_user_auc"] == pytest.approx(3 / 8)


def test_every_metric_is_by_the_bundles_own_similarity() -> None:
    """Candidates on one line through both users' queries at (1, 0) and (0, 1), at lengths that only a cosine does not see.

    Served: (2, 0) engaged, (0.9, 0) not, to user 0. Cosines are equal: AUC 0.5; products 2 > 0.9: 1; distances 1 > 0.1: 0.
    """

    class Lengths(Chosen):
        def embed_candidates(self, ids: NDArray[np.integer]) -> NDArray[np.float32]:
            return np.stack([ids[:, 0] / 10.0, np.zeros(len(ids))], axis=1).astype(np.float32)

    served = replace(examples([1, 0], [20, 9]), query=np.zeros(2, np.int32))
    unit = replace(served, candidate_ids=column([10, 10]))
    assert evaluate(Lengths("cosine"), unit, CORPUS)["auc"] == 0.5
    assert evaluate(Lengths("inner_product"), served, CORPUS)["auc"] == 1.0
    assert evaluate(Lengths("euclidean"), served, CORPUS)["auc"] == 0.0


def test_explicit_negatives_are_in_neither_class() -> None:
    """The block at 90 degrees from its user would be the easiest negative of all."""
    with_block = evaluate(Chosen(), examples([1, 1, 0, 0, -1], [10, 10, 40, 50, 89]), CORPUS)
    without = evaluate(Chosen(), examples([1, 1, 0, 0], [10, 10, 40, 50]), CORPUS)
    assert with_block["auc"] == without["auc"]


def test_sampled_auc_sets_positives_against_the_corpus_not_the_served() -> None:
    """A positive right at its query beats every candidate of the corpus, whatever was served with it."""
    metrics = evaluate(Chosen(), examples([1, 0], [0, 90]), CORPUS, EvaluationConfig(sampled_negatives=50))
    assert metrics["sampled_auc"] == 1.0


def test_sampled_auc_is_also_of_each_user_and_each_query_alone() -> None:
    """One candidate, at 45 degrees, is all that can be drawn, four times for each positive. User 0 asks twice at 0 degrees, and
    engages with 10, nearer than it (1), and with 60, further (0); user 1 asks at 90 and engages with 80, nearer (1). Per query
    (1 + 0 + 1) / 3. Of user 0's two positives and eight draws half the pairs are right: per user (1/2 + 1) / 2. Cosines .985, .5
    and .985 against .707 each: globally two of three.
    """
    served = examples([1, 1, 1], [10, 60, 80])
    queries = Queries(column([0, 0, 90]), np.array([0, 0, 1], np.int32), np.full((3, 1), NO_LANGUAGE, np.int32))
    window = replace(served, queries=queries, query=np.arange(3, dtype=np.int32))
    corpus = Corpus(*(getattr(CORPUS, name)[1:2] for name in ("candidate_ids", "items", "languages", "popularity")))
    metrics = evaluate(Chosen(), window, corpus, EvaluationConfig(sampled_negatives=4))
    assert metrics["sampled_per_query_auc"] == pytest.approx(2 / 3)
    assert metrics["sampled_per_user_auc"] == pytest.approx(3 / 4)
    assert metrics["sampled_auc"] == pytest.approx(2 / 3)


def test_two_bundles_meet_the_same_sample() -> None:
    """Or a gate would compare luck."""
    window = examples([1, 1, 0, 0], [10, 80, 40, 50])
    config = EvaluationConfig(max_queries=1, sampled_negatives=2, seed=4)
    assert evaluate(Chosen(), window, CORPUS, config) == evaluate(Chosen(), window, CORPUS, config)


def test_what_cannot_be_measured_is_left_out_and_nothing_is_nan() -> None:
    """One class, no corpus, no declared language, no example: a manifest takes no NaN, and a gate no guess."""
    one_class = evaluate(Chosen(), examples([1, 1], [10, 80]), CORPUS)
    assert "auc" not in one_class
    assert "language_mismatch" in one_class
    empty = Corpus(column([])[:, :1], CORPUS.items[:0], CORPUS.languages[:0], CORPUS.popularity[:0])
    assert evaluate(Chosen(), examples([1, 1, 0], [10, 80, 30]), empty).keys() == {"auc", "per_user_auc", "per_query_auc"}
    silent = Corpus(CORPUS.candidate_ids, CORPUS.items, np.full(3, NO_LANGUAGE, np.int32), CORPUS.popularity)
    assert "language_mismatch" not in evaluate(Chosen(), examples([1, 1, 0], [10, 80, 30]), silent)
    none = examples([], [])
    assert np.isfinite(list(evaluate(Chosen(), none, CORPUS).values())).all()


def test_towers_that_were_only_turned_have_not_shifted() -> None:
    """Vectors of another training lie elsewhere; only what they say of pairs can be compared."""

    def canary(queries: list[list[float]], candidates: list[list[float]]) -> CanaryVectors:
        return CanaryVectors([[0]], queries, [[0]], candidates)

    candidates = [[1.0, 0.0], [0.6, 0.8]]
    one = canary([[1.0, 0.0], [0.0, 1.0]], candidates)
    turned = canary([[0.0, 1.0], [-1.0, 0.0]], [[0.0, 1.0], [-0.8, 0.6]])
    assert canary_shift(one, turned) == pytest.approx(0.0)
    # similarities 1, .6, 0, .8 against 1, .6, 1, .6: differences 0, 0, 1, .2, in the mean .3
    assert canary_shift(one, canary([[1.0, 0.0], [1.0, 0.0]], candidates)) == pytest.approx(0.3)
