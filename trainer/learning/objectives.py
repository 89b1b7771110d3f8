"""Objectives: a loss with its negatives, bound to data, yields batches and their loss. Steps no optimiser."""

import json
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from schemas.errors import Refused
from trainer.data.columns import POSITIVE, Corpus, Examples
from trainer.learning.losses import cross_entropy, pointwise_cross_entropy, popularity_weight, sampled_softmax, triplet
from trainer.learning.negatives import Negatives, Sampler
from trainer.learning.ranks import SharedTowers
from trainer.learning.similarity import with_own, with_several, with_shared
from trainer.learning.towers import TwoTowers

Loss = Literal["cross_entropy", "triplet", "sampled_softmax"]

_CALIBRATION_ROWS = 512
_BIAS_BOUND = 40.0


@dataclass(frozen=True, slots=True)
class Objective:
    """What the towers are pulled towards. Cross-entropy on implicit negatives reads served pairs with their labels (section 6.1.1).

    Attributes:
        weight: share in the sum of all objectives' losses.
        scale: the first factor of the similarity inside a sigmoid or softmax (an inverse temperature); it is trained.
        margin: of the triplet loss.
        popularity_t: t of the popularity weight on negatives (section 5.3); None weighs all alike.
    """

    loss: Loss = "cross_entropy"
    negatives: Negatives = field(default_factory=Negatives)
    weight: float = 1.0
    scale: float = 10.0
    margin: float = 0.3
    popularity_t: float | None = None

    def __post_init__(self) -> None:
        """Refuse, with `ValueError`, a loss that does not exist."""
        if self.loss not in get_args(Loss):
            raise ValueError(f"there is no loss {self.loss!r}; choose one of {', '.join(get_args(Loss))}")

    @property
    def is_pointwise(self) -> bool:
        """Each served pair is an example by itself; else each positive is set against negatives."""
        return self.loss == "cross_entropy" and self.negatives.kind == "implicit"

    def rows(self, examples: Examples) -> NDArray[np.int64]:
        """Return the rows of the examples that are gone through."""
        return examples.implicit if self.is_pointwise else examples.positives


@dataclass(frozen=True, slots=True)
class _Scored:
    """Similarities of a batch: with its own candidates [batch], with its negatives [batch, negatives] and their weights."""

    own: Tensor
    negative: Tensor | None = None
    weight: Tensor | None = None
    log_q: Tensor | None = None


