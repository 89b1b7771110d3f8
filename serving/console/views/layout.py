"""Small things pages are built from: a figure with its unit, a bar with its share. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Figure:
    """One number large enough to read from afar. `tone` is "", "good", "warn" or "bad"."""

    label: str
    value: str
    unit: str = ""
    note: str = ""
    tone: str = ""


@dataclass(frozen=True, slots=True)
class Bar:
    """A count with its share of the largest in its chart, and of all, each of 0 to 1."""

    label: str
    count: int
    of_largest: float
    of_all: float


def bars(counts: Sequence[tuple[str, int]]) -> tuple[Bar, ...]:
    """Return a bar for each count, in the given order."""
    largest, everything = max((count for _, count in counts), default=0), sum(count for _, count in counts)
    return tuple(Bar(label, count, count / (largest or 1), count / (everything or 1)) for label, count in counts)
