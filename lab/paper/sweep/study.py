"""Every setting of every model of Table 1 on one world, and which is chosen. Knows no rule of choice: `criteria` has them.

The in-batch model and its fine-tune are one choice, the fine-tune's: what is claimed of the first is claimed through the second.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import product
from typing import Any, TypedDict

import numpy as np

from lab.paper.evaluate import Split, evaluate
from lab.paper.experiment import ExperimentSettings, OnProgress, experiment, joined, silent
from lab.paper.models.joined import ROOST, Joining
from lab.paper.models.recipes import PAPER, Recipe, train
from lab.paper.sweep.criteria import CRITERIA, best
from trainer.evaluation import Embedder
from trainer.learning.fit import FitProgress
from trainer.learning.towers import TorchEmbedder, TwoTowers

_RECIPES = {recipe.name: recipe for recipe in PAPER}
# a fine-tune's learning rate over its parent's (section 6.2)
PAPER_RATIO = 0.1

# one setting: `model`, its own columns, the figures of `Evaluation`, and the columns of `criteria.best`
Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Grid:
    """Learning rates, each with every number of epochs: one training gives all of a rate's, since a longer one begins alike."""

    rates: tuple[float, ...]
    epochs: tuple[int, ...]


_RATES = (3e-4, 1e-3, 3e-3, 1e-2)
_GRIDS = {
    "implicit": Grid(_RATES, (1, 2, 3, 4)),
    "random": Grid(_RATES, (4, 8, 16, 32)),
    # each of its settings is fine-tuned too, which takes longer than itself
    "random_in_batch": Grid(_RATES[:3], (3, 6, 12, 24)),
}


@dataclass(frozen=True, slots=True)
class SweepSettings:
    """What is tried.

    Attributes:
        experiment: the world and the towers; its recipes and joinings are not used.
        grids: of each model that is trained from scratch.
        ratios: of a fine-tune's learning rate to its parent's, tried from the chosen parent: not the paper's, so never chosen.
        weight_steps: the weights of the joined models are all multiples of one over this, none of them 0.
    """

    experiment: ExperimentSettings = field(default_factory=ExperimentSettings)
    grids: Mapping[str, Grid] = field(default_factory=lambda: _GRIDS)
    ratios: tuple[float, ...] = (0.03, 0.3, 1.0)
    weight_steps: int = 10

    @property
    def trainings(self) -> int:
        """How many there are."""
        parents = self.grids["random_in_batch"]
        return sum(len(grid.rates) for grid in self.grids.values()) + len(parents.rates) * len(parents.epochs) + len(self.ratios)


class Sweep(TypedDict):
    """One seed's rows; `criteria` says by which figures, and in which role, each model's was chosen."""

    seeds: list[int]
    criteria: dict[str, dict[str, Any]]
    rows: list[Row]


@dataclass(frozen=True, eq=False)
class _Tried:
    row: Row
    towers: TwoTowers


def sweep(seed: int, settings: SweepSettings | None = None, *, on_progress: OnProgress = silent) -> Sweep:
    """Run the sweep on one seed's world.

    Raises:
        Refused: the log holds nothing to learn from.
    """
    how = settings or SweepSettings()
    [world] = experiment([seed], replace(how.experiment, recipes=(), joinings=()), on_progress=on_progress)
    bench = _Bench(how, world.data, seed, on_progress)
    scratch = {name: list(bench.from_scratch(name)) for name in how.grids}
    tuned = [bench.fine_tuned(parent, "fine_tuned", PAPER_RATIO) for parent in scratch["random_in_batch"]]
    chosen: dict[str, _Tried] = {}

    def choose(name: str, tried: list[_Tried]) -> int:
        number = best([one.row for one in tried], CRITERIA[name], {model: one.row for model, one in chosen.items()})
        chosen[name] = tried[number]
        return number

    for name, tried in scratch.items():
        choose(name, tried)
    chosen["random_in_batch"] = scratch["random_in_batch"][choose("fine_tuned", tuned)]
    parent = chosen["random_in_batch"]
    otherwise = [bench.fine_tuned(parent, "tuned_otherwise", ratio) for ratio in how.ratios]
    joinings = list(bench.joined({part: chosen[part].towers for part in ROOST.weights}))
    winner = joinings[best(joinings, CRITERIA[ROOST.name], {model: one.row for model, one in chosen.items()})]
    baselines = [one.row for tried in (*scratch.values(), tuned, otherwise) for one in tried]
    for row in (*(one.row for one in chosen.values()), winner):
        row["chosen"] = True
    return Sweep(
        seeds=[seed],
        criteria={name: {"figures": list(one.figures), "role": one.role} for name, one in CRITERIA.items()},
        rows=[*baselines, *joinings],
    )


