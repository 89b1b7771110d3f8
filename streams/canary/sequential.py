"""Always-valid inference: intervals and evidence that may be looked at after every observation. Pure; knows no rollout.

A fixed-horizon test that is looked at every second promotes an equal tower sooner or later. The normal-mixture bound below holds
at all times at once. Sources: Robbins 1970 (the mixture); Howard, Ramdas, McAuliffe and Sekhon, "Time-uniform, nonparametric,
nonasymptotic confidence sequences" (Annals of Statistics 2021), two-sided normal mixture; Johari, Koomen, Pekelis and Walsh,
"Always Valid Inference: Continuous Monitoring of A/B Tests" (Operations Research 2022), whose mSPRT it inverts; Waudby-Smith et
al., "Time-uniform central limit theory and asymptotic confidence sequences" (Annals of Statistics 2024), for its use with
estimated variances. The balance test: Lindon and Malek, "Anytime-Valid Inference for Multinomial Count Data" (NeurIPS 2022).
"""

from dataclasses import dataclass
from math import exp, inf, lgamma, log, sqrt
from typing import Self

import numpy as np
from numpy.typing import ArrayLike


@dataclass(frozen=True, slots=True)
class Interval:
    """An estimate with bounds that hold at all times at once, with probability 1 - alpha."""

    value: float
    low: float
    high: float


def interval(value: float, variance: float, *, alpha: float, expected_effect: float) -> Interval:
    """Return the confidence sequence of an estimate at this moment.

    Args:
        value: the estimate, of everything seen so far.
        variance: of the estimate; infinite or 0 where nothing can be said yet.
        alpha: how often, over a whole experiment, the truth may ever be outside.
        expected_effect: a difference worth finding; where the bound is tightest. It is valid whatever is put in.
    """
    if not 0 < variance < inf:
        return Interval(value, -inf, inf)
    information = 1 / variance
    prior = 1 / expected_effect**2
    total = information + prior
    radius = sqrt(total * log(total / (prior * alpha**2))) / information
    return Interval(value, value - radius, value + radius)


@dataclass(frozen=True, slots=True)
class Sums:
    """One arm, summed over its users, each of whom had n impressions and y engagements: enough for a ratio and its variance."""

    users: int = 0
    shown: float = 0.0
    engaged: float = 0.0
    shown_squared: float = 0.0
    engaged_squared: float = 0.0
    shown_times_engaged: float = 0.0

    @classmethod
    def of(cls, shown: ArrayLike, engaged: ArrayLike) -> Self:
        """Sum two numbers a user, paired; who was shown nothing belongs to no arm."""
        n, y = np.asarray(shown, np.float64), np.asarray(engaged, np.float64)
        n, y = n[n > 0], y[n > 0]
        return cls(len(n), *(float(column.sum()) for column in (n, y, n**2, y**2, n * y)))

    @property
    def rate(self) -> float:
        """Engagements an impression; 0 without one."""
        return self.engaged / self.shown if self.shown else 0.0

    @property
    def variance(self) -> float:
        """Of the rate, users being what was drawn at random, not impressions: a user's impressions resemble each other."""
        if self.users < 2 or not self.shown:
            return inf
        rate = self.rate
        residual = self.engaged_squared - 2 * rate * self.shown_times_engaged + rate**2 * self.shown_squared
        return max(residual, 0.0) / self.shown**2 * self.users / (self.users - 1)


def difference(canary: Sums, live: Sums, *, alpha: float, expected_effect: float) -> Interval:
    """Return the confidence sequence of the canary's rate minus the live one's."""
    return interval(canary.rate - live.rate, canary.variance + live.variance, alpha=alpha, expected_effect=expected_effect)


def imbalance_evidence(in_canary: int, elsewhere: int, *, share: float, weight: float = 200.0) -> float:
    """Return the Bayes factor that users do not reach the canary with probability `share`; above 1 / alpha it is no accident.

    Args:
        weight: of the beta prior around `share`, in users.
    """
    a, b = share * weight, (1 - share) * weight
    if not (a > 0 and b > 0):
        return 1.0
    evidence = _log_beta(a + in_canary, b + elsewhere) - _log_beta(a, b)
    evidence -= in_canary * log(share) + elsewhere * log(1 - share)
    return exp(min(evidence, 700.0))


def _log_beta(a: float, b: float) -> float:
    return lgamma(a) + lgamma(b) - lgamma(a + b)
