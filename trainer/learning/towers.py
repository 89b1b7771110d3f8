"""The two towers, built from a feature spec alone. Knows no loss, no data set and no file.

Both read integer ids, average each field's embeddings, and map the concatenation to a vector in the metric's space: under cosine of
length 1 (paper, section 4.2). All embedding tables are one matrix: one lookup a batch instead of one a field, and fields that name
the same table share its rows by construction.
"""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from itertools import accumulate, pairwise
from typing import Any, Literal, Protocol, Self

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812  the name every torch reader knows
from numpy.typing import NDArray
from torch import Tensor, nn

from schemas.errors import BundleMismatch
from schemas.features.spec import FeatureSpec, Field, Side
from schemas.manifest import Metric
from trainer.learning.similarity import INDEX_DIMENSIONS, for_index, in_space

PADDING_ROW = 0
_CHUNK_ROWS = 8_192
# untrained rows (an author never seen) must not drown what was learned of the others
_INITIAL_STD = 0.05

Frozen = Literal["nothing", "embeddings", "all_but_last"]
"""Which weights a fit leaves alone: none, the embedding matrix, or all but both towers' last layers."""


@dataclass(frozen=True, slots=True)
class TowerConfig:
    """The shape of both towers.

    Attributes:
        dim: dimension of the vectors as they are trained.
        embedding_dim: dimension of one id's embedding.
        hidden: widths of the hidden layers, first to last.
        metric: how vectors are compared; cosine towers yield vectors of length 1, others of length below 1.
        sparse_gradients: touch only the rows a batch names; wins once tables are far larger than what a batch reads.
    """

    dim: int = 64
    embedding_dim: int = 16
    hidden: tuple[int, ...] = (128,)
    metric: Metric = "cosine"
    sparse_gradients: bool = False

    @property
    def served_dim(self) -> int:
        """Dimension of the vectors that an index holds."""
        return self.dim + INDEX_DIMENSIONS[self.metric]

    def of_served_dim(self, dim: int) -> Self:
        """Return the same shape for an index of `dim` dimensions."""
        return replace(self, dim=dim - INDEX_DIMENSIONS[self.metric])

    def to_json(self) -> dict[str, Any]:
        """Return the configuration as plain JSON data."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "TowerConfig":
        """Build from `to_json` data; raises `BundleMismatch` for keys this build does not know."""
        try:
            return cls(**{**data, "hidden": tuple(int(width) for width in data["hidden"])})
        except (TypeError, KeyError, ValueError) as error:
            raise BundleMismatch(f"the tower configuration cannot be read ({error}); use the release that wrote it") from error


class Tower(nn.Module):
    """One side: ids [batch, width] to vectors [batch, dim]. The embedding matrix is passed in, since both sides share it."""

    columns: Tensor
    membership: Tensor
    starts: Tensor

    def __init__(self, fields: tuple[Field, ...], first_row: Mapping[str, int], config: TowerConfig) -> None:
        """Lay out the fields' columns.

        Args:
            first_row: by table, the row before that of id 1: id i of table t is row `first_row[t] + i`.
        """
        super().__init__()
        slots = [field.slots for field in fields]
        self.width = sum(slots)
        self._sparse = config.sparse_gradients
        self._metric = config.metric
        self.register_buffer(
            "columns", torch.tensor([first_row[f.table_name] for f in fields for _ in range(f.slots)]), persistent=False
        )
        # which field each column belongs to, one row a field
        membership = torch.repeat_interleave(torch.eye(len(fields)), torch.tensor(slots), dim=1)
        self.register_buffer("membership", membership, persistent=False)
        self.register_buffer("starts", torch.tensor([0, *accumulate(slots[:-1])]), persistent=False)
        widths = (len(fields) * config.embedding_dim, *config.hidden, config.dim)
        # skip_init: a layer's own initialisation would draw from torch's global generator
        linear: list[nn.Linear] = [nn.utils.skip_init(nn.Linear, a, b) for a, b in pairwise(widths)]  # type: ignore[no-untyped-call]
        layers: list[nn.Module] = [linear[0]]
        for layer in linear[1:]:
            layers += [nn.ReLU(), layer]
        self.layers = nn.Sequential(*layers)

    def forward(self, ids: Tensor, table: Tensor) -> Tensor:
        """Return vectors, float32 [batch, dim], of ids, integers [batch, width]."""
        return in_space(self.raw(ids, table), self._metric)

    def raw(self, ids: Tensor, table: Tensor) -> Tensor:
        """Return what the last layer gives, float32 [batch, dim], before the metric's space; padding counts in no mean."""
        rows = self._rows(ids)
        bags = torch.arange(len(ids)).unsqueeze(1) * self.width + self.starts
        means = F.embedding_bag(rows.flatten(), table, bags.flatten(), mode="mean", padding_idx=PADDING_ROW, sparse=self._sparse)
        return self._through_layers(means.view(len(ids), -1))

    def raw_by_operators(self, ids: Tensor, table: Tensor) -> Tensor:
        """Return the same by operators that ONNX has: embedding bags have none."""
        present = (ids > 0).to(table.dtype)
        sums = torch.matmul(self.membership, F.embedding(self._rows(ids), table))
        counts = torch.matmul(present, self.membership.T).clamp(min=1.0)
        return self._through_layers((sums / counts.unsqueeze(-1)).flatten(1))

    def _rows(self, ids: Tensor) -> Tensor:
        return torch.where(ids > 0, ids + self.columns, PADDING_ROW)

    def _through_layers(self, concatenated: Tensor) -> Tensor:
        vector: Tensor = self.layers(concatenated)
        return vector


