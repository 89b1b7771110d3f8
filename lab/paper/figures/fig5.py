"""Figure 5 of the paper: more random negatives for each positive (section 5.1), and triplet loss against cross-entropy (5.2).

Related tweets: the query is a tweet, the last one that the user engaged with, and nothing of the user. Section 5.2 compares on
accounts to follow, which these logs of tweets do not show; the comparison is made on the same data here.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import TypedDict

import numpy as np

from lab.observed.columns import Floats, Ints
from lab.observed.log import WorldLog
from lab.paper.encode import LogEncoder
from lab.paper.evaluate import Split, split
from lab.paper.figures.sweep import Data, OnProgress, Row, SweepSettings, mean, of_seed, sweep
from lab.world import simulate
from schemas.features.spec import FeatureSpec
from trainer.data.columns import NO_LANGUAGE, Examples
from trainer.learning.negatives import Negatives
from trainer.learning.objectives import Objective

RATIOS = (1, 4, 16, 64, 256, 1_024, 4_000)


class Figure(TypedDict):
    """`rows` are cross-entropy at every ratio and triplet loss at the last.

    `triplet_gain_pct`: change of per-user AUC by the triplet loss at 4,000 negatives, of the means over the seeds.
    """

    seeds: list[int]
    triplet_gain_pct: float | None
    rows: list[Row]
    per_seed: list[list[Row]]


def fig5(
    seeds: Sequence[int],
    settings: SweepSettings | None = None,
    *,
    ratios: Sequence[int] = RATIOS,
    on_progress: OnProgress = lambda _s, _n: None,
) -> Figure:
    """Run the experiment: one world a seed."""
    how = settings or SweepSettings()
    tried = [*(("cross_entropy", ratio) for ratio in ratios), ("triplet", ratios[-1])]
    steps = [
        ({"loss": loss, "negatives": ratio}, Objective(loss=loss, negatives=Negatives("uniform", ratio)))  # type: ignore[arg-type]
        for loss, ratio in tried
    ]
    per_seed = []
    for seed in seeds:
        log = simulate(of_seed(how, seed), how.days, test_users=1)
        data = related(log, split(log, how.spec, seed=seed), how.spec)
        per_seed.append(sweep(steps, data, how, seed=seed, told=lambda number, seed=seed: on_progress(seed, tried[number][1])))  # type: ignore[misc]
    rows = mean(per_seed, ("loss", "negatives"))
    pointwise, triplet = rows[-2]["per_user_auc"], rows[-1]["per_user_auc"]
    gain = None if pointwise is None or triplet is None else 100 * (triplet / pointwise - 1)
    return Figure(seeds=list(seeds), triplet_gain_pct=gain, rows=rows, per_seed=per_seed)


def related(log: WorldLog, cut: Split, spec: FeatureSpec) -> Data:
    """Return a split's examples with a tweet for a query; those of users who had engaged with nothing yet are left out."""
    encoder = LogEncoder(log, spec)
    return Data(_asked_by_tweet(encoder, cut.train), cut.train_corpus, _asked_by_tweet(encoder, cut.test), cut.corpus)


def _asked_by_tweet(encoder: LogEncoder, examples: Examples) -> Examples:
    first = np.full(len(examples.queries), np.inf)
    np.minimum.at(first, examples.query, examples.event_time_ms / 1000)
    asked: Ints = np.flatnonzero(np.isfinite(first))
    tweet = np.full(len(first), -1)
    tweet[asked] = _last_engaged(encoder, examples.queries.users[asked].astype(np.int64), first[asked])
    known = np.maximum(tweet, 0)
    languages = np.full_like(examples.queries.languages, NO_LANGUAGE)
    # what the user declares is no part of the query: a match is a candidate in the tweet's language
    languages[:, 0] = encoder.log.tweets.language[known]
    queries = replace(examples.queries, ids=encoder.contexts(known), languages=languages)
    # who had engaged with nothing asks nothing: all of them would be one query, of the log's first tweet
    return replace(examples, queries=queries).take(tweet[examples.query] >= 0).without_idle_queries()


def _last_engaged(encoder: LogEncoder, users: Ints, times_s: Floats) -> Ints:
    newest: Ints = encoder.state.history(users, times_s)[:, 0]
    return newest
