"""The row of an ensemble is of the trainer's own."""

from lab.paper.models.joined import ROOST
from lab.paper.models.recipes import PAPER
from trainer.recipes import EnsembleConfig


def test_what_the_tables_report_is_what_the_trainer_trains() -> None:
    """Its parts are rows of their own there: a recipe that was changed in one place only would be reported and not shipped."""
    rows = {recipe.name: (recipe.objectives, recipe.learning_rate, recipe.epochs, recipe.batch_size) for recipe in PAPER}
    parts = {part.name: part for part in EnsembleConfig().fit.parts}
    assert ROOST.weights == {name: part.weight for name, part in parts.items()}
    for name, part in parts.items():
        assert (part.fit.objectives, part.fit.learning_rate, part.fit.epochs, part.fit.batch_size) == rows[name]
