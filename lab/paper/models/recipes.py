"""The paper's models as recipes for the product's trainer (section 6). Evaluates nothing."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from lab.paper.evaluate import Split
from schemas.features.spec import FeatureSpec
from schemas.manifest import Metric
from trainer.learning.fit import FitConfig, FitProgress, fit
from trainer.learning.negatives import Negatives
from trainer.learning.objectives import Objective
from trainer.learning.towers import TowerConfig, TwoTowers

_CHUNK_ROWS = 8_192

OnProgress = Callable[[FitProgress], None]

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
    learning_rate: float = 1e-3
    epochs: int = 2
    batch_size: int = 256
    parent: str | None = None


# a fine-tune takes one tenth of the learning rate and one epoch (section 6.2)
PAPER = (
    Recipe("implicit", (IMPLICIT,), epochs=3),
    Recipe("random", (UNIFORM,), epochs=16),
    Recipe("random_in_batch", (IN_BATCH,), epochs=12),
    Recipe("fine_tuned", (IMPLICIT,), learning_rate=1e-4, epochs=1, batch_size=512, parent="random_in_batch"),
)


class TorchModel:
    """Towers as a model to evaluate: in pieces, without gradients."""

    def __init__(self, towers: TwoTowers) -> None:
        self.towers = towers

    @property
    def metric(self) -> Metric:
        """See `trainer.evaluation.Embedder`."""
        return self.towers.config.metric

    def embed_queries(self, ids: NDArray[np.integer]) -> NDArray[np.float32]:
        """See `trainer.evaluation.Embedder`."""
        return _embed(self.towers.embed_queries, ids, self.towers.config.dim)

    def embed_candidates(self, ids: NDArray[np.integer]) -> NDArray[np.float32]:
        """See `trainer.evaluation.Embedder`."""
        return _embed(self.towers.embed_candidates, ids, self.towers.config.dim)


def train(
    recipe: Recipe,
    data: Split,
    *,
    spec: FeatureSpec,
    config: TowerConfig,
    seed: int,
    parent: TwoTowers | None = None,
    on_progress: OnProgress = lambda _: None,
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
    fit(towers, data.train, data.train_corpus, how, progress=on_progress)
    return towers


def _embed(tower: Callable[[torch.Tensor], torch.Tensor], ids: NDArray[np.integer], dim: int) -> NDArray[np.float32]:
    vectors = np.empty((len(ids), dim), np.float32)
    with torch.no_grad():
        for start in range(0, len(ids), _CHUNK_ROWS):
            part = slice(start, start + _CHUNK_ROWS)
            vectors[part] = tower(torch.from_numpy(ids[part])).numpy()
    return vectors
