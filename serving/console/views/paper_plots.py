"""The paper's figures as charts: which columns of a result are which lines. Pure; runs and draws nothing."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from serving.console.views.plot import Line, Plot, constant

Row = Mapping[str, object]


@dataclass(frozen=True, slots=True)
class _Curve:
    """A column of the result as a line, of the rows whose values are `only`."""

    label: str
    column: str
    colour: int = 1
    only: tuple[str, str] | None = None


@dataclass(frozen=True, slots=True)
class _Chart:
    title: str
    curves: tuple[_Curve, ...]
    # a column of the result's baseline, drawn as a level
    baseline: str = ""


@dataclass(frozen=True, slots=True)
class _Figure:
    over: str
    axis: Literal["linear", "log"]
    axis_title: str
    charts: tuple[_Chart, ...]


_SWEPT = (
    ("auc", "ROC-AUC on served pairs"),
    ("per_user_auc", "Per-user ROC-AUC"),
    ("language_mismatch", "Top-1 language mismatch"),
    ("popularity_correlation", "Popularity correlation"),
)
_FIGURES: Mapping[str, _Figure] = {
    "fig3": _Figure(
        "tau",
        "linear",
        "tau, above which pairs are kept",
        tuple(
            _Chart(
                title,
                (
                    _Curve("tested on biased pairs", f"biased_{name}", 2),
                    _Curve("tested on all pairs", f"full_{name}", 1),
                ),
                baseline=name,
            )
            for name, title in (("accuracy", "Accuracy"), ("auc", "ROC-AUC"))
        ),
    ),
    "fig5": _Figure(
        "negatives",
        "log",
        "negatives for each positive",
        tuple(
            _Chart(
                title,
                (
                    _Curve("cross-entropy", name, 1, ("loss", "cross_entropy")),
                    _Curve("triplet", name, 2, ("loss", "triplet")),
                ),
            )
            for name, title in _SWEPT
        ),
    ),
    "fig6": _Figure("t", "log", "t, engagements", tuple(_Chart(title, (_Curve("cross-entropy", name),)) for name, title in _SWEPT)),
}


def paper_plots(name: str, result: Mapping[str, object]) -> tuple[Plot, ...]:
    """Return the charts of one of the paper's figures; none for another result, or one that lacks what they show."""
    figure = _FIGURES.get(name)
    rows = result.get("rows")
    if figure is None or not isinstance(rows, list):
        return ()
    measured = [row for row in rows if isinstance(row, dict) and _number(row.get(figure.over)) is not None]
    at = sorted({_number(row[figure.over]) or 0.0 for row in measured})
    if len(at) < 2:
        return ()
    baseline = result.get("baseline")
    plots = []
    for number, chart in enumerate(figure.charts):
        lines = [_line(curve, measured, figure.over, at) for curve in chart.curves]
        level = _number(baseline.get(chart.baseline)) if isinstance(baseline, dict) else None
        if level is not None:
            lines.append(constant("trained and tested on all", level, len(at)))
        plots.append(Plot(f"{name}-{number}", chart.title, figure.axis, figure.axis_title, at, lines))
    return tuple(plots)


def _line(curve: _Curve, rows: Iterable[Row], over: str, at: Sequence[float]) -> Line:
    chosen = {_number(row[over]): row for row in rows if curve.only is None or row.get(curve.only[0]) == curve.only[1]}
    values = [_number(chosen[place].get(curve.column)) if place in chosen else None for place in at]
    bounds = [_bounds(chosen.get(place, {}), curve.column) for place in at]
    # a single point has no band to draw
    banded = sum(value is not None for value in values) > 1 and any(low is not None for low, _ in bounds)
    return Line(
        curve.label,
        values,
        low=[low for low, _ in bounds] if banded else (),
        high=[high for _, high in bounds] if banded else (),
        colour=curve.colour,
    )


def _bounds(row: Row, column: str) -> tuple[float | None, float | None]:
    intervals = row.get("ci")
    bounds = intervals.get(column) if isinstance(intervals, dict) else None
    if not isinstance(bounds, list) or len(bounds) != 2:
        return None, None
    return _number(bounds[0]), _number(bounds[1])


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
