"""How far the phase under way of a command is, such as the topic that it reads, as a bar on stderr. Knows no command."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from roost.cli.output import err


@contextmanager
def phases_bar() -> Iterator[Callable[[str, int, int], None]]:
    """Draw the bar once there is a phase, and hand out what moves it.

    It takes the phase's name, how much of it is done, and of how much: 0 where nobody knows.
    """
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TimeElapsedColumn(),
        TextColumn("ETA"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=err) as progress:
        task = progress.add_task("", visible=False)
        under_way = ""

        def told(phase: str, done: int, there: int) -> None:
            nonlocal under_way
            if phase != under_way:
                under_way = phase
                progress.reset(task, description=phase, visible=True)
            progress.update(task, completed=done, total=there or None)

        yield told
