"""One model of several: their vectors side by side, brought back to the dimension of one. Trains no tower."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lab.paper.evaluate import Split
from lab.paper.models.projection import Projection, fit_projection
from schemas.manifest import Metric
from trainer.evaluation import Embedder

_SAMPLE_ROWS = 8_000


@dataclass(frozen=True, slots=True)
class Joining:
    """A model whose cosines are, nearly, the weighted mean of other models' cosines, times one factor.

    Attributes:
        name: the row's name in the tables.
        weights: by the name of the recipe; they add up to 1.
    """

    name: str
    weights: Mapping[str, float]

    def __post_init__(self) -> None:
        """Refuse, with `ValueError`, weights under which vectors would not have length 1."""
        if abs(sum(self.weights.values()) - 1.0) > 1e-9 or min(self.weights.values()) <= 0.0:
            raise ValueError(f"the weights of {self.name} must be positive and add up to 1, not {dict(self.weights)}")


# Chosen on seed 2, reported on others. Served AUC needs the implicit model, which orders users and tweets by how much is engaged at
# all; languages need random negatives. Those in the batch are served tweets: they teach least of popularity, most of language.
ROOST = Joining("roost", {"implicit": 0.6, "random": 0.2, "random_in_batch": 0.2})


class JoinedModel:
    """Models side by side; a projection, if there is one, comes after."""

    metric: Metric = "cosine"

    def __init__(self, weights: Mapping[Embedder, float], projection: Projection | None = None) -> None:
        self._parts = [(np.float32(np.sqrt(weight)), model) for model, weight in weights.items()]
        self._projection = projection

    def embed_queries(self, ids: NDArray[np.integer]) -> NDArray[np.float32]:
        """See `trainer.evaluation.Embedder`."""
        vectors = np.concatenate([root * model.embed_queries(ids) for root, model in self._parts], axis=1)
        return self._projection.queries(vectors) if self._projection else vectors

    def embed_candidates(self, ids: NDArray[np.integer]) -> NDArray[np.float32]:
        """See `trainer.evaluation.Embedder`."""
        vectors = np.concatenate([root * model.embed_candidates(ids) for root, model in self._parts], axis=1)
        return self._projection.candidates(vectors) if self._projection else vectors


def join(weights: Mapping[Embedder, float], data: Split, *, dim: int, seed: int) -> JoinedModel:
    """Return the models joined, in `dim` dimensions; the projection is fitted to samples of the training queries and corpus."""
    whole = JoinedModel(weights)
    rng = np.random.default_rng(seed)
    queries, candidates = (
        ids[rng.choice(len(ids), min(len(ids), _SAMPLE_ROWS), replace=False)]
        for ids in (data.train.queries.ids, data.train_corpus.candidate_ids)
    )
    return JoinedModel(weights, fit_projection(whole.embed_queries(queries), whole.embed_candidates(candidates), dim))
