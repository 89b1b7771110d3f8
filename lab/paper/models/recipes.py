"""The paper's models as recipes for the product's trainer (section 6). Evaluates nothing."""

from collections.abc import Callable
from dataclasses import dataclass

from lab.paper.evaluate import Split
from schemas.features.spec import FeatureSpec
from trainer.learning.fit import FitConfig, FitProgress, fit
from trainer.learning.negatives import Negatives
from trainer.learning.objectives import Objective
from trainer.learning.towers import TowerConfig, TwoTowers
from trainer.recipes import LEARNING_RATE

OnProgress = Callable[[FitProgress], None]
# told: how many epochs are done, and the towers, which go on being trained
OnEpoch = Callable[[int, TwoTowers], None]

IMPLICIT = Objective(negatives=Negatives("implicit", 1))
IN_BATCH = Objective(negatives=Negatives("in_batch"))
UNIFORM = Objective(negatives=Negatives("uniform", 256))


@dataclass(frozen=True, slots=True)
class Recipe:
    """How a model is trained: from scratch, or from the weights of another recipe's model.

    Attributes:
        name: the row's name in the tables.
        objectives: what the towers are pulled towards.
        learning_rate, epochs, batch_size: of the fit.
        parent: the name of the recipe whose model it starts from; None from scratch.
    """

    name: str
    objectives: tuple[Objective, ...]
    learning_rate: float = LEARNING_RATE
    epochs: int = 2
    batch_size: int = 256
    parent: str | None = None


# a fine-tune takes one tenth of the learning rate and one epoch (section 6.2)
PAPER = (
    Recipe("implicit", (IMPLICIT,), epochs=4),
    Recipe("random", (UNIFORM,), epochs=8),
    Recipe("random_in_batch", (IN_BATCH,), epochs=6),
    Recipe("fine_tuned", (IMPLICIT,), learning_rate=LEARNING_RATE / 10, epochs=1, batch_size=512, parent="random_in_batch"),
)


def train(
    recipe: Recipe,
    data: Split,
    *,
    spec: FeatureSpec,
    config: TowerConfig,
    seed: int,
    parent: TwoTowers | None = None,
    on_progress: OnProgress = lambda _: None,
    on_epoch: OnEpoch = lambda _epochs, _towers: None,
) -> TwoTowers:
    """Train one model on a split's training examples; the parent stays as it is."""
    towers = TwoTowers(spec, config, seed=seed)
    if parent is not None:
        towers.load_weights(parent.weights())
    how = FitConfig(
        objectives=recipe.objectives,
        learning_rate=recipe.learning_rate,
        epochs=recipe.epochs,
        batch_size=recipe.batch_size,
        seed=seed,
    )

    def stepped(at: FitProgress) -> None:
        epochs, rest = divmod(at.step * recipe.epochs, at.steps)
        if not rest:
            on_epoch(epochs, towers)

    fit(towers, data.train, data.train_corpus, how, progress=on_progress, on_step=stepped)
    return towers
