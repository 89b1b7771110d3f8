"""One model of several, as the trainer's ensembles are: which models, with which weights. Trains no tower."""

from collections.abc import Mapping
from dataclasses import dataclass

from trainer.recipes import PARTS


@dataclass(frozen=True, slots=True)
class Joining:
    """An ensemble of models that have rows of their own.

    Attributes:
        name: the row's name in the tables.
        weights: by the name of the recipe; they add up to 1.
    """

    name: str
    weights: Mapping[str, float]


# chosen by `roost paper sweep`, reported on seeds that it had not seen
ROOST = Joining("roost", {part.name: part.weight for part in PARTS})
