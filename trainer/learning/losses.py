"""The losses, as pure functions of similarities. They sample nothing and hold no weights.

In all of them `positive` is float32 [batch], the similarity of each query with its own candidate, and `negative` is float32
[batch, negatives], its similarities with the negatives; `weight`, of `negative`'s shape, scales each negative, 0 leaves one out.
"""

import torch
import torch.nn.functional as F  # noqa: N812  the name every torch reader knows
from torch import Tensor


def pointwise_cross_entropy(similarities: Tensor, labels: Tensor, *, scale: Tensor, bias: Tensor, weight: Tensor) -> Tensor:
    """Return the weighted mean binary cross-entropy of sigmoid(scale * similarity + bias) with labels (section 4.2).

    Args:
        similarities, labels, weight: float32 [batch].
    """
    losses = F.binary_cross_entropy_with_logits(scale * similarities + bias, labels, weight=weight, reduction="sum")
    return losses / weight.sum()


def cross_entropy(positive: Tensor, negative: Tensor, *, scale: Tensor, bias: Tensor, weight: Tensor) -> Tensor:
    """Return the binary cross-entropy of the positives and the weighted negatives, the mean over all pairs.

    A cosine lies in -1..1, which a sigmoid alone cannot turn into probabilities near 0 or 1: hence scale and bias.
    """
    losses = F.softplus(-(scale * positive + bias)).sum() + (weight * F.softplus(scale * negative + bias)).sum()
    return losses / (len(positive) + weight.sum())


def triplet(positive: Tensor, negative: Tensor, *, margin: float, weight: Tensor) -> Tensor:
    """Return the weighted mean of max(0, d(query, positive) - d(query, negative) + margin): equation 1 of the paper.

    The distance d is minus the similarity: 1 - cosine (the 1 falls out), minus the inner product, or the euclidean distance.
    """
    hinge = F.relu(negative - positive.unsqueeze(1) + margin)
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
