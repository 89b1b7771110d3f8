"""How far a training is, as a bar on stderr. Knows no command."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from roost.cli.output import err


@contextmanager
def training_bar(what: str, *, leads: bool) -> Iterator[Callable[[Any], None]]:
    """Draw the bar, and hand out what moves it at a training's reports; of several processes the one that leads draws."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[loss]}"),
    )
    with Progress(*columns, console=err, disable=not leads) as progress:
        task = progress.add_task(what, total=None, loss="")
        yield lambda fit: progress.update(task, completed=fit.step, total=fit.steps, loss=f"loss {fit.loss:.4f}")