class TwoTowers(nn.Module):
    """Query and candidate tower over one embedding matrix."""

    def __init__(self, spec: FeatureSpec, config: TowerConfig, *, seed: int) -> None:
        """Build with weights drawn from `seed`; torch's global generator is left alone."""
        super().__init__()
        self.spec = spec
        self.config = config
        tables = spec.tables()
        first_row = dict(zip(tables, accumulate(tables.values(), initial=0), strict=False))
        self.table = nn.Parameter(torch.empty(1 + sum(tables.values()), config.embedding_dim))
        self.query = Tower(spec.query, first_row, config)
        self.candidate = Tower(spec.candidate, first_row, config)
        self._draw_weights(torch.Generator().manual_seed(seed))

    def embed_queries(self, ids: Tensor) -> Tensor:
        """Return vectors, float32 [batch, dim], of query ids, integers [batch, query width]."""
        vectors: Tensor = self.query(ids, self.table)
        return vectors

    def embed_candidates(self, ids: Tensor) -> Tensor:
        """Return vectors, float32 [batch, dim], of candidate ids, integers [batch, candidate width]."""
        vectors: Tensor = self.candidate(ids, self.table)
        return vectors

    def for_index(self, ids: Tensor, side: Side) -> Tensor:
        """Return the vectors that an index holds, float32 [batch, `TowerConfig.served_dim`], of either side's ids."""
        tower = self.query if side == "query" else self.candidate
        return for_index(tower.raw(ids, self.table), self.config.metric, side)

    def weights(self) -> dict[str, NDArray[np.float32]]:
        """Return copies of all weights by name."""
        return arrays_of(self)

    def load_weights(self, weights: Mapping[str, NDArray[np.float32]]) -> None:
        """Take over weights; raises `BundleMismatch` when names or shapes are another architecture's."""
        described = f"dimension {self.config.dim}, embeddings of {self.config.embedding_dim}, hidden layers {self.config.hidden}"
        load_arrays(self, weights, what=f"towers with {described} and feature spec {self.spec.name!r}")

    def freeze(self, frozen: Frozen) -> None:
        """Leave a part of the weights as they are in further training (paper, section 6); "nothing" frees all."""
        last = [*self.query.layers[-1].parameters(), *self.candidate.layers[-1].parameters()]
        for weights in self.parameters():
            weights.requires_grad_(frozen != "all_but_last" or any(weights is one for one in last))
        self.table.requires_grad_(frozen == "nothing")

    @torch.no_grad()
    def _draw_weights(self, generator: torch.Generator) -> None:
        nn.init.normal_(self.table, std=_INITIAL_STD, generator=generator)
        self.table[PADDING_ROW] = 0.0
        for tower in (self.query, self.candidate):
            for layer in tower.layers:
                if isinstance(layer, nn.Linear):
                    nn.init.kaiming_uniform_(layer.weight, nonlinearity="relu", generator=generator)
                    # not zero: a row of nothing but padding must still have a direction
                    nn.init.uniform_(layer.bias, -0.05, 0.05, generator=generator)


def arrays_of(module: nn.Module) -> dict[str, NDArray[np.float32]]:
    """Return copies of all weights by name."""
    return {name: tensor.detach().numpy().copy() for name, tensor in module.state_dict().items()}


def load_arrays(module: nn.Module, weights: Mapping[str, NDArray[np.float32]], *, what: str) -> None:
    """Take over weights; raises `BundleMismatch`, which names what they ought to be of, when names or shapes are others."""
    own = module.state_dict()
    if weights.keys() != own.keys() or any(weights[name].shape != tuple(own[name].shape) for name in own):
        raise BundleMismatch(f"the weights are not of {what}; pre-train a new bundle instead")
    module.load_state_dict({name: torch.from_numpy(np.array(weights[name], np.float32)) for name in own})


class Shape(Protocol):
    """What is known of vectors."""

    @property
    def dim(self) -> int:
        """Their dimension."""
        ...

    @property
    def metric(self) -> Metric:
        """How they are compared."""
        ...


class Pair(Protocol):
    """A query and a candidate tower, however they are built."""

    @property
    def config(self) -> Shape:
        """What their vectors are like."""
        ...

    def embed_queries(self, ids: Tensor) -> Tensor:
        """Return vectors, float32 [batch, dim], of query ids, integers [batch, query width]."""
        ...

    def embed_candidates(self, ids: Tensor) -> Tensor:
        """Return vectors, float32 [batch, dim], of candidate ids, integers [batch, candidate width]."""
        ...


class TorchEmbedder:
    """Towers as arrays in, arrays out, in pieces, without an export: for experiments that evaluate many of them."""

    def __init__(self, towers: Pair) -> None:
        """Wrap; the towers stay the caller's, trained on or not."""
        self._towers = towers

    @property
    def metric(self) -> Metric:
        """How the vectors are compared."""
        return self._towers.config.metric

    def embed_queries(self, ids: NDArray[np.integer]) -> NDArray[np.float32]:
        """Return vectors, float32 [n, dim], of query ids [n, query width]."""
        return self._embed(self._towers.embed_queries, ids)

    def embed_candidates(self, ids: NDArray[np.integer]) -> NDArray[np.float32]:
        """Return vectors, float32 [n, dim], of candidate ids [n, candidate width]."""
        return self._embed(self._towers.embed_candidates, ids)

    @torch.no_grad()
    def _embed(self, tower: Callable[[Tensor], Tensor], ids: NDArray[np.integer]) -> NDArray[np.float32]:
        vectors = np.empty((len(ids), self._towers.config.dim), np.float32)
        for start in range(0, len(ids), _CHUNK_ROWS):
            part = slice(start, start + _CHUNK_ROWS)
            vectors[part] = tower(torch.from_numpy(ids[part])).numpy()
        return vectors
