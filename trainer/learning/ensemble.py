"""Several pairs of towers as one: their vectors side by side, weighted, brought back to the dimension of one pair. Fits no tower.

Its cosines are, nearly, the weighted mean of its parts' cosines, times one factor. The projection gives vectors of other lengths
than 1, and an index of unit vectors would rank by direction alone: two of the dimensions, one of each side only, take up what is
missing to 1 and leave every inner product as it is.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from schemas.errors import BundleMismatch
from schemas.features.spec import FeatureSpec, Side
from schemas.manifest import INDEXED_METRIC, Metric
from trainer.data.columns import Corpus, Examples
from trainer.learning.projection import fit_projection
from trainer.learning.towers import TorchEmbedder, TowerConfig, TwoTowers, arrays_of, load_arrays

_COMPLEMENTS = 2
# nearer to 1 the root of what is missing would be one of rounding errors
_LONGEST = 0.99
_SAMPLE_ROWS = 8_000


@dataclass(frozen=True, slots=True)
class EnsembleShape:
    """The shape of an ensemble.

    Attributes:
        towers: of each of its parts.
        parts: how many there are.
        dim: of its own vectors.
    """

    towers: TowerConfig
    parts: int
    dim: int

    def __post_init__(self) -> None:
        """Refuse, with `ValueError`, parts whose vectors are not of length 1."""
        if self.towers.metric != INDEXED_METRIC:
            raise ValueError(f"parts of an ensemble compare vectors by {INDEXED_METRIC}, not by {self.towers.metric}")

    @property
    def metric(self) -> Metric:
        """How vectors are compared."""
        return self.towers.metric

    def to_json(self) -> dict[str, Any]:
        """Return the shape as plain JSON data."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "EnsembleShape":
        """Build from `to_json` data; raises `BundleMismatch` for what this build does not know."""
        try:
            return cls(**{**data, "towers": TowerConfig.from_json(data["towers"])})
        except (TypeError, KeyError, ValueError) as error:
            raise BundleMismatch(f"the ensemble's shape cannot be read ({error}); use the release that wrote it") from error


def check_weights(weights: Sequence[float]) -> None:
    """Raise `ValueError` for weights under which the parts' vectors side by side would not have length 1."""
    if abs(sum(weights) - 1.0) > 1e-9 or min(weights, default=0.0) <= 0.0:
        raise ValueError(f"the weights of an ensemble's parts must be positive and add up to 1, not {list(weights)}")


class Head(nn.Module):
    """One side's last layer: the parts' vectors to one of length 1."""

    matrix: Tensor

    def __init__(self, side: Side, columns: int, dim: int) -> None:
        """Lay out; the matrix is zero until the ensemble is joined."""
        super().__init__()
        self._first = side == "query"
        self.register_buffer("matrix", torch.zeros(columns, dim - _COMPLEMENTS))

    def forward(self, vectors: Sequence[Tensor]) -> Tensor:
        """Return vectors of length 1, float32 [batch, dim], of each part's, float32 [batch, part's dim]."""
        projected = torch.cat(list(vectors), dim=1) @ self.matrix
        inside = projected / (projected.norm(dim=1, keepdim=True) / _LONGEST).clamp(min=1.0)
        missing = torch.sqrt(1.0 - (inside * inside).sum(dim=1, keepdim=True))
        none = torch.zeros_like(missing)
        return torch.cat([inside, missing, none] if self._first else [inside, none, missing], dim=1)


class Ensemble(nn.Module):
    """The parts, and a head for each side."""

    def __init__(self, parts: Sequence[TwoTowers], dim: int) -> None:
        """Put pairs of towers of one feature spec and one shape together; `join` makes the heads."""
        super().__init__()
        self.spec = parts[0].spec
        self.config = EnsembleShape(parts[0].config, len(parts), dim)
        self.parts: Sequence[TwoTowers] = nn.ModuleList(parts)  # type: ignore[assignment]  # which is no Sequence to mypy
        columns = len(parts) * self.config.towers.dim
        self.query = Head("query", columns, dim)
        self.candidate = Head("candidate", columns, dim)

    @classmethod
    def untrained(cls, spec: FeatureSpec, shape: EnsembleShape, *, seed: int) -> Self:
        """Return one whose parts' weights are drawn from `seed` and those that follow."""
        return cls([TwoTowers(spec, shape.towers, seed=seed + number) for number in range(shape.parts)], shape.dim)

    def embed_queries(self, ids: Tensor) -> Tensor:
        """Return vectors, float32 [batch, dim], of query ids, integers [batch, query width]."""
        vectors: Tensor = self.query([part.embed_queries(ids) for part in self.parts])
        return vectors

    def embed_candidates(self, ids: Tensor) -> Tensor:
        """Return vectors, float32 [batch, dim], of candidate ids, integers [batch, candidate width]."""
        vectors: Tensor = self.candidate([part.embed_candidates(ids) for part in self.parts])
        return vectors

    def for_index(self, ids: Tensor, side: Side) -> Tensor:
        """Return the vectors that an index holds, float32 [batch, dim]: the same."""
        return self.embed_queries(ids) if side == "query" else self.embed_candidates(ids)

    def weights(self) -> dict[str, NDArray[np.float32]]:
        """Return copies of all weights by name, the heads' too."""
        return arrays_of(self)

    def load_weights(self, weights: Mapping[str, NDArray[np.float32]]) -> None:
        """Take over weights; raises `BundleMismatch` when names or shapes are another shape's."""
        load_arrays(self, weights, what=f"an ensemble of feature spec {self.spec.name!r} and {self.config}")

    @torch.no_grad()
    def join(self, weights: Sequence[float], examples: Examples, corpus: Corpus, *, seed: int) -> None:
        """Make the heads of fitted parts; errors are those of `check_weights`.

        Args:
            weights: of the parts' cosines, positive; they add up to 1.
            examples, corpus: samples of whose queries and candidates the projection is fitted to.
        """
        check_weights(weights)
        rng = np.random.default_rng(seed)
        queries, candidates = (
            ids[rng.choice(len(ids), min(len(ids), _SAMPLE_ROWS), replace=False)]
            for ids in (examples.queries.ids, corpus.candidate_ids)
        )
        embedders = [TorchEmbedder(part) for part in self.parts]
        columns = np.repeat(np.sqrt(np.array(weights, np.float32)), self.config.towers.dim)[:, None]
        query, candidate = fit_projection(
            columns.T * np.concatenate([one.embed_queries(queries) for one in embedders], axis=1),
            columns.T * np.concatenate([one.embed_candidates(candidates) for one in embedders], axis=1),
            self.config.dim - _COMPLEMENTS,
        )
        self.query.matrix.copy_(torch.from_numpy(columns * query))
        self.candidate.matrix.copy_(torch.from_numpy(columns * candidate))


# what a bundle's weights are of
Tunable = TwoTowers | Ensemble


def untrained(spec: FeatureSpec, shape: TowerConfig | EnsembleShape, *, seed: int) -> Tunable:
    """Return towers, or an ensemble of them, with weights drawn from `seed`."""
    return Ensemble.untrained(spec, shape, seed=seed) if isinstance(shape, EnsembleShape) else TwoTowers(spec, shape, seed=seed)
