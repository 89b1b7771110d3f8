"""How well verdicts and metrics tell the sign of an effect: counts, rank correlation, intervals. Knows no tower and no gate."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from lab.observed.columns import Bools, Floats
from lab.paper.intervals import LEVEL, Interval, share_of
from trainer.metrics import roc_auc

_DRAWS = 1_000


@dataclass(frozen=True, slots=True)
class Confusion:
    """Verdicts against what is true: a bundle is accepted or refused, and users would be worse off with it or not."""

    accepted_fine: int
    accepted_worse: int
    refused_fine: int
    refused_worse: int

    @property
    def right(self) -> Interval:
        """The share of right verdicts."""
        right = self.accepted_fine + self.refused_worse
        return share_of(right, right + self.accepted_worse + self.refused_fine)

    @property
    def precision(self) -> Interval:
        """The share of the accepted that are not worse."""
        return share_of(self.accepted_fine, self.accepted_fine + self.accepted_worse)

    @property
    def recall(self) -> Interval:
        """The share of those not worse that are accepted."""
        return share_of(self.accepted_fine, self.accepted_fine + self.refused_fine)

    @property
    def refusal_precision(self) -> Interval:
        """The share of the refused that are worse."""
        return share_of(self.refused_worse, self.refused_worse + self.refused_fine)

    @property
    def refusal_recall(self) -> Interval:
        """The share of those worse that are refused."""
        return share_of(self.refused_worse, self.refused_worse + self.accepted_worse)


def confusion(accepted: Bools, worse: Bools) -> Confusion:
    """Count verdicts, bool [n], against the truth, bool [n]."""
    return Confusion(
        int((accepted & ~worse).sum()),
        int((accepted & worse).sum()),
        int((~accepted & ~worse).sum()),
        int((~accepted & worse).sum()),
    )


def rank_correlation(x: Floats, y: Floats) -> float:
    """Return Spearman's rank correlation of two columns, float64 [n], ties at their mean rank; NaN where one does not vary."""
    if len(x) < 2:
        return float("nan")
    a, b = _ranks(x), _ranks(y)
    a, b = a - a.mean(), b - b.mean()
    spread = float(np.sqrt((a**2).sum() * (b**2).sum()))
    return float((a * b).sum() / spread) if spread > 0 else float("nan")


def sign_auc(x: Floats, effect: Floats) -> float:
    """Return the share of pairs, one with a negative effect and one without, in which `x` is larger for the one without."""
    return roc_auc(x, effect >= 0)


def bootstrapped(statistic: Callable[[Floats, Floats], float], x: Floats, y: Floats, *, seed: int = 0) -> Interval:
    """Return a statistic of paired columns, float64 [n]; pairs are drawn with replacement. Draws that allow none are left out."""
    value = statistic(x, y)
    if not np.isfinite(value):
        return Interval(float("nan"), float("nan"), float("nan"))
    rng = np.random.default_rng(seed)
    drawn = [statistic(x[rows], y[rows]) for rows in rng.integers(len(x), size=(_DRAWS, len(x)))]
    low, high = np.nanquantile(drawn, ((1 - LEVEL) / 2, (1 + LEVEL) / 2))
    return Interval(value, float(low), float(high))


def _ranks(values: Floats) -> Floats:
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    ranks: Floats = (last - (counts - 1) / 2)[place]
    return ranks
