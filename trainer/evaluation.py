"""Towers against a held-out window, every offline metric in one table, and against others on the canary rows. Judges nothing."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from schemas.bundle import CanaryVectors
from schemas.manifest import Metric
from trainer.data.columns import POSITIVE, Corpus, Examples
from trainer.metrics import (
    MISMATCH_OF_PLACES,
    TOP_PLACES,
    grouped_roc_auc,
    language_mismatch,
    nearest,
    pair_scores,
    popularity_correlation,
    roc_auc,
)


class Embedder(Protocol):
    """Both towers on ids."""

    @property
    def metric(self) -> Metric:
        """How their vectors are compared."""
        ...

    def embed_queries(self, ids: NDArray[np.integer]) -> NDArray[np.float32]:
        """Return vectors, float32 [n, dim], of length 1 where the metric is cosine."""
        ...

    def embed_candidates(self, ids: NDArray[np.integer]) -> NDArray[np.float32]:
        """Return vectors, float32 [n, dim], of length 1 where the metric is cosine."""
        ...


@dataclass(frozen=True, slots=True)
class EvaluationConfig:
    """How much is sampled, and from which seed, so that two bundles meet the same sample."""

    max_queries: int = 2_000
    sampled_negatives: int = 16
    seed: int = 0


def evaluate(towers: Embedder, examples: Examples, corpus: Corpus, config: EvaluationConfig | None = None) -> dict[str, float]:
    """Return the metrics that can be measured on this window; one that cannot is left out.

    auc, per_user_auc, per_query_auc: on served pairs, positives against implicit negatives; explicit negatives are in neither.
    sampled_auc, sampled_per_user_auc, sampled_per_query_auc: the positives against candidates drawn uniformly from the corpus.
    language_mismatch, popularity_correlation: of exhaustive retrieval for a sample of the window's queries.
    language_mismatch_at_5: of the first five places; the paper's, language_mismatch, is of the first alone. Half of that may be
    due to a single tweet, near everybody today and gone tomorrow, so that five places tell towers apart with less chance in it.
    """
    config = config or EvaluationConfig()
    rng = np.random.default_rng(config.seed)
    if not len(examples.queries):
        return {}
    queries = towers.embed_queries(examples.queries.ids)
    served = examples.take(examples.implicit)
    own = towers.embed_candidates(served.candidate_ids)
    scores = pair_scores(queries[served.query], own, towers.metric)
    positive = served.labels == POSITIVE
    metrics = {
        "auc": roc_auc(scores, positive),
        "per_user_auc": grouped_roc_auc(scores, positive, served.users),
        "per_query_auc": grouped_roc_auc(scores, positive, served.query),
    }
    if len(corpus):
        candidates = towers.embed_candidates(corpus.candidate_ids)
        drawn = candidates[rng.integers(len(candidates), size=(int(positive.sum()), config.sampled_negatives))]
        engaged = served.take(positive)
        against = _sampled_scores(queries[engaged.query], drawn, towers.metric)
        of_both = np.concatenate([scores[positive], against.ravel()])
        first = np.arange(len(of_both)) < len(engaged)
        metrics["sampled_auc"] = roc_auc(of_both, first)
        for name, groups in (("sampled_per_user_auc", engaged.users), ("sampled_per_query_auc", engaged.query)):
            of_drawn = np.repeat(groups, config.sampled_negatives)
            metrics[name] = grouped_roc_auc(of_both, first, np.concatenate([groups, of_drawn]))
        sample = rng.permutation(len(queries))[: config.max_queries]
        best = nearest(queries[sample], candidates, TOP_PLACES, metric=towers.metric)
        declared, languages = examples.queries.languages[sample], corpus.languages[best]
        metrics["language_mismatch"] = language_mismatch(languages[:, 0], declared)
        metrics[MISMATCH_OF_PLACES] = language_mismatch(languages, declared)
        metrics["popularity_correlation"] = popularity_correlation(best, corpus.popularity)
    return {name: value for name, value in metrics.items() if np.isfinite(value)}


def canary_shift(one: CanaryVectors, other: CanaryVectors) -> float:
    """Return by how much the canary rows' similarities differ in the mean: 0 for towers that answer alike, however turned.

    Vectors of two trainings lie elsewhere: only what they say of pairs can be compared.

    Args:
        one, other: of the same rows.
    """
    mine, theirs = (np.asarray(canary.query_vectors) @ np.asarray(canary.candidate_vectors).T for canary in (one, other))
    return float(np.abs(mine - theirs).mean())


def _sampled_scores(queries: NDArray[np.float32], drawn: NDArray[np.float32], metric: Metric) -> NDArray[np.float32]:
    """Return the similarities of queries [n, dim] with candidates drawn for each [n, negatives, dim], float32 [n, negatives]."""
    negatives = drawn.shape[1]
    scores = pair_scores(np.repeat(queries, negatives, axis=0), drawn.reshape(-1, queries.shape[1]), metric)
    return scores.reshape(-1, negatives)
