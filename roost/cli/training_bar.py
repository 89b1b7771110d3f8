"""How far a training is, and then the judging of its towers, as bars on stderr. Knows no command."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from roost.cli.output import err
from roost.cli.phases_bar import phases_of
from schemas.progress import OnProgress


@contextmanager
def training_bar(what: str, *, leads: bool) -> Iterator[tuple[Callable[[Any], None], OnProgress]]:
    """Draw the bars, and hand out what moves them at a fit's reports, and in other phases; of several processes one draws."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[loss]}"),
    )
    with Progress(*columns, console=err, disable=not leads) as progress:
        task = progress.add_task(what, total=None, loss="")

        def fitted(fit: Any) -> None:
            progress.update(task, completed=fit.step, total=fit.steps, loss=f"loss {fit.loss:.4f}")

        yield fitted, phases_of(progress, progress.add_task("", visible=False, loss=""))