@dataclass(frozen=True, eq=False)
class _Bench:
    """One world, on which settings are trained and measured."""

    how: SweepSettings
    data: Split
    seed: int
    on_progress: OnProgress

    def from_scratch(self, name: str) -> Iterator[_Tried]:
        """Yield a model at every rate, after each of its epochs that is asked for."""
        grid = self.how.grids[name]
        for rate in grid.rates:
            recipe = replace(_RECIPES[name], learning_rate=rate, epochs=max(grid.epochs))
            for epochs, towers in self._trained(recipe, grid.epochs, f"{name}, {rate:g}"):
                yield _Tried(
                    self._measured(TorchEmbedder(towers), {"model": name, "learning_rate": rate, "epochs": epochs}), towers
                )

    def fine_tuned(self, parent: _Tried, name: str, ratio: float) -> _Tried:
        """Return the parent fine-tuned at so much of its learning rate, as long as the paper does."""
        of_parent = {f"parent_{key}": parent.row[key] for key in ("learning_rate", "epochs")}
        rate = ratio * parent.row["learning_rate"]
        recipe = replace(_RECIPES["fine_tuned"], learning_rate=rate)
        what = f"{name}, {rate:g} after {parent.row['learning_rate']:g}, {parent.row['epochs']}"
        [(epochs, towers)] = self._trained(recipe, (recipe.epochs,), what, parent.towers)
        columns = {"model": name, **of_parent, "learning_rate": rate, "epochs": epochs}
        return _Tried(self._measured(TorchEmbedder(towers), columns), towers)

    def joined(self, parts: Mapping[str, TwoTowers]) -> Iterator[Row]:
        """Yield the parts joined at every division of the weight."""
        steps = self.how.weight_steps
        for shares in product(range(1, steps), repeat=len(parts)):
            if sum(shares) == steps:
                weights = {part: share / steps for part, share in zip(parts, shares, strict=True)}
                model = joined(Joining(ROOST.name, weights), parts, self.data, self.how.experiment, seed=self.seed)
                yield self._measured(model, {"model": ROOST.name, "weights": weights})

    def _trained(
        self, recipe: Recipe, epochs: tuple[int, ...], what: str, parent: TwoTowers | None = None
    ) -> list[tuple[int, TwoTowers]]:
        of, found = self.how.experiment, []

        def ended(epoch: int, towers: TwoTowers) -> None:
            if epoch in epochs:
                copy = TwoTowers(of.spec, of.towers, seed=self.seed)
                copy.load_weights(towers.weights())
                found.append((epoch, copy))

        def told(progress: FitProgress) -> None:
            self.on_progress(self.seed, what, progress)

        train(recipe, self.data, spec=of.spec, config=of.towers, seed=self.seed, parent=parent, on_progress=told, on_epoch=ended)
        return found

    def _measured(self, model: Embedder, columns: Row) -> Row:
        values = evaluate(model, self.data, ab=self.how.experiment.ab).values()
        figures = {name: value if np.isfinite(value) else None for name, value in values.items()}
        return {**columns, **figures, "place": None, "in_role": None, "chosen": False}
