"""One model against one world: the paper's metrics and the true ones. Trains nothing."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lab.observed.columns import Floats, Ints
from lab.observed.log import WorldLog
from lab.paper.ab_test import CANDIDATES, ABSettings, ab_test, production_lists
from lab.paper.encode import LogEncoder
from lab.paper.intervals import Interval, mean_over_users, ratio_over_users
from lab.paper.truth import MISSING, fresh, fresh_engagement, fresh_share, true_engagement_at, unreadable_share
from lab.world.settings import DAY_S
from schemas.errors import InvalidInput
from schemas.features.spec import FeatureSpec
from trainer.data.columns import NO_LANGUAGE, POSITIVE, Corpus, Examples, Queries
from trainer.evaluation import Embedder
from trainer.metrics import grouped_roc_auc, language_mismatch, nearest, pair_scores, popularity_correlation, roc_auc

_CORPUS_EVERY_S = 6 * 3_600.0
_POPULAR_K = 5
_SHOWN_K = 10


@dataclass(frozen=True, eq=False)
class Split:
    """A log cut for an experiment: what may be learned from, what it is tested on, and what can be retrieved.

    Attributes:
        log: the whole.
        train: examples before the test days and after the warm-up days, in which nobody has a history yet.
        train_corpus: what was alive at moments all through the training days, each as it was then: what random negatives are drawn
            from. One moment will not do: at the end most tweets are older, so with larger counters, than when they are served, and
            towers learn that large counters are a mark of negatives.
        test: served examples of the test days (paper, section 6.1.1).
        queries: of the truth's users at test time.
        corpus: the truth's candidates, in its order.
        production: lists of the production heuristics, int64 [users, 200], columns of the truth.
    """

    log: WorldLog
    train: Examples
    train_corpus: Corpus
    test: Examples
    queries: Queries
    corpus: Corpus
    production: Ints


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What a model is worth. Rates and shares lie in 0 to 1, `ab_…_pct` are percent against production.

    Attributes:
        auc, per_user_auc: on the served test examples.
        language_mismatch: share of users whose first candidate is in none of their declared languages.
        popularity_correlation: the Popular-Recommendation Pearson correlation of the top 5 (section 4.3.2).
        unreadable: share of the first 10 that the user truly cannot read.
        engagement_at_10, engagement_at_200: mean true p of the first 10 and 200.
        fresh_share: share of the first 10 that is under an hour old.
        fresh_engagement: mean true p of those.
    """

    auc: float
    per_user_auc: float
    language_mismatch: Interval
    popularity_correlation: float
    unreadable: Interval
    engagement_at_10: Interval
    engagement_at_200: Interval
    fresh_share: Interval
    fresh_engagement: Interval
    ab_favorite_pct: Interval
    ab_retweet_pct: Interval

    def values(self) -> dict[str, float]:
        """Return the figures by name, without their intervals."""
        return {name: _value(getattr(self, name)) for name in self.__dataclass_fields__}

    def intervals(self) -> dict[str, tuple[float, float]]:
        """Return the confidence intervals by name, of the figures that have one."""
        found = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return {name: (value.low, value.high) for name, value in found.items() if isinstance(value, Interval)}


def split(log: WorldLog, spec: FeatureSpec, *, warm_up_days: float = 2.0, test_days: float = 1.0, seed: int = 0) -> Split:
    """Cut a log: its last days are the test. Features are as of serve time, so nothing of the test is learned from.

    Raises:
        InvalidInput: the log is too short for both.
    """
    encoder = LogEncoder(log, spec)
    times = log.impressions.time_s
    warm_s, begin_s = times.min(initial=np.inf) + warm_up_days * DAY_S, log.truth.time_s - test_days * DAY_S
    if not warm_s < begin_s:
        raise InvalidInput(f"the log is too short for {warm_up_days:g} days of warm-up, some to train on and {test_days:g} of test")
    users, now_s = log.truth.user, log.truth.time_s
    return Split(
        log=log,
        train=encoder.examples(np.flatnonzero((times >= warm_s) & (times < begin_s))),
        train_corpus=encoder.corpus(*_all_through(log, warm_s, begin_s)),
        test=encoder.examples(np.flatnonzero((times >= begin_s) & (times <= now_s))),
        queries=encoder.queries(users, np.full(len(users), now_s)),
        corpus=encoder.corpus(log.truth.tweet, np.full(len(log.truth.tweet), now_s)),
        production=production_lists(log, seed=seed),
    )