class Task(nn.Module):
    """An objective bound to its data. Its parameters are the trained scale and bias, which stay in the trainer.

    Its state is these, the order of the round that is under way and the place in it, and the generator's.
    """

    def __init__(
        self, objective: Objective, examples: Examples, corpus: Corpus, *, batch_size: int, rng: np.random.Generator
    ) -> None:
        """Bind.

        Raises:
            Refused: no positive, only positives where served pairs are read with their labels, or no negatives to draw.
        """
        super().__init__()
        self.objective = objective
        self._examples = examples
        self._batch_size = batch_size
        self._rng = rng
        self.rows = objective.rows(examples)
        positives = len(examples.positives)
        if not positives or (objective.is_pointwise and positives == len(self.rows)):
            raise Refused(
                f"{len(self.rows)} examples with {positives} positives: training needs both classes; "
                "wait for engagements and for impressions without one"
            )
        self._base_rate = positives / len(self.rows)
        self._sampler = None if objective.is_pointwise else Sampler(objective.negatives, examples, corpus)
        self._order, self._begin = np.empty(0, np.int64), 0
        self.scale = nn.Parameter(torch.tensor(objective.scale))
        self.bias = nn.Parameter(torch.tensor(0.0))

    def next_rows(self) -> NDArray[np.int64]:
        """Return the rows of the examples that make the next batch; each time round they come in a new order."""
        if self._begin >= len(self._order):
            self._order, self._begin = self._rng.permutation(self.rows), 0
        rows = self._order[self._begin : self._begin + self._batch_size]
        self._begin += self._batch_size
        return rows

    def get_extra_state(self) -> dict[str, Any]:
        """Return what `state_dict` holds beside the parameters; the generator as text, since its numbers have 128 bits."""
        generator = json.dumps(self._rng.bit_generator.state)
        return {"generator": generator, "order": torch.from_numpy(self._order), "begin": self._begin}

    def set_extra_state(self, state: dict[str, Any]) -> None:
        """Take up what `get_extra_state` returned."""
        self._rng.bit_generator.state = json.loads(state["generator"])
        self._order, self._begin = state["order"].numpy(), state["begin"]

    @torch.no_grad()
    def calibrate(self, towers: TwoTowers) -> None:
        """Begin with the bias at which the towers, as they are, predict the base rate.

        Otherwise the first steps shift every similarity to get there, and a fine-tune forgets before it has learned anything.
        """
        scored = self._score(towers, self._rng.choice(self.rows, size=min(len(self.rows), _CALIBRATION_ROWS), replace=False))
        similarities, weight, rate = scored.own, torch.ones_like(scored.own), self._base_rate
        if scored.negative is not None and scored.weight is not None:
            similarities = torch.cat([scored.own, scored.negative.flatten()])
            weight = torch.cat([weight, scored.weight.flatten()])
            rate = float(len(scored.own) / weight.sum())
        low, high = -_BIAS_BOUND, _BIAS_BOUND
        for _ in range(40):
            middle = (low + high) / 2
            predicted = float((weight * torch.sigmoid(self.scale * similarities + middle)).sum() / weight.sum())
            low, high = (low, middle) if predicted > rate else (middle, high)
        self.bias.fill_((low + high) / 2)

    def loss(self, towers: TwoTowers | SharedTowers, rows: NDArray[np.int64]) -> Tensor:
        """Return the loss of one batch, a scalar to differentiate."""
        scored, objective = self._score(towers, rows), self.objective
        if scored.negative is None or scored.weight is None or scored.log_q is None:
            labels = torch.from_numpy((self._examples.labels[rows] == POSITIVE).astype(np.float32))
            weight = torch.ones_like(labels)
            if objective.popularity_t is not None:
                popularity = torch.from_numpy(self._examples.popularity[rows]).to(torch.float32)
                weight = torch.where(labels > 0, weight, popularity_weight(popularity, objective.popularity_t))
            return pointwise_cross_entropy(scored.own, labels, scale=self.scale, bias=self.bias, weight=weight)
        if objective.loss == "cross_entropy":
            return cross_entropy(scored.own, scored.negative, scale=self.scale, bias=self.bias, weight=scored.weight)
        if objective.loss == "triplet":
            return triplet(scored.own, scored.negative, margin=objective.margin, weight=scored.weight)
        own_log_q = np.zeros(len(rows), np.float32) if self._sampler is None else self._sampler.log_q(self._examples.items[rows])
        return sampled_softmax(
            scored.own,
            scored.negative,
            scale=self.scale,
            log_q_positive=torch.from_numpy(own_log_q),
            log_q_negative=scored.log_q,
            weight=scored.weight,
        )

    def _score(self, towers: TwoTowers | SharedTowers, rows: NDArray[np.int64]) -> _Scored:
        examples, metric = self._examples, towers.config.metric
        queries = towers.embed_queries(torch.from_numpy(examples.queries.ids[examples.query[rows]]))
        own = towers.embed_candidates(torch.from_numpy(examples.candidate_ids[rows]))
        positive = with_own(queries, own, metric)
        if self._sampler is None:
            return _Scored(positive)
        draw = self._sampler.draw(rows, self._rng)
        # shared: [rows] broadcasts to [batch, rows]; else the rows are laid out [batch, negatives]
        shape = (1, -1) if draw.shared else draw.valid.shape
        vectors = towers.embed_candidates(torch.from_numpy(draw.candidate_ids))
        if not draw.shared:
            vectors = vectors.view(*shape, -1)
        negative = (with_shared if draw.shared else with_several)(queries, vectors, metric)
        weight = torch.from_numpy(draw.valid).to(torch.float32)
        if self.objective.popularity_t is not None:
            popularity = torch.from_numpy(draw.popularity).to(torch.float32).view(shape)
            weight = weight * popularity_weight(popularity, self.objective.popularity_t)
        return _Scored(positive, negative, weight, torch.from_numpy(draw.log_q).view(shape))
