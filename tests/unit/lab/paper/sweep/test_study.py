"""The sweep on two small worlds: every setting is there once, trained as it says, and each model has one that is chosen."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from lab.paper.evaluate import Split, split
from lab.paper.experiment import ExperimentSettings
from lab.paper.models.recipes import PAPER, OnEpoch, Recipe, train
from lab.paper.shown import tables
from lab.paper.sweep.chosen import with_chosen
from lab.paper.sweep.criteria import CRITERIA, best
from lab.paper.sweep.study import Grid, Sweep, SweepSettings, sweep
from lab.paper.table1 import FIGURES, table1
from lab.world import WorldSettings, simulate
from trainer.learning.towers import TowerConfig, TwoTowers

EXPERIMENT = ExperimentSettings(
    world=WorldSettings(users=250, authors=60, tweets_per_day=200, languages=5),
    days=3.5,
    test_users=100,
    towers=TowerConfig(dim=16, embedding_dim=8, hidden=(16,)),
)
SEEDS = [4, 6]
SETTINGS = SweepSettings(
    EXPERIMENT,
    grids={
        "implicit": Grid((1e-3, 1e-2), (1, 2)),
        "random": Grid((1e-3, 1e-2), (1,)),
        "random_in_batch": Grid((1e-3, 1e-2), (1, 2)),
    },
    ratios=(0.3,),
    weight_steps=4,
)


@pytest.fixture(scope="module")
def told() -> list[tuple[int, str]]:
    """What is trained, as it is told."""
    return []


@pytest.fixture(scope="module")
def swept(told: list[tuple[int, str]]) -> Sweep:
    """The sweep of both seeds."""
    return sweep(SEEDS, SETTINGS, on_progress=lambda seed, what, _progress: told.append((seed, what)))


def test_every_setting_of_every_model_has_a_row_and_one_is_chosen(swept: Sweep) -> None:
    """The contract of `roost paper sweep --json`. Three parts share four quarters of the weight in three ways."""
    assert swept["seeds"] == SEEDS
    assert Counter(row["model"] for row in swept["rows"]) == {
        "implicit": 4,
        "random": 2,
        "random_in_batch": 4,
        "fine_tuned": 4,
        "tuned_otherwise": 1,
        "roost": 3,
    }
    chosen = Counter(row["model"] for row in swept["rows"] if row["chosen"])
    assert chosen == dict.fromkeys(("implicit", "random", "random_in_batch", "fine_tuned", "roost"), 1)
    assert swept["criteria"].keys() == chosen.keys()
    assert json.loads(json.dumps(swept, allow_nan=False)) == swept
    header, rows = tables.sweep(swept)
    assert {len(row) for row in rows} == {len(header)}


def test_a_fine_tune_is_at_a_tenth_of_its_parents_rate_and_its_parent_is_chosen_by_it(swept: Sweep) -> None:
    """The paper's rule is no setting; what it is tuned from is."""
    tuned = [row for row in swept["rows"] if row["model"] == "fine_tuned"]
    assert [row["learning_rate"] for row in tuned] == pytest.approx([row["parent_learning_rate"] / 10 for row in tuned])
    assert {row["epochs"] for row in tuned} == {1}
    best, parent = (
        next(row for row in swept["rows"] if row["model"] == name and row["chosen"]) for name in ("fine_tuned", "random_in_batch")
    )
    assert (best["parent_learning_rate"], best["parent_epochs"]) == (parent["learning_rate"], parent["epochs"])


def test_table_1_of_the_chosen_settings_measures_on_the_same_worlds_what_the_sweep_measured(swept: Sweep) -> None:
    """`roost paper table1 --swept`: a setting left out on the way would put other baselines beside `roost` than the chosen."""
    table = table1(SEEDS, with_chosen(EXPERIMENT, swept))
    numbers = [number for number, row in enumerate(swept["rows"]) if row["chosen"]]
    for rows, found in ((table["rows"], swept["rows"]), *zip(table["per_seed"], swept["per_seed"], strict=True)):
        assert _figures(rows) == _figures([found[number] for number in numbers])


def _figures(rows: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, float | None]]:
    return {row["model"]: {name: row[name] for name in FIGURES} for row in rows}


def test_a_setting_is_chosen_by_its_means_over_the_seeds(swept: Sweep) -> None:
    """What is best on one seed is partly chance. These two would each choose another random model, so neither chose alone."""
    by_hand = [
        {**rows[0], **{name: np.mean([row[name] for row in rows]) for name in CRITERIA["random"].figures}}
        for rows in zip(*swept["per_seed"], strict=True)
        if rows[0]["model"] == "random"
    ]
    found = [row for row in swept["rows"] if row["model"] == "random"]
    assert [row["chosen"] for row in found].index(True) == best(by_hand, CRITERIA["random"], {})
    assert [row["place"] for row in found] == [row["place"] for row in by_hand]
    alone = [[{**row} for row in rows if row["model"] == "random"] for rows in swept["per_seed"]]
    assert {best(rows, CRITERIA["random"], {}) for rows in alone} == {0, 1}


def test_every_training_is_told_of(swept: Sweep, told: list[tuple[int, str]]) -> None:
    """The bar ends with the last training, not before and not after."""
    trainings = Counter(seed for seed, what in set(told) if what != "world")
    assert trainings == dict.fromkeys(swept["seeds"], SETTINGS.trainings)


def test_the_rates_that_are_asked_for_take_the_place_of_every_model_s() -> None:
    """A sweep of one rate over several seeds costs what the whole grid costs on one."""
    narrowed = SETTINGS.at((5e-3,))
    assert narrowed.grids == {name: Grid((5e-3,), grid.epochs) for name, grid in SETTINGS.grids.items()}


@pytest.fixture(scope="module")
def data() -> Split:
    """A split of the small world."""
    return split(simulate(replace(EXPERIMENT.world, seed=1), EXPERIMENT.days, test_users=5), EXPERIMENT.spec, seed=1)


@pytest.mark.parametrize("recipe", PAPER[:3], ids=lambda recipe: recipe.name)
def test_a_training_s_first_epochs_are_a_shorter_training(recipe: Recipe, data: Split) -> None:
    """A rate is trained once, for the longest of its epochs: were the rest different, the shorter settings would be nobody's."""
    passed: dict[int, dict[str, NDArray[np.float32]]] = {}

    def ended(epoch: int, towers: TwoTowers) -> None:
        passed[epoch] = towers.weights()

    def trained(epochs: int, on_epoch: OnEpoch = lambda _epochs, _towers: None) -> dict[str, NDArray[np.float32]]:
        of = replace(recipe, epochs=epochs)
        return train(of, data, spec=EXPERIMENT.spec, config=EXPERIMENT.towers, seed=1, on_epoch=on_epoch).weights()

    whole, short = trained(2, ended), trained(1)
    assert passed.keys() == {1, 2}
    for epochs, weights in ((1, short), (2, whole)):
        assert all(np.array_equal(passed[epochs][name], weights[name]) for name in weights), epochs
