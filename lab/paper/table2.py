"""Table 2 of the paper: the online experiment, simulated, for every model and for references that no model made. Trains none."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypedDict

import numpy as np

from lab.observed.columns import Bools, Floats, Ints
from lab.paper.ab_test import CANDIDATES, ab_test
from lab.paper.evaluate import Split, mismatch, retrieve
from lab.paper.experiment import ExperimentSettings, OnProgress, Trained, experiment, silent
from lab.paper.intervals import Interval, seeds_range
from lab.paper.truth import MISSING, oracle_lists
from trainer.evaluation import Embedder
from trainer.metrics import ranking_scores

# standard deviation, in logits of p, of the ranker that is no oracle
NOISE = 1.0
FILTERED = "implicit"


class Row(TypedDict):
    """One arm against production: change in percent under an oracle ranker and a noisy one, and its top-1 mismatch, 0 to 1.

    Intervals as [low, high] by figure.
    """

    model: str
    ab_favorite_pct: float
    ab_retweet_pct: float
    noisy_favorite_pct: float
    noisy_retweet_pct: float
    language_mismatch: float
    ci: dict[str, list[float] | None]


class Table(TypedDict):
    """`rows` are means over the seeds, their intervals from lowest to highest, None of one seed; a seed's are bootstrapped."""

    seeds: list[int]
    candidates: int
    slots: int
    ranker_noise: float
    rows: list[Row]
    per_seed: list[list[Row]]


_FIGURES = ("ab_favorite_pct", "ab_retweet_pct", "noisy_favorite_pct", "noisy_retweet_pct", "language_mismatch")


def table2(
    seeds: Sequence[int],
    settings: ExperimentSettings | None = None,
    *,
    world: Path | None = None,
    on_progress: OnProgress = silent,
) -> Table:
    """Run the experiment; arguments and errors are those of `experiment`."""
    how = settings or ExperimentSettings()
    return table(
        ((trained.seed, rows_of(trained, how)) for trained in experiment(seeds, how, world=world, on_progress=on_progress)), how
    )


def rows_of(trained: Trained, settings: ExperimentSettings) -> list[Row]:
    """Put every model of one seed, and the references, against production."""
    data = trained.data
    arms = {name: retrieve(model, data) for name, model in trained.models.items()}
    if FILTERED in trained.models:
        arms["language_filter"] = declared_only(trained.models[FILTERED], data)
    arms["popular"] = popular(data)
    arms["oracle"] = oracle_lists(data.log.truth, CANDIDATES)
    return [_row(name, lists, data, settings) for name, lists in arms.items()]


def table(per_seed: Iterable[tuple[int, list[Row]]], settings: ExperimentSettings) -> Table:
    """Put the rows of all seeds together."""
    found = list(per_seed)
    rows = [rows for _, rows in found]
    return Table(
        seeds=[seed for seed, _ in found],
        candidates=CANDIDATES,
        slots=settings.ab.slots,
        ranker_noise=NOISE,
        rows=[_mean(of_model) for of_model in zip(*rows, strict=True)],
        per_seed=rows,
    )


def popular(data: Split) -> Ints:
    """Return, for each test user, the candidates with most engagements in a declared language, int64 [users, 200]."""
    return _best(data.corpus.popularity.astype(np.float64)[None, :], _declared(data))


def declared_only(model: Embedder, data: Split) -> Ints:
    """Return a model's nearest candidates in declared languages only: a hard filter, as the paper says is easy (section 4.3.2)."""
    queries, candidates = model.embed_queries(data.queries.ids), model.embed_candidates(data.corpus.candidate_ids)
    return _best(ranking_scores(queries, candidates, model.metric).astype(np.float64), _declared(data))


def _declared(data: Split) -> Bools:
    """Tell for each test user and candidate whether the language is declared, bool [users, candidates]."""
    declared: Bools = (data.queries.languages[:, :, None] == data.corpus.languages[None, None, :]).any(axis=1)
    return declared


def _best(scores: Floats, allowed: Bools) -> Ints:
    masked = np.where(allowed, scores, -np.inf)
    lists = np.argsort(-masked, axis=1, kind="stable")[:, :CANDIDATES]
    return np.where(np.take_along_axis(allowed, lists, axis=1), lists, MISSING)


def _row(model: str, lists: Ints, data: Split, settings: ExperimentSettings) -> Row:
    truth = data.log.truth
    exact = ab_test(truth, lists, data.production, settings.ab)
    noisy = ab_test(truth, lists, data.production, replace(settings.ab, ranker_noise=NOISE))
    measured = (exact.favorite_pct, exact.retweet_pct, noisy.favorite_pct, noisy.retweet_pct, mismatch(lists, data))
    return _typed(
        model,
        {name: interval.value for name, interval in zip(_FIGURES, measured, strict=True)},
        {name: _bounds(interval) for name, interval in zip(_FIGURES, measured, strict=True)},
    )


def _bounds(interval: Interval) -> list[float]:
    return [interval.low, interval.high]


def _mean(of_model: Sequence[Row]) -> Row:
    values = {name: [row[name] for row in of_model] for name in _FIGURES}  # type: ignore[literal-required]
    return _typed(
        of_model[0]["model"],
        {name: float(np.mean(figures)) for name, figures in values.items()},
        {name: seeds_range(figures) for name, figures in values.items()},
    )


def _typed(model: str, figures: dict[str, float], ci: dict[str, list[float] | None]) -> Row:
    row: Row = {"model": model, **figures, "ci": ci}  # type: ignore[typeddict-item]
    return row
