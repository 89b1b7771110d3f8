"""Worlds and the models trained on them, one world a seed: what Tables 1 and 2 are measured on. Measures nothing itself."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch

from lab.observed.parquet import from_parquet
from lab.paper.ab_test import ABSettings
from lab.paper.evaluate import Split, split
from lab.paper.models.joined import ROOST, Joining
from lab.paper.models.recipes import PAPER, Recipe, train
from lab.world import WorldSettings, simulate
from schemas.features.catalog import CATALOG
from schemas.features.spec import FeatureSpec
from trainer.evaluation import Embedder
from trainer.learning.ensemble import Ensemble
from trainer.learning.fit import FitProgress
from trainer.learning.towers import TorchEmbedder, TowerConfig, TwoTowers


@dataclass(frozen=True, slots=True)
class ExperimentSettings:
    """What is run for each seed.

    Attributes:
        world: the world; its seed is the experiment's.
        days: how long it is played; the last day is the test.
        test_users: users whose retrieval is judged.
        spec: the feature spec.
        towers: the paper's are cosine towers; their dimension it does not say.
        recipes: in an order in which parents come first.
        joinings: of the recipes' models, in the dimension of one of them.
        ab: how the A/B test is run.
        threads: of torch; figures are equal only for equal threads.
    """

    world: WorldSettings = field(default_factory=WorldSettings)
    days: float = 8.0
    test_users: int = 500
    spec: FeatureSpec = CATALOG["tweet-v1"]
    towers: TowerConfig = field(default_factory=lambda: TowerConfig(dim=32))
    recipes: tuple[Recipe, ...] = PAPER
    joinings: tuple[Joining, ...] = (ROOST,)
    ab: ABSettings = field(default_factory=ABSettings)
    threads: int = 1


@dataclass(frozen=True, eq=False)
class Trained:
    """One seed's world, and the model of every recipe by its name, in the recipes' order."""

    seed: int
    data: Split
    models: dict[str, Embedder]


# told: the seed, what is being done, and how far a fit is
OnProgress = Callable[[int, str, FitProgress | None], None]


def silent(_seed: int, _what: str, _progress: FitProgress | None) -> None:
    """Tell nobody."""


def set_threads(count: int) -> None:
    """Let torch use this many threads in this process."""
    torch.set_num_threads(count)


def experiment(
    seeds: Sequence[int], settings: ExperimentSettings, *, world: Path | None = None, on_progress: OnProgress = silent
) -> Iterator[Trained]:
    """Yield each seed's world with its trained models; nothing is kept of the last when the next is made.

    Args:
        seeds: one world and one training each.
        settings: what is run.
        world: a folder of Parquet files (`lab.observed.parquet`) to run on instead; seeds then differ in the training alone.
        on_progress: told what is being done.

    Raises:
        InvalidInput: the folder is no world, or one too short to learn and to test on.
        Refused: the log holds nothing to learn from.
    """
    set_threads(settings.threads)
    given = None if world is None else from_parquet(world)
    for seed in seeds:
        on_progress(seed, "world", None)
        log = given or simulate(replace(settings.world, seed=seed), settings.days, test_users=settings.test_users)
        data = split(log, settings.spec, seed=seed)
        yield Trained(seed, data, _train_all(data, settings, seed=seed, on_progress=on_progress))


def _train_all(data: Split, settings: ExperimentSettings, *, seed: int, on_progress: OnProgress) -> dict[str, Embedder]:
    towers: dict[str, TwoTowers] = {}
    models: dict[str, Embedder] = {}
    for recipe in settings.recipes:

        def told(progress: FitProgress, name: str = recipe.name) -> None:
            on_progress(seed, name, progress)

        parent = towers[recipe.parent] if recipe.parent else None
        made = train(recipe, data, spec=settings.spec, config=settings.towers, seed=seed, parent=parent, on_progress=told)
        towers[recipe.name], models[recipe.name] = made, TorchEmbedder(made)
    for joining in settings.joinings:
        models[joining.name] = joined(joining, towers, data, settings, seed=seed)
    return models


def joined(joining: Joining, towers: Mapping[str, TwoTowers], data: Split, settings: ExperimentSettings, *, seed: int) -> Embedder:
    """Return one model of several recipes' towers, by name."""
    ensemble = Ensemble([towers[name] for name in joining.weights], settings.towers.dim)
    ensemble.join(list(joining.weights.values()), data.train, data.train_corpus, seed=seed)
    return TorchEmbedder(ensemble)
