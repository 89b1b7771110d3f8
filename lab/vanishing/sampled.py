"""What askers saw, as samples, and the curves and figures made of them. Pure; asks nothing."""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

_BIN_S = 1.0
_LANGUAGES_OF_TOP = 10


@dataclass(frozen=True, slots=True)
class Sample:
    """One query.

    Attributes:
        at_s: seconds from the start of the run.
        fresh: share of the answer that is under a minute old; None where there was no answer.
        mismatch: share of the first ten in a language that the reader does not declare.
        mixed: rows of another tower than the query's were in the answer.
    """

    at_s: float
    fresh: float | None
    mismatch: float | None
    mixed: bool = False

    @property
    def failed(self) -> bool:
        """Whether there was no answer."""
        return self.fresh is None


@dataclass(frozen=True, slots=True)
class Lag:
    """From publishing a probe until it was found; None when it was not in time."""

    at_s: float
    milliseconds: float | None


def sample_of(
    at_s: float, ages_s: Sequence[float], languages: Sequence[str], declared: Sequence[str], *, fresh_s: float, mixed: bool
) -> Sample:
    """Return what an answer shows; an empty one holds nothing fresh."""
    if not ages_s:
        return Sample(at_s, 0.0, None, mixed)
    top = languages[:_LANGUAGES_OF_TOP]
    return Sample(
        at_s,
        sum(age < fresh_s for age in ages_s) / len(ages_s),
        sum(language not in declared for language in top) / len(top),
        mixed,
    )


def curves(samples: Sequence[Sample], lags: Sequence[Lag], seconds: float) -> dict[str, list[float | None]]:
    """Return the means of each second: fresh, mismatch, errors (a count), lag_ms; None where nothing was seen."""
    bins = math.ceil(seconds / _BIN_S)
    by_bin: list[list[Sample]] = [[] for _ in range(bins)]
    lag_by_bin: list[list[float]] = [[] for _ in range(bins)]
    for sample in samples:
        by_bin[min(bins - 1, int(sample.at_s / _BIN_S))].append(sample)
    for lag in lags:
        if lag.milliseconds is not None:
            lag_by_bin[min(bins - 1, int(lag.at_s / _BIN_S))].append(lag.milliseconds)
    return {
        "fresh": [_mean(sample.fresh for sample in inside) for inside in by_bin],
        "mismatch": [_mean(sample.mismatch for sample in inside) for inside in by_bin],
        "errors": [float(sum(sample.failed for sample in inside)) for inside in by_bin],
        "lag_ms": [_mean(inside) for inside in lag_by_bin],
    }


def figures(
    samples: Sequence[Sample], lags: Sequence[Lag], *, before: tuple[float, float], swap: tuple[float, float]
) -> dict[str, Any]:
    """Return a system's figures: before the swap, and the worst three seconds while it went on.

    Args:
        before, swap: windows, seconds from the start of the run.
    """
    quiet, during = _inside(samples, before), _inside(samples, swap)
    fresh, mismatch = (lambda sample: sample.fresh), (lambda sample: sample.mismatch)
    usual = _mean(map(fresh, quiet)) or 0.0
    found = sorted(lag.milliseconds for lag in lags if lag.milliseconds is not None)
    return {
        "queries": len(samples),
        "errors": sum(sample.failed for sample in samples),
        "mixed_answers": sum(sample.mixed for sample in samples),
        "fresh_before": _rounded(usual),
        "fresh_worst": _rounded(_extreme(during, swap, fresh, min)),
        "seconds_below_half": _seconds_below(during, usual / 2),
        "mismatch_before": _rounded(_mean(map(mismatch, quiet))),
        "mismatch_worst": _rounded(_extreme(during, swap, mismatch, max)),
        "lag_ms_p50": _rounded(found[len(found) // 2] if found else None, 1),
        "lag_ms_max": _rounded(found[-1] if found else None, 1),
        "probes_lost": sum(lag.milliseconds is None for lag in lags),
    }


def _inside(samples: Iterable[Sample], window: tuple[float, float]) -> list[Sample]:
    return [sample for sample in samples if window[0] <= sample.at_s < window[1]]


def _extreme(
    samples: Sequence[Sample],
    window: tuple[float, float],
    of: Callable[[Sample], float | None],
    choose: Callable[[Iterable[float]], float],
    *,
    over_s: float = 3.0,
) -> float | None:
    """Return the extreme of the means over the parts of a window that are some seconds long: a single answer proves nothing."""
    begin_s, end_s = window
    last_s = max(begin_s, end_s - over_s)
    starts = [*(begin_s + second for second in range(math.ceil(last_s - begin_s))), last_s]
    means = [_mean(of(sample) for sample in _inside(samples, (start, start + over_s))) for start in starts]
    known = [mean for mean in means if mean is not None]
    return choose(known) if known else None


def _seconds_below(samples: Sequence[Sample], bound: float) -> int:
    seconds = sorted({math.floor(sample.at_s) for sample in samples})
    means = [_mean(sample.fresh for sample in _inside(samples, (second, second + 1.0))) for second in seconds]
    return sum(mean is not None and mean < bound for mean in means)


def _mean(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return fmean(known) if known else None


def _rounded(value: float | None, digits: int = 3) -> float | None:
    return None if value is None else round(value, digits)
