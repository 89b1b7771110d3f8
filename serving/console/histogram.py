"""Cumulative histograms, as Prometheus exports them: differences and quantiles. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise


@dataclass(frozen=True, slots=True)
class Histogram:
    """Counts of values up to each bound, in the unit of the metric.

    Attributes:
        bounds: ascending upper bounds; the last is infinite.
        counts: values at or below each bound, ascending.
    """

    bounds: tuple[float, ...]
    counts: tuple[float, ...]

    @property
    def total(self) -> float:
        """How many values there are."""
        return self.counts[-1] if self.counts else 0.0

    def since(self, earlier: "Histogram | None") -> "Histogram":
        """Return what was added after `earlier`; all of it when the process began anew meanwhile, or its buckets are others."""
        if earlier is None or earlier.bounds != self.bounds:
            return self
        # one that began anew may have counted more in all by now, and still less up to some bound
        if any(now < then for now, then in zip(self.counts, earlier.counts, strict=True)):
            return self
        return Histogram(self.bounds, tuple(now - then for now, then in zip(self.counts, earlier.counts, strict=True)))

    def quantile(self, share: float) -> float | None:
        """Return the value below which a share of 0 to 1 lies, interpolated inside its bucket; None when there are no values.

        A value beyond the last finite bound is given as that bound: it is at least that.
        """
        if not self.total:
            return None
        wanted = share * self.total
        for (lower, below), (upper, up_to) in pairwise(((0.0, 0.0), *zip(self.bounds, self.counts, strict=True))):
            if up_to >= wanted and up_to > below:
                return lower if upper == float("inf") else lower + (upper - lower) * (wanted - below) / (up_to - below)
        return None


def merged(histograms: Iterable[Histogram]) -> Histogram:
    """Return the histogram of all values together; those with other buckets than the first are left out."""
    found = list(histograms)
    if not found:
        return Histogram((), ())
    alike = [histogram for histogram in found if histogram.bounds == found[0].bounds]
    return Histogram(found[0].bounds, tuple(sum(counts) for counts in zip(*(one.counts for one in alike), strict=True)))
