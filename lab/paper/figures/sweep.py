"""One model a step on the same data: what Figures 5 and 6 vary is an objective. Chooses no steps and draws nothing."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from lab.paper.experiment import set_threads
from lab.paper.intervals import seeds_range
from lab.world import WorldSettings
from schemas.features.catalog import CATALOG
from schemas.features.spec import FeatureSpec
from trainer.data.columns import Corpus, Examples
from trainer.evaluation import EvaluationConfig, evaluate
from trainer.learning.fit import FitConfig, fit
from trainer.learning.objectives import Objective
from trainer.learning.towers import TorchEmbedder, TowerConfig, TwoTowers

# of `trainer.evaluation.evaluate`; AUC against sampled negatives says least here: it is what random negatives train for
FIGURES = ("auc", "per_user_auc", "per_query_auc", "sampled_auc", "language_mismatch", "popularity_correlation")

# a row's step, such as {"t": 100.0}, its figures (None where not measured) and their intervals
Row = dict[str, Any]
# told: the seed, and the number under way
OnProgress = Callable[[int, float], None]


@dataclass(frozen=True, slots=True)
class SweepSettings:
    """What every step of a sweep has in common.

    Attributes:
        world: the world; its seed is the experiment's.
        days: how long it is played; the last day is the test.
        test_queries: how many of the test's queries retrieve.
        epochs: the same for all steps: fewer for many negatives would under-train them and turn Figure 5 round.
        threads: of torch; figures are equal only for equal threads.
    """

    world: WorldSettings = field(default_factory=WorldSettings)
    days: float = 6.0
    test_queries: int = 1_000
    spec: FeatureSpec = CATALOG["tweet-v1"]
    towers: TowerConfig = field(default_factory=lambda: TowerConfig(dim=32))
    learning_rate: float = 1e-3
    epochs: int = 6
    batch_size: int = 256
    threads: int = 1


@dataclass(frozen=True, eq=False)
class Data:
    """What is learned from and what is tested on; the test's corpus is what was alive at its end."""

    train: Examples
    train_corpus: Corpus
    test: Examples
    corpus: Corpus


def sweep(
    steps: Sequence[tuple[Mapping[str, Any], Objective]],
    data: Data,
    settings: SweepSettings,
    *,
    seed: int,
    told: Callable[[int], None] = lambda _: None,
) -> list[Row]:
    """Train and measure one model for each step; a step's columns come first in its row."""
    set_threads(settings.threads)
    rows = []
    for number, (columns, objective) in enumerate(steps):
        told(number)
        towers = TwoTowers(settings.spec, settings.towers, seed=seed)
        how = FitConfig((objective,), settings.learning_rate, settings.epochs, settings.batch_size, seed=seed)
        fit(towers, data.train, data.train_corpus, how)
        config = EvaluationConfig(max_queries=settings.test_queries, seed=seed)
        measured = evaluate(TorchEmbedder(towers), data.test, data.corpus, config)
        rows.append({**columns, **{name: measured.get(name) for name in FIGURES}, "ci": {}})
    return rows


def mean(per_seed: Sequence[Sequence[Row]], columns: Sequence[str]) -> list[Row]:
    """Return the rows' means over the seeds, their intervals from the lowest seed to the highest; None of one seed."""
    rows = []
    for of_step in zip(*per_seed, strict=True):
        values = {name: [row[name] for row in of_step if row[name] is not None] for name in FIGURES}
        row: Row = {name: of_step[0][name] for name in columns}
        row.update({name: float(np.mean(found)) if found else None for name, found in values.items()})
        row["ci"] = {name: seeds_range(found) for name, found in values.items() if found}
        rows.append(row)
    return rows


def of_seed(settings: SweepSettings, seed: int) -> WorldSettings:
    """Return the world of one seed."""
    return replace(settings.world, seed=seed)