def _all_through(log: WorldLog, from_s: float, until_s: float) -> tuple[Ints, Floats]:
    moments = np.arange(until_s, from_s, -_CORPUS_EVERY_S)
    alive = [log.tweets.alive(moment) for moment in moments]
    return np.concatenate(alive), np.repeat(moments, [len(rows) for rows in alive])


def retrieve(model: Embedder, data: Split, k: int = CANDIDATES) -> Ints:
    """Return each test user's k nearest candidates by exhaustive search, int64 [users, k], columns of the truth."""
    queries, candidates = model.embed_queries(data.queries.ids), model.embed_candidates(data.corpus.candidate_ids)
    return nearest(queries, candidates, k, metric=model.metric)


def served_scores(model: Embedder, examples: Examples) -> NDArray[np.float32]:
    """Return the similarity of every example's query and candidate, float32 [n]."""
    queries = model.embed_queries(examples.queries.ids)[examples.query]
    return pair_scores(queries, model.embed_candidates(examples.candidate_ids), model.metric)


def evaluate(model: Embedder, data: Split, *, ab: ABSettings | None = None) -> Evaluation:
    """Measure a model by every metric of the paper and by the truth."""
    test = data.test.take(data.test.implicit)
    scores, labels = served_scores(model, test), test.labels == POSITIVE
    lists = retrieve(model, data)
    return evaluate_lists(lists, data, ab=ab, auc=roc_auc(scores, labels), per_user_auc=grouped_roc_auc(scores, labels, test.users))


def evaluate_lists(
    lists: Ints,
    data: Split,
    *,
    ab: ABSettings | None = None,
    auc: float = float("nan"),
    per_user_auc: float = float("nan"),
) -> Evaluation:
    """Measure lists, int64 [users, up to 200]; those that no model made, such as production's or the oracle's, have no AUC."""
    truth = data.log.truth
    outcome = ab_test(truth, lists, data.production, ab)
    young = fresh(truth, data.log.tweets.created_s)
    return Evaluation(
        auc=auc,
        per_user_auc=per_user_auc,
        language_mismatch=mismatch(lists, data),
        popularity_correlation=popularity_correlation(lists[:, :_POPULAR_K], data.corpus.popularity),
        unreadable=mean_over_users(unreadable_share(truth, lists, _SHOWN_K)),
        engagement_at_10=mean_over_users(true_engagement_at(truth, lists, _SHOWN_K)),
        engagement_at_200=mean_over_users(true_engagement_at(truth, lists, CANDIDATES)),
        fresh_share=mean_over_users(fresh_share(lists, young, _SHOWN_K)),
        fresh_engagement=ratio_over_users(*fresh_engagement(truth, lists, young, _SHOWN_K)),
        ab_favorite_pct=outcome.favorite_pct,
        ab_retweet_pct=outcome.retweet_pct,
    )


def mismatch(lists: Ints, data: Split) -> Interval:
    """Return the share of users whose first candidate is in none of their declared languages (section 4.3.2)."""
    top = np.where(lists[:, 0] == MISSING, NO_LANGUAGE, data.corpus.languages[lists[:, 0]])
    return mean_over_users(_mismatches(top, data.queries.languages))


def _mismatches(top: NDArray[np.integer], declared: NDArray[np.integer]) -> Floats:
    """Return `trainer.metrics.language_mismatch` of each user alone: 1, 0, or NaN where it cannot be judged."""
    return np.array([language_mismatch(top[row : row + 1], declared[row : row + 1]) for row in range(len(top))])


def _value(figure: float | Interval) -> float:
    return figure.value if isinstance(figure, Interval) else figure
