"""Table 1 and Table 2 of the paper on simulated worlds: one row a model, one world a seed. Draws no table and prints nothing."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypedDict

import numpy as np

from lab.observed.parquet import from_parquet
from lab.paper.ab_test import CANDIDATES, ABSettings
from lab.paper.evaluate import Evaluation, Split, evaluate, evaluate_lists, split
from lab.paper.recipes import TABLE_1, Recipe, TorchModel, train
from lab.paper.truth import oracle_lists
from lab.world import WorldSettings, simulate
from schemas.features.catalog import CATALOG
from schemas.features.spec import FeatureSpec
from trainer.learning.fit import FitProgress
from trainer.learning.towers import TowerConfig, TwoTowers

REFERENCES = ("production", "oracle")
_FIGURES = tuple(Evaluation.__dataclass_fields__)


@dataclass(frozen=True, slots=True)
class Table1Settings:
    """What is run for each seed.

    Attributes:
        world: the world; its seed is the experiment's.
        days: how long it is played; the last day is the test.
        test_users: users whose retrieval is judged.
        spec: the feature spec.
        towers: the paper's are cosine towers; their dimension it does not say.
        recipes: in an order in which parents come first.
        ab: how the A/B test is run.
    """

    world: WorldSettings = field(default_factory=WorldSettings)
    days: float = 8.0
    test_users: int = 500
    spec: FeatureSpec = CATALOG["tweet-v1"]
    towers: TowerConfig = field(default_factory=lambda: TowerConfig(dim=32))
    recipes: tuple[Recipe, ...] = TABLE_1
    ab: ABSettings = field(default_factory=ABSettings)


class Row(TypedDict):
    """One model: figures as in `Evaluation`, intervals as [low, high] by figure."""

    model: str
    auc: float
    per_user_auc: float
    language_mismatch: float
    popularity_correlation: float
    unreadable: float
    engagement_at_10: float
    engagement_at_200: float
    ab_favorite_pct: float
    ab_retweet_pct: float
    ci: dict[str, tuple[float, float]]


class Table(TypedDict):
    """`rows` are means over the seeds, their intervals from the lowest to the highest seed; `references` are no models."""

    seeds: list[int]
    rows: list[Row]
    per_seed: list[list[Row]]
    references: list[list[Row]]


# told: the seed, what is being done, and how far a fit is
OnProgress = Callable[[int, str, FitProgress | None], None]


def table1(
    seeds: Sequence[int],
    settings: Table1Settings | None = None,
    *,
    world: Path | None = None,
    on_progress: OnProgress = lambda _seed, _what, _progress: None,
) -> Table:
    """Run the experiment.

    Args:
        seeds: one world and one training each; at least one.
        settings: what is run.
        world: a folder of Parquet files (`lab.observed.parquet`) to run on instead; seeds then differ in the training alone.
        on_progress: told what is being done.

    Raises:
        InvalidInput: the folder is no world.
        Refused: the log holds nothing to learn from.
    """
    how = settings or Table1Settings()
    given = None if world is None else from_parquet(world)
    per_seed, references = [], []
    for seed in seeds:
        on_progress(seed, "world", None)
        log = given or simulate(replace(how.world, seed=seed), how.days, test_users=how.test_users)
        data = split(log, how.spec, seed=seed)
        per_seed.append(run_recipes(data, how, seed=seed, on_progress=on_progress))
        lists = (data.production, oracle_lists(log.truth, CANDIDATES))
        references.append([_row(name, evaluate_lists(of, data, ab=how.ab)) for name, of in zip(REFERENCES, lists, strict=True)])
    return Table(seeds=list(seeds), rows=_means(per_seed), per_seed=per_seed, references=references)


def run_recipes(data: Split, how: Table1Settings, *, seed: int, on_progress: OnProgress) -> list[Row]:
    """Train every recipe on one split and measure it; return the rows in the recipes' order."""
    models: dict[str, TwoTowers] = {}
    rows = []
    for recipe in how.recipes:

        def told(progress: FitProgress, name: str = recipe.name) -> None:
            on_progress(seed, name, progress)

        parent = models[recipe.parent] if recipe.parent else None
        models[recipe.name] = train(recipe, data, spec=how.spec, config=how.towers, seed=seed, parent=parent, on_progress=told)
        rows.append(_row(recipe.name, evaluate(TorchModel(models[recipe.name]), data, ab=how.ab)))
    return rows


def _row(name: str, measured: Evaluation) -> Row:
    row: Row = {"model": name, "ci": measured.intervals(), **measured.values()}  # type: ignore[typeddict-item]
    return row


def _means(per_seed: list[list[Row]]) -> list[Row]:
    rows = []
    for of_model in zip(*per_seed, strict=True):
        figures = {name: [row[name] for row in of_model] for name in _FIGURES}
        means = {name: float(np.mean(values)) for name, values in figures.items()}
        spread = {name: (min(values), max(values)) for name, values in figures.items()}
        row: Row = {"model": of_model[0]["model"], "ci": spread, **means}  # type: ignore[typeddict-item]
        rows.append(row)
    return rows
