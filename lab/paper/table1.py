"""Table 1 of the paper on simulated worlds: one row a model, one world a seed. Trains no model itself, draws no table."""

from collections.abc import Iterable, Sequence
from dataclasses import fields
from pathlib import Path
from typing import TypedDict

import numpy as np

from lab.paper.evaluate import Evaluation, evaluate
from lab.paper.experiment import ExperimentSettings, OnProgress, Trained, experiment, silent
from lab.paper.intervals import seeds_range


class Row(TypedDict):
    """One model: figures as in `Evaluation`, None where the world does not say; intervals as [low, high] by figure."""

    model: str
    auc: float | None
    per_user_auc: float | None
    language_mismatch: float | None
    popularity_correlation: float | None
    unreadable: float | None
    engagement_at_10: float | None
    engagement_at_200: float | None
    fresh_share: float | None
    fresh_engagement: float | None
    ab_favorite_pct: float | None
    ab_retweet_pct: float | None
    ci: dict[str, list[float] | None]


FIGURES = tuple(field.name for field in fields(Evaluation))


class Table(TypedDict):
    """`rows` are means over the seeds, their intervals from lowest to highest, None of one seed; a seed's are bootstrapped."""

    seeds: list[int]
    rows: list[Row]
    per_seed: list[list[Row]]


def table1(
    seeds: Sequence[int],
    settings: ExperimentSettings | None = None,
    *,
    world: Path | None = None,
    on_progress: OnProgress = silent,
) -> Table:
    """Run the experiment; arguments and errors are those of `experiment`."""
    how = settings or ExperimentSettings()
    return table(
        [(trained.seed, rows_of(trained, how)) for trained in experiment(seeds, how, world=world, on_progress=on_progress)]
    )


def rows_of(trained: Trained, settings: ExperimentSettings) -> list[Row]:
    """Measure every model of one seed."""
    return [_row(name, evaluate(model, trained.data, ab=settings.ab)) for name, model in trained.models.items()]


def table(per_seed: Iterable[tuple[int, list[Row]]]) -> Table:
    """Put the rows of all seeds together."""
    found = list(per_seed)
    rows = [rows for _, rows in found]
    return Table(seeds=[seed for seed, _ in found], rows=[_mean(of_model) for of_model in zip(*rows, strict=True)], per_seed=rows)


def _row(model: str, measured: Evaluation) -> Row:
    values, intervals = measured.values(), measured.intervals()
    return _typed(
        model,
        {name: values[name] if np.isfinite(values[name]) else None for name in FIGURES},
        {name: list(intervals[name]) for name in FIGURES if name in intervals and np.isfinite(values[name])},
    )


def _mean(of_model: Sequence[Row]) -> Row:
    figures: dict[str, float | None] = {}
    spread: dict[str, list[float] | None] = {}
    for name in FIGURES:
        values = [row[name] for row in of_model if row[name] is not None]  # type: ignore[literal-required]
        figures[name] = float(np.mean(values)) if values else None
        if values:
            spread[name] = seeds_range(values)
    return _typed(of_model[0]["model"], figures, spread)


def _typed(model: str, figures: dict[str, float | None], ci: dict[str, list[float] | None]) -> Row:
    row: Row = {"model": model, **figures, "ci": ci}  # type: ignore[typeddict-item]
    return row
