"""The curves of runs as a picture: each seed a thin line, their mean a thick one, around the swap. Computes no figure."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

_SYSTEMS = (("usual", "re-embedded in place", "#b8432f"), ("roost", "Roost", "#1f5fa8"))
_PANELS = (
    ("fresh", "share of the top 200 under a minute old"),
    ("mismatch", "share of the top 10 in a language the reader does not declare"),
    ("lag_ms", "publish to found, ms (what a lag monitor sees)"),
    ("errors", "queries without an answer, per second"),
)
_EVENTS = (("swap", "swap"), ("usual_flipped", "alias moves"), ("rollback", "rollback"), ("usual_back", "alias back"))


def plot(runs: Sequence[Mapping[str, Any]]) -> Figure:
    """Return the four curves of every run; time 0 is the swap. The marks are those of the first run."""
    figure = Figure(figsize=(10, 9), layout="constrained")
    all_axes = figure.subplots(len(_PANELS), 1, sharex=True)
    for axes, (name, title) in zip(all_axes, _PANELS, strict=True):
        for system, label, colour in _SYSTEMS:
            _lines(axes, runs, system, name, label=label, colour=colour)
        axes.set_title(title, fontsize=9, loc="left")
        if name == "lag_ms":
            axes.set_yscale("log")
        else:
            axes.set_ylim(bottom=0)
        for event, words in _EVENTS:
            at_s = runs[0]["events_s"][event] - runs[0]["events_s"]["swap"]
            axes.axvline(at_s, color="0.6", linewidth=0.8, linestyle=":")
            if axes is all_axes[0]:
                axes.annotate(words, (at_s, axes.get_ylim()[1]), fontsize=7, rotation=90, va="top", ha="right", color="0.4")
    all_axes[-1].set_xlabel(
        "seconds from the swap; kill -9 of a Roost replica as it flips, and of the usual writer half-way", fontsize=8
    )
    figure.legend(*all_axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=2, fontsize=8, frameon=False)
    return figure


def _lines(axes: Axes, runs: Sequence[Mapping[str, Any]], system: str, name: str, *, label: str, colour: str) -> None:
    grid: dict[int, list[float]] = {}
    for run in runs:
        values = np.array([np.nan if value is None else value for value in run["curves"][system][name]], np.float64)
        seconds = np.arange(len(values)) - round(run["events_s"]["swap"])
        axes.plot(seconds, values, color=colour, linewidth=0.5, alpha=0.35)
        for second, value in zip(seconds.tolist(), values.tolist(), strict=True):
            if value == value:  # noqa: PLR0124  not a gap
                grid.setdefault(second, []).append(value)
    # where every run has a value: their swaps take different times, and a mean of few would jump
    whole = sorted(second for second, values in grid.items() if len(values) == len(runs))
    means = {second: float(np.mean(grid[second])) for second in whole}
    # none where no probe of a run was found, or none in the same second of all
    every = range(whole[0], whole[-1] + 1) if whole else range(0)
    # a gap stays one: where nothing was found there is no line
    axes.plot(list(every), [means.get(second, np.nan) for second in every], color=colour, linewidth=1.8, label=label)
