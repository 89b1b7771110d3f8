"""How many of its steps a command has done, as a bar on stderr. Knows no command."""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from roost.cli.output import err


@contextmanager
def steps_bar(what: str) -> Iterator[Callable[[int, int], None]]:
    """Draw the bar, and hand out what moves it: it takes the steps done, and how many there are."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("ETA"),
        TimeRemainingColumn(),
    )
    # drawn at its steps only: a thread that draws ten times a second would be in what is measured; all of them tell the pace,
    # since one takes minutes, and rich forgets those of more than half a minute ago
    with Progress(*columns, console=err, auto_refresh=False, speed_estimate_period=math.inf) as progress:
        task = progress.add_task(what, total=None)

        def told(done: int, steps: int) -> None:
            progress.update(task, completed=done, total=steps, refresh=True)

        yield told
