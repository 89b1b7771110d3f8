"""How near two vectors are, as torch reads it: the larger the nearer. `trainer.metrics` says the same of arrays.

Under cosine the vectors have length 1 already, so that their inner product is the cosine.
"""

import torch
from torch import Tensor

from schemas.manifest import Metric


def with_own(queries: Tensor, candidates: Tensor, metric: Metric) -> Tensor:
    """Return each query's similarity with its own candidate, float32 [batch], of vectors [batch, dim]."""
    return _similarity((queries * candidates).sum(dim=1), _squares(queries), _squares(candidates), metric)


def with_shared(queries: Tensor, candidates: Tensor, metric: Metric) -> Tensor:
    """Return each query's similarity with every candidate, float32 [batch, rows], of vectors [batch, dim] and [rows, dim]."""
    return _similarity(queries @ candidates.T, _squares(queries).unsqueeze(1), _squares(candidates), metric)


def with_several(queries: Tensor, candidates: Tensor, metric: Metric) -> Tensor:
    """Return each query's similarity with several of its own, float32 [batch, rows], of [batch, dim] and [batch, rows, dim]."""
    inner = torch.einsum("bd,brd->br", queries, candidates)
    return _similarity(inner, _squares(queries).unsqueeze(1), _squares(candidates), metric)


def _similarity(inner: Tensor, query_squares: Tensor, candidate_squares: Tensor, metric: Metric) -> Tensor:
    if metric != "euclidean":
        return inner
    # the root's slope is infinite at 0, where a query meets its own candidate
    return -torch.sqrt((query_squares + candidate_squares - 2.0 * inner).clamp(min=1e-12))


def _squares(vectors: Tensor) -> Tensor:
    return (vectors * vectors).sum(dim=-1)
