"""How near two vectors are, as torch reads it: the larger the nearer. `trainer.metrics` says the same of arrays.

Under cosine the vectors have length 1, so that their inner product is the cosine. Under the others they lie inside the unit ball:
no candidate, known or not, is longer, so that the one metric that an index has can rank by theirs (`for_index`).
"""

import math

import torch
import torch.nn.functional as F  # noqa: N812  the name every torch reader knows
from torch import Tensor

from schemas.features.spec import Side
from schemas.manifest import Metric

INDEX_DIMENSIONS: dict[Metric, int] = {"cosine": 0, "inner_product": 1, "euclidean": 2}
"""How many dimensions more `for_index` takes than training."""


def in_space(raw: Tensor, metric: Metric) -> Tensor:
    """Return what a tower's last layer gave, [batch, dim], as the metric wants it: of length 1, or inside the unit ball."""
    return F.normalize(raw, dim=-1) if metric == "cosine" else raw / torch.sqrt(1 + _squares(raw).unsqueeze(-1))


def for_index(raw: Tensor, metric: Metric, side: Side) -> Tensor:
    """Return vectors of length 1 whose cosines rank every query's candidates as the metric ranks `in_space` of the same.

    An inner product q c is |q| times the cosine of (q, 0) and (c, sqrt(1 - |c|^2)) (Bachrach et al. 2014, "Speeding up the Xbox
    recommender system"). A squared distance is |q|^2 - 2 (q c - |c|^2 / 2): the inner product of (q, 1) and (c, -|c|^2 / 2), of
    which candidates' are no longer than sqrt(1 + 1/4), and then as before.

    Args:
        raw: [batch, dim], of a tower's last layer.

    Returns:
        [batch, dim + `INDEX_DIMENSIONS`].
    """
    vectors = in_space(raw, metric)
    if metric == "cosine":
        return vectors
    ones = torch.ones_like(raw[:, :1])
    if side == "query":
        # a length changes no order among one query's candidates
        more = [ones] if metric == "euclidean" else []
        return F.normalize(torch.cat([vectors, *more, torch.zeros_like(ones)], dim=1), dim=-1)
    # 1 - |c|^2, without the difference of two numbers near 1
    room = 1 / (1 + _squares(raw).unsqueeze(-1))
    if metric == "inner_product":
        return torch.cat([vectors, torch.sqrt(room)], dim=1)
    square = 1 - room
    # 5/4 - s - s^2/4 = (1 - s) (5 + s) / 4
    return torch.cat([vectors, -square / 2, torch.sqrt(room * (5 + square) / 4)], dim=1) / math.sqrt(5 / 4)


def with_own(queries: Tensor, candidates: Tensor, metric: Metric) -> Tensor:
    """Return each query's similarity with its own candidate, float32 [batch], of vectors [batch, dim]."""
    inner = (queries * candidates).sum(dim=1)
    return _minus_distance(inner, _squares(queries), _squares(candidates)) if metric == "euclidean" else inner


def with_shared(queries: Tensor, candidates: Tensor, metric: Metric) -> Tensor:
    """Return each query's similarity with every candidate, float32 [batch, rows], of vectors [batch, dim] and [rows, dim]."""
    inner = queries @ candidates.T
    return _minus_distance(inner, _squares(queries).unsqueeze(1), _squares(candidates)) if metric == "euclidean" else inner


def with_several(queries: Tensor, candidates: Tensor, metric: Metric) -> Tensor:
    """Return each query's similarity with several of its own, float32 [batch, rows], of [batch, dim] and [batch, rows, dim]."""
    inner = torch.einsum("bd,brd->br", queries, candidates)
    return _minus_distance(inner, _squares(queries).unsqueeze(1), _squares(candidates)) if metric == "euclidean" else inner


def _minus_distance(inner: Tensor, query_squares: Tensor, candidate_squares: Tensor) -> Tensor:
    # the root's slope is infinite at 0, where a query meets its own candidate
    return -torch.sqrt((query_squares + candidate_squares - 2.0 * inner).clamp(min=1e-12))


def _squares(vectors: Tensor) -> Tensor:
    return (vectors * vectors).sum(dim=-1)
