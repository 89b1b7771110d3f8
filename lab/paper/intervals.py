"""Means with bootstrap confidence intervals over users, or over users and moments, and intervals of shares. Knows no metric."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt
from typing import Self

import numpy as np

from lab.observed.columns import Floats, Ints

LEVEL = 0.95
# of a normal distribution, two-sided
Z = 1.96


@dataclass(frozen=True, slots=True)
class Interval:
    """An estimate and its 95% confidence interval; all three are NaN where nothing could be measured."""

    value: float
    low: float
    high: float

    @classmethod
    def of_draws(cls, values: Floats) -> Self:
        """Return the interval of an estimate, the first value, and of its draws, the others."""
        low, high = np.nanquantile(values[1:], ((1 - LEVEL) / 2, (1 + LEVEL) / 2))
        return cls(float(values[0]), float(low), float(high))


@dataclass(frozen=True)
class Resampling:
    """Users and moments, each drawn with replacement and independently of the other: Owen's pigeonhole bootstrap (2007).

    Users who ask at the same moments share what happened then: drawing users alone would make intervals too narrow.

    Attributes:
        users: how often each is drawn, float64 [1 + draws, users]; the first row is everybody once.
        moments: likewise, float64 [1 + draws, moments].
    """

    users: Floats
    moments: Floats

    @classmethod
    def of(cls, users: int, moments: int, *, draws: int = 1_000, seed: int = 0) -> Self:
        """Draw."""
        rng = np.random.default_rng(seed)
        return cls(_counts(rng, users, draws), _counts(rng, moments, draws))

    def means(self, values: Floats) -> Floats:
        """Return the mean of float64 [users, moments], then the mean of each draw, float64 [1 + draws]."""
        means: Floats = ((self.users @ values) * self.moments).sum(axis=1) / values.size
        return means


def _counts(rng: np.random.Generator, size: int, draws: int) -> Floats:
    drawn = rng.multinomial(size, np.full(size, 1 / size), size=draws)
    return np.concatenate([np.ones((1, size)), drawn])


def mean_over_users(values: Floats, *, draws: int = 1_000, seed: int = 0) -> Interval:
    """Return the mean of one value a user, float64 [users], NaN left out; users are drawn with replacement."""
    measured = values[np.isfinite(values)]
    return ratio_over_users(measured, np.ones(len(measured)), draws=draws, seed=seed)


def ratio_over_users(numerator: Floats, denominator: Floats, *, draws: int = 1_000, seed: int = 0) -> Interval:
    """Return sum(numerator) / sum(denominator), both float64 [users] and paired; users are drawn with replacement."""
    if not len(numerator) or not denominator.sum():
        return Interval(float("nan"), float("nan"), float("nan"))
    # how often each user is in each draw: the same as drawing rows, and one matrix product
    counts = _counts(np.random.default_rng(seed), len(numerator), draws)
    with np.errstate(invalid="ignore", divide="ignore"):
        return Interval.of_draws((counts @ numerator) / (counts @ denominator))


def seeds_range(values: Sequence[float]) -> list[float] | None:
    """Return the lowest and the highest of the seeds' values; None of a single seed, which says nothing of the others."""
    return [min(values), max(values)] if len(values) > 1 else None


def share_of(count: int, total: int) -> Interval:
    """Return `count` of `total` as a share with Wilson's interval; all of 0 to 1 is possible where there was nothing."""
    if not total:
        return Interval(float("nan"), 0.0, 1.0)
    z2, share = Z**2, count / total
    middle = (share + z2 / (2 * total)) / (1 + z2 / total)
    radius = Z * sqrt(share * (1 - share) / total + z2 / (4 * total**2)) / (1 + z2 / total)
    return Interval(share, max(0.0, middle - radius), min(1.0, middle + radius))


def share_over_groups(counts: Ints, totals: Ints) -> Interval:
    """Return sum(counts) of sum(totals) as a share, both int64 [groups] and paired; groups are drawn with replacement.

    What is in one group, such as the bundles of one seed, is no independent evidence. The interval is Wilson's of independent ones
    too, whichever bound is farther: where all groups agree, or a few do by chance, drawing them shows less than they can tell. Of
    fewer than two groups with anything in them all of 0 to 1 is possible.
    """
    alone = share_of(int(counts.sum()), int(totals.sum()))
    if (totals > 0).sum() < 2:
        return Interval(alone.value, 0.0, 1.0)
    drawn = ratio_over_users(counts.astype(np.float64), totals.astype(np.float64))
    return Interval(alone.value, min(alone.low, drawn.low), max(alone.high, drawn.high))
