"""How near two vectors are, as torch reads it: the larger the nearer. `trainer.metrics` says the same of arrays.

Under cosine the vectors have length 1 already, so that their inner product is the cosine.
"""

import torch
from torch import Tensor

from schemas.manifest import Metric


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
