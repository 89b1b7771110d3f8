"""What a chart shows, as plain data for `static/plots.js`: lines over one axis, each with its band. Pure; draws nothing."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Line:
    """One line over the chart's axis. None is a gap.

    Attributes:
        low, high: edges of its band; empty without one.
        colour: number of a series colour in the style sheet; 0 is the faint one, dashed, of things to compare with.
    """

    label: str
    values: Sequence[float | None]
    low: Sequence[float | None] = ()
    high: Sequence[float | None] = ()
    colour: int = 1


@dataclass(frozen=True, slots=True)
class Plot:
    """A chart.

    Attributes:
        name: unique on its page; what is drawn under it stays in place when the page refreshes.
        axis: Unix seconds, or numbers, or numbers by their logarithm.
        at: where the values are on the axis, ascending.
        span: of the other axis, lowest and highest; None shows everything.
        unit: written behind values.
    """

    name: str
    title: str
    axis: Literal["time", "linear", "log"]
    axis_title: str
    at: Sequence[float]
    lines: Sequence[Line]
    span: tuple[float, float] | None = None
    unit: str = ""

    def as_json(self) -> str:
        """Return it for the page's script."""
        return json.dumps(asdict(self))


def constant(label: str, value: float, count: int) -> Line:
    """Return a level to compare with."""
    return Line(label, [value] * count, colour=0)
