"""The losses, as pure functions of cosines. They sample nothing and hold no weights.

In all of them `positive` is float32 [batch], the cosine of each query with its own candidate, and `negative` is float32
[batch, negatives], its cosines with the negatives; `weight`, of `negative`'s shape, scales each negative, 0 leaves one out.
"""

from typing import Literal

import torch
import torch.nn.functional as F  # noqa: N812  the name every torch reader knows
from torch import Tensor

Distance = Literal["cosine", "euclidean"]


def pointwise_cross_entropy(cosines: Tensor, labels: Tensor, *, scale: Tensor, bias: Tensor) -> Tensor:
    """Return the mean binary cross-entropy of sigmoid(scale * cosine + bias) with labels, both float32 [batch] (section 4.2)."""
    return F.binary_cross_entropy_with_logits(scale * cosines + bias, labels)


def cross_entropy(positive: Tensor, negative: Tensor, *, scale: Tensor, bias: Tensor, weight: Tensor) -> Tensor:
    """Return the binary cross-entropy of the positives and the weighted negatives, the mean over all pairs.

    A cosine lies in -1..1, which a sigmoid alone cannot turn into probabilities near 0 or 1: hence scale and bias.
    """
    losses = F.softplus(-(scale * positive + bias)).sum() + (weight * F.softplus(scale * negative + bias)).sum()
    return losses / (len(positive) + weight.sum())


def triplet(positive: Tensor, negative: Tensor, *, margin: float, distance: Distance, weight: Tensor) -> Tensor:
    """Return the weighted mean of max(0, d(query, positive) - d(query, negative) + margin): equation 1 of the paper.

    Args:
        distance: "cosine" is 1 - cosine; "euclidean" is that of the unit vectors, sqrt(2 - 2 cosine).
    """
    hinge = F.relu(_distance(positive, distance).unsqueeze(1) - _distance(negative, distance) + margin)
    return (weight * hinge).sum() / weight.sum().clamp(min=torch.finfo(weight.dtype).tiny)


def sampled_softmax(
    positive: Tensor, negative: Tensor, *, scale: Tensor, log_q_positive: Tensor, log_q_negative: Tensor, weight: Tensor
) -> Tensor:
    """Return the mean softmax loss of each positive among its negatives, corrected for how often each was sampled.

    The logarithm of the sampling probability is subtracted (Yi et al. 2019, reference 20): what is sampled often would otherwise be
    pushed away for being sampled.

    Args:
        log_q_positive: float32 [batch].
        log_q_negative: float32, of a shape that broadcasts to `negative`'s.
    """
    own = scale * positive - log_q_positive
    others = scale * negative - log_q_negative + torch.log(weight)
    return (torch.logsumexp(torch.cat([own.unsqueeze(1), others], dim=1), dim=1) - own).mean()


def popularity_weight(popularity: Tensor, t: float) -> Tensor:
    """Return 0.5 + 0.5 exp(-popularity / t) (section 5.3): from 1 for an unpopular negative down to 0.5 for a popular one."""
    return 0.5 + 0.5 * torch.exp(-popularity / t)


def _distance(cosines: Tensor, distance: Distance) -> Tensor:
    if distance == "cosine":
        return 1.0 - cosines
    # the root's slope is infinite at 0, where a query meets its own candidate
    return torch.sqrt((2.0 - 2.0 * cosines).clamp(min=1e-12))
