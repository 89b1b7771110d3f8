"""What a kept sweep chose, as the settings of an experiment. Trains nothing."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from lab.paper.experiment import ExperimentSettings
from lab.paper.models.joined import ROOST, Joining


def with_chosen(settings: ExperimentSettings, sweep: Mapping[str, Any]) -> ExperimentSettings:
    """Return the settings with the learning rates, epochs and weights that a sweep chose; the rest stays.

    The chosen in-batch model is the chosen fine-tune's parent, as it is here.
    """
    rows = {row["model"]: row for row in sweep["rows"] if row["chosen"]}
    recipes = tuple(
        replace(recipe, learning_rate=rows[recipe.name]["learning_rate"], epochs=rows[recipe.name]["epochs"])
        for recipe in settings.recipes
    )
    return replace(settings, recipes=recipes, joinings=(Joining(ROOST.name, rows[ROOST.name]["weights"]),))
