"""How well verdicts and metrics tell the sign of an effect: counts, rank correlation, intervals. Knows no tower and no gate."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lab.observed.columns import Bools, Floats, Ints
from lab.paper.intervals import Interval, share_over_groups
from trainer.metrics import roc_auc

_DRAWS = 1_000
_DRAWN_BY = 0

Statistic = Callable[[Floats, Floats], float]


@dataclass(frozen=True, slots=True, eq=False)
class Confusion:
    """Verdicts against what is true: a bundle is accepted or refused, and users would be worse off with it or not.

    All shares have intervals over seeds: the bundles of one share its world and its live towers.

    Attributes:
        accepted_fine, accepted_worse, refused_fine, refused_worse: counts of each seed, int64 [seeds].
    """

    accepted_fine: Ints
    accepted_worse: Ints
    refused_fine: Ints
    refused_worse: Ints

    @property
    def right(self) -> Interval:
        """The share of right verdicts."""
        right = self.accepted_fine + self.refused_worse
        return share_over_groups(right, right + self.accepted_worse + self.refused_fine)

    @property
    def precision(self) -> Interval:
        """The share of the accepted that are not worse."""
        return share_over_groups(self.accepted_fine, self.accepted_fine + self.accepted_worse)

    @property
    def recall(self) -> Interval:
        """The share of those not worse that are accepted."""
        return share_over_groups(self.accepted_fine, self.accepted_fine + self.refused_fine)

    @property
    def refusal_precision(self) -> Interval:
        """The share of the refused that are worse."""
        return share_over_groups(self.refused_worse, self.refused_worse + self.refused_fine)

    @property
    def refusal_recall(self) -> Interval:
        """The share of those worse that are refused."""
        return share_over_groups(self.refused_worse, self.refused_worse + self.accepted_worse)


def confusion(accepted: Bools, worse: Bools, seeds: Ints) -> Confusion:
    """Count verdicts, bool [n], against the truth, bool [n], seed by seed, int64 [n]."""
    here = seeds == np.unique(seeds)[:, None]

    def counted(which: Bools) -> Ints:
        count: Ints = (here & which).sum(axis=1)
        return count

    return Confusion(counted(accepted & ~worse), counted(accepted & worse), counted(~accepted & ~worse), counted(~accepted & worse))


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


def bootstrapped(statistic: Statistic, x: Floats, y: Floats, seeds: Ints, *, whole: tuple[float, float]) -> Interval:
    """Return a statistic of paired columns, float64 [n], with its interval over seeds, int64 [n].

    Seeds are drawn with replacement, each with all of its pairs, which share a world and live towers. So are pairs, whichever bound
    is farther: of so few seeds some figures come out alike by chance. Draws that allow no statistic are left out.

    Args:
        whole: the lowest and highest that the statistic can be: its interval where there is one seed, which tells of no other.
    """
    value = statistic(x, y)
    if not np.isfinite(value):
        return Interval(float("nan"), float("nan"), float("nan"))
    rows = [np.flatnonzero(seeds == seed) for seed in np.unique(seeds)]
    if len(rows) < 2:
        return Interval(value, *whole)
    by_seed, by_pair = (_drawn(statistic, x, y, among) for among in (rows, list(np.arange(len(x))[:, None])))
    return Interval(value, min(by_seed.low, by_pair.low), max(by_seed.high, by_pair.high))


def _drawn(statistic: Statistic, x: Floats, y: Floats, groups: Sequence[NDArray[np.integer]]) -> Interval:
    rng = np.random.default_rng(_DRAWN_BY)
    draws = (
        np.concatenate([groups[place] for place in places]) for places in rng.integers(len(groups), size=(_DRAWS, len(groups)))
    )
    return Interval.of_draws(np.array([statistic(x, y), *(statistic(x[rows], y[rows]) for rows in draws)]))


def _ranks(values: Floats) -> Floats:
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    ranks: Floats = (last - (counts - 1) / 2)[place]
    return ranks
