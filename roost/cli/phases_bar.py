"""How far the phase under way of a command is, such as the topic that it reads, as a bar on stderr. Knows no command."""

from collections.abc import Iterator
from contextlib import contextmanager

from rich.progress import BarColumn, Progress, TaskID, TaskProgressColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from roost.cli.output import err
from schemas.progress import OnProgress


@contextmanager
def phases_bar(*, transient: bool = False) -> Iterator[OnProgress]:
    """Draw the bar once there is a phase, and hand out what moves it; a transient one leaves nothing behind."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TimeElapsedColumn(),
        TextColumn("ETA"),
        TimeRemainingColumn(),
    )
    # of one that leaves nothing behind rich writes an empty line where there is no terminal
    with Progress(*columns, console=err, transient=transient, disable=transient and not err.is_terminal) as progress:
        yield phases_of(progress, progress.add_task("", visible=False))


def phases_of(progress: Progress, task: TaskID) -> OnProgress:
    """Return what moves a task that is not seen yet, and shows it once there is a phase."""
    under_way = ""

    def told(phase: str, done: int, there: int) -> None:
        nonlocal under_way
        if phase != under_way:
            under_way = phase
            progress.reset(task, description=phase, visible=True)
        progress.update(task, completed=done, total=there or None)

    return told
