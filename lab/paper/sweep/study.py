"""Every setting of every model of Table 1 on some seeds' worlds, and which is chosen. Knows no rule of choice: `criteria` has them.

Settings are compared by the means of their figures over the seeds: what is best on one seed is partly chance.

The in-batch model and its fine-tune are one choice, the fine-tune's: what is claimed of the first is claimed through the second.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import product
from typing import Any, Self, TypedDict

import numpy as np

from lab.paper.evaluate import Split, evaluate
from lab.paper.experiment import ExperimentSettings, OnProgress, experiment, joined, silent
from lab.paper.models.joined import ROOST, Joining
from lab.paper.models.recipes import PAPER, Recipe, train
from lab.paper.sweep.criteria import CRITERIA, best
from lab.paper.table1 import FIGURES
from trainer.evaluation import Embedder
from trainer.learning.fit import FitProgress
from trainer.learning.towers import TorchEmbedder, TwoTowers

_RECIPES = {recipe.name: recipe for recipe in PAPER}
# a fine-tune's learning rate over its parent's (section 6.2)
PAPER_RATIO = 0.1

# one setting: `model`, its own columns, and the figures of `Evaluation`; of a mean the columns of `criteria.best` too
Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Grid:
    """Learning rates, each with every number of epochs: one training gives all of a rate's, since a longer one begins alike."""

    rates: tuple[float, ...]
    epochs: tuple[int, ...]


_RATES = (3e-4, 1e-3, 3e-3, 1e-2)
_GRIDS = {
    "implicit": Grid(_RATES, (1, 2, 3, 4, 5, 6)),
    "random": Grid(_RATES, (2, 4, 8, 16, 32)),
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

    def at(self, rates: tuple[float, ...]) -> Self:
        """Return the same with these learning rates for every model that is trained from scratch."""
        return replace(self, grids={name: replace(grid, rates=rates) for name, grid in self.grids.items()})

    @property
    def trainings(self) -> int:
        """How many a seed has."""
        parents = self.grids["random_in_batch"]
        return sum(len(grid.rates) for grid in self.grids.values()) + len(parents.rates) * len(parents.epochs) + len(self.ratios)


class Sweep(TypedDict):
    """`rows` are means over the seeds, by which each model's was chosen; `per_seed` are each seed's, in the same order.

    `criteria` says by which figures, and in which role.
    """

    seeds: list[int]
    criteria: dict[str, dict[str, Any]]
    rows: list[Row]
    per_seed: list[list[Row]]


@dataclass(frozen=True, eq=False)
class _Tried:
    """One setting on every seed's world, in the seeds' order."""

    per_seed: list[Row]
    towers: list[TwoTowers]
    row: Row


# a setting on one seed's world
_Measured = tuple[Row, TwoTowers]


def sweep(seeds: Sequence[int], settings: SweepSettings | None = None, *, on_progress: OnProgress = silent) -> Sweep:
    """Run the sweep on a world of each seed; all of them, and all towers, are in memory until it ends.

    Raises:
        Refused: the log holds nothing to learn from.
    """
    how = settings or SweepSettings()
    worlds = experiment(seeds, replace(how.experiment, recipes=(), joinings=()), on_progress=on_progress)
    benches = [_Bench(how, world.data, world.seed, on_progress) for world in worlds]
    scratch = {name: _together([list(bench.from_scratch(name)) for bench in benches]) for name in how.grids}
    tuned = [_fine_tuned(benches, parent, "fine_tuned", PAPER_RATIO) for parent in scratch["random_in_batch"]]
    chosen: dict[str, _Tried] = {}

    def choose(name: str, tried: list[_Tried]) -> int:
        number = best([one.row for one in tried], CRITERIA[name], {model: one.row for model, one in chosen.items()})
        chosen[name] = tried[number]
        return number

    for name, tried in scratch.items():
        choose(name, tried)
    chosen["random_in_batch"] = scratch["random_in_batch"][choose("fine_tuned", tuned)]
    otherwise = [_fine_tuned(benches, chosen["random_in_batch"], "tuned_otherwise", ratio) for ratio in how.ratios]
    joinings = _joined(benches, {part: chosen[part] for part in ROOST.weights})
    choose(ROOST.name, joinings)
    for one in chosen.values():
        one.row["chosen"] = True
    every = [one for tried in (*scratch.values(), tuned, otherwise, joinings) for one in tried]
    return Sweep(
        seeds=list(seeds),
        criteria={name: {"figures": list(one.figures), "role": one.role} for name, one in CRITERIA.items()},
        rows=[one.row for one in every],
        per_seed=[[one.per_seed[number] for one in every] for number in range(len(benches))],
    )


def _fine_tuned(benches: "Sequence[_Bench]", parent: _Tried, name: str, ratio: float) -> _Tried:
    of_seed = zip(benches, parent.per_seed, parent.towers, strict=True)
    [tried] = _together([[bench.fine_tuned((row, towers), name, ratio)] for bench, row, towers in of_seed])
    return tried


def _joined(benches: "Sequence[_Bench]", parts: Mapping[str, _Tried]) -> list[_Tried]:
    of_seed = [{name: part.towers[number] for name, part in parts.items()} for number in range(len(benches))]
    rows = [list(bench.joined(towers)) for bench, towers in zip(benches, of_seed, strict=True)]
    return [_tried(list(of_setting), []) for of_setting in zip(*rows, strict=True)]


def _together(per_seed: Sequence[Sequence[_Measured]]) -> list[_Tried]:
    """Return each setting on all seeds, given each seed's settings in one order."""
    return [
        _tried([row for row, _ in of_setting], [towers for _, towers in of_setting]) for of_setting in zip(*per_seed, strict=True)
    ]


def _tried(per_seed: list[Row], towers: list[TwoTowers]) -> _Tried:
    found = {name: [row[name] for row in per_seed if row[name] is not None] for name in FIGURES}
    means = {name: float(np.mean(values)) if values else None for name, values in found.items()}
    return _Tried(per_seed, towers, {**per_seed[0], **means, "place": None, "in_role": None, "chosen": False})


@dataclass(frozen=True, eq=False)
class _Bench:
    """One world, on which settings are trained and measured."""

    how: SweepSettings
    data: Split
    seed: int
    on_progress: OnProgress

    def from_scratch(self, name: str) -> Iterator[_Measured]:
        """Yield a model at every rate, after each of its epochs that is asked for."""
        grid = self.how.grids[name]
        for rate in grid.rates:
            recipe = replace(_RECIPES[name], learning_rate=rate, epochs=max(grid.epochs))
            for epochs, towers in self._trained(recipe, grid.epochs, f"{name}, {rate:g}"):
                columns = {"model": name, "learning_rate": rate, "epochs": epochs}
                yield self._measured(TorchEmbedder(towers), columns), towers

    def fine_tuned(self, parent: _Measured, name: str, ratio: float) -> _Measured:
        """Return the parent fine-tuned at so much of its learning rate, as long as the paper does."""
        from_row, from_towers = parent
        of_parent = {f"parent_{key}": from_row[key] for key in ("learning_rate", "epochs")}
        rate = ratio * from_row["learning_rate"]
        recipe = replace(_RECIPES["fine_tuned"], learning_rate=rate)
        what = f"{name}, {rate:g} after {from_row['learning_rate']:g}, {from_row['epochs']}"
        [(epochs, towers)] = self._trained(recipe, (recipe.epochs,), what, from_towers)
        columns = {"model": name, **of_parent, "learning_rate": rate, "epochs": epochs}
        return self._measured(TorchEmbedder(towers), columns), towers

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
        return {**columns, **figures}
