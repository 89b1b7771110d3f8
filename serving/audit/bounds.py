"""What a sample of queries says of a recall: it is above one bound with 95% confidence, and below the other almost surely.

Pure arithmetic.

Wilson's score interval (Wilson 1927; Brown, Cai and DasGupta 2001, "Interval Estimation for a Binomial Proportion"), on an
effective sample size: the hits of one query stand or fall together, so they are worth fewer than as many independent ones (Korn and
Graubard 1998, "Confidence Intervals for Proportions with Small Expected Number of Positive Counts Estimated from Survey Data").
The 95% is nominal: where one query in a hundred is ruined altogether, sixty queries often hold none, and a bound is wrong one time
in ten.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt

FLOOR = 0.95
"""The recall that is promised of every tier, language and age."""
JUDGED_FROM_QUERIES = 5
"""Fewer say too little of how much queries differ: no recall is judged, and no bound shown, before."""
Z = 1.6449
"""The 95% point of the normal distribution: a lower bound by itself is wrong one time in twenty."""
Z_SHORT = 4.0
"""Of an upper bound. What is below the floor by it is built anew, and some twenty groups are judged every two seconds: by the 95%
point two missed hits of a language's nine made a sound node drop its codes, and scan everything until they were built.
"""


@dataclass(frozen=True, slots=True)
class Interval:
    """An estimate and its one-sided bounds, each from 0 to 1: the lower by `Z`, the upper by `Z_SHORT`."""

    estimate: float
    lower: float
    upper: float


NOTHING_KNOWN = Interval(1.0, 0.0, 1.0)


def recall_interval(found: Sequence[int], wanted: Sequence[int]) -> Interval:
    """The recall of which each query found so many of so many; [queries] each."""
    total = sum(wanted)
    if total == 0:
        return NOTHING_KNOWN
    estimate = sum(found) / total
    return _wilson(estimate, _effective_size(found, wanted, estimate))


def _effective_size(found: Sequence[int], wanted: Sequence[int], estimate: float) -> float:
    queries = sum(1 for count in wanted if count)
    total = sum(wanted)
    # the variance of a ratio of two sums over queries, linearised (Cochran, "Sampling Techniques", section 2.11)
    residuals = sum((f - estimate * w) ** 2 for f, w in zip(found, wanted, strict=True))
    if queries < 2 or residuals == 0.0:
        # nothing varied, so nothing is known of how hits hang together: a query counts as one
        return float(queries)
    variance = residuals * queries / (queries - 1) / total**2
    return min(estimate * (1 - estimate) / variance, float(total))


def _wilson(estimate: float, size: float) -> Interval:
    if size <= 0.0:
        return Interval(estimate, 0.0, 1.0)
    return Interval(estimate, max(0.0, _bound(estimate, size, -Z)), min(1.0, _bound(estimate, size, Z_SHORT)))


def _bound(estimate: float, size: float, z: float) -> float:
    middle, scale = estimate + z**2 / (2 * size), 1 + z**2 / size
    return (middle + z * sqrt(estimate * (1 - estimate) / size + z**2 / (4 * size**2))) / scale
