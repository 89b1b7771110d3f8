"""A run's figures for people: both systems side by side, and what must not be. Measures nothing."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from statistics import fmean, median
from typing import Any

_ROWS: tuple[tuple[str, Callable[[Mapping[str, Any], str], float | None]], ...] = (
    ("share of the top 200 under a minute old, before", lambda run, system: run[system]["fresh_before"]),
    ("the same while a swap goes on in place", lambda run, system: _while_swapping(run, system, "fresh")),
    ("seconds of it below half of before", lambda run, system: run[system]["seconds_below_half"]),
    ("top 10 in a language the reader does not declare, before", lambda run, system: run[system]["mismatch_before"]),
    ("the same while a swap goes on in place", lambda run, system: _while_swapping(run, system, "mismatch")),
    ("answers of two towers", lambda run, system: run[system]["mixed_answers"]),
    ("queries without an answer", lambda run, system: run[system]["errors"]),
    ("publish to found, ms, p50", lambda run, system: run[system]["lag_ms_p50"]),
    ("swap, s", lambda run, system: run[system]["swap_s"]),
    ("rollback, s", lambda run, system: run[system]["back_s"]),
)

Table = tuple[Sequence[str], list[tuple[str, str, str]]]


def compared(run: Mapping[str, Any]) -> Table:
    """Return columns and rows of one run."""
    return compared_all([run])


def compared_all(runs: Sequence[Mapping[str, Any]]) -> Table:
    """Return columns and rows: the median of the runs, and their range where there are several."""
    return ("", "in place #", "Roost #"), [(words, _cell(runs, "usual", of), _cell(runs, "roost", of)) for words, of in _ROWS]


def as_markdown(runs: Sequence[Mapping[str, Any]]) -> str:
    """Return the table of `compared_all` as a page shows it."""
    columns, rows = compared_all(runs)
    head = [column.removesuffix(" #") for column in columns]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (head, ["---"] * len(head), *rows))


def faults(run: Mapping[str, Any]) -> Iterator[str]:
    """Yield what must not be: the usual way may fail as it does, Roost and the askers may not."""
    seed, roost = run["config"]["seed"], run["roost"]
    for name in ("errors", "mixed_answers", "probes_lost"):
        if roost[name]:
            yield f"seed {seed}: Roost's {name} are {roost[name]}, none expected"
    if not roost["found_in_first_answer"]:
        yield f"seed {seed}: the tweet published after the flip was not in Roost's first answer after the rollback"
    if run["history"]["violations"]:
        yield f"seed {seed}: the checker found {run['history']['first_violations'][0]}"
    yield from (f"seed {seed}: {fault}" for fault in run["faults"])


def _while_swapping(run: Mapping[str, Any], system: str, name: str) -> float | None:
    """Return the mean of a curve from the swap until the usual way's alias moves, for both systems alike."""
    first, last = (round(run["events_s"][event]) for event in ("swap", "usual_flipped"))
    known = [value for value in run["curves"][system][name][first:last] if value is not None]
    return fmean(known) if known else None


def _cell(runs: Sequence[Mapping[str, Any]], system: str, of: Callable[[Mapping[str, Any], str], float | None]) -> str:
    values = [value for run in runs if (value := of(run, system)) is not None]
    if not values:
        return "-"
    middle = f"{median(values):.3g}"
    return middle if len(values) == 1 else f"{middle} ({min(values):.3g} to {max(values):.3g})"
