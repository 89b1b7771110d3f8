"""Means with bootstrap confidence intervals over users. Knows no metric."""

from dataclasses import dataclass

import numpy as np

from lab.observed.columns import Floats

LEVEL = 0.95


@dataclass(frozen=True, slots=True)
class Interval:
    """An estimate and its 95% confidence interval; all three are NaN where nothing could be measured."""

    value: float
    low: float
    high: float


def mean_over_users(values: Floats, *, draws: int = 1_000, seed: int = 0) -> Interval:
    """Return the mean of one value a user, float64 [users], NaN left out; users are drawn with replacement."""
    measured = values[np.isfinite(values)]
    return ratio_over_users(measured, np.ones(len(measured)), draws=draws, seed=seed)


def ratio_over_users(numerator: Floats, denominator: Floats, *, draws: int = 1_000, seed: int = 0) -> Interval:
    """Return sum(numerator) / sum(denominator), both float64 [users] and paired; users are drawn with replacement."""
    if not len(numerator) or not denominator.sum():
        return Interval(float("nan"), float("nan"), float("nan"))
    rng = np.random.default_rng(seed)
    # how often each user is in each draw: the same as drawing rows, and one matrix product
    counts = rng.multinomial(len(numerator), np.full(len(numerator), 1 / len(numerator)), size=draws)
    with np.errstate(invalid="ignore", divide="ignore"):
        drawn = (counts @ numerator) / (counts @ denominator)
    low, high = np.nanquantile(drawn, ((1 - LEVEL) / 2, (1 + LEVEL) / 2))
    return Interval(float(numerator.sum() / denominator.sum()), float(low), float(high))
