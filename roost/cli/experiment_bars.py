"""How far an experiment of the paper is, as bars on stderr. Knows no experiment."""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.progress import BarColumn, Progress, ProgressColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from roost.cli.output import err

if TYPE_CHECKING:
    from trainer.learning.fit import FitProgress

# what a seed is busy with beside its trainings
_NO_TRAINING = ("world", "asking")


@contextmanager
def models_bar(seeds: int, trainings: int) -> Iterator[Callable[[int, str, "FitProgress | None"], None]]:
    """Draw two bars: the model under way, and all `seeds * trainings` of them.

    What is handed out moves them: it takes the seed, what it is busy with, and how far the fit is where that is one.
    """
    with Progress(*_columns(), console=err) as progress:
        everything = progress.add_task("models", total=seeds * trainings)
        model = progress.add_task("", total=None)
        done: list[tuple[int, str]] = []

        def told(seed: int, what: str, fit: "FitProgress | None") -> None:
            if not done or done[-1] != (seed, what):
                done.append((seed, what))
                progress.reset(model, description=f"seed {seed}: {what}", total=None)
            if fit is not None:
                progress.update(model, completed=fit.step, total=fit.steps)
                begun = sum(1 for _, name in done if name not in _NO_TRAINING)
                progress.update(everything, completed=begun - 1 + fit.step / fit.steps)

        yield told


@contextmanager
def values_bar(what: str, total: int) -> Iterator[Callable[[int, float], None]]:
    """Draw one bar over the `total` values of `what` that an experiment goes through.

    What is handed out moves it: it takes the seed and the value, as each begins.
    """
    # as in `steps_bar`: a step takes minutes
    with Progress(*_columns(), console=err, speed_estimate_period=math.inf) as progress:
        task = progress.add_task(what, total=total)
        begun = 0

        def told(seed: int, value: float) -> None:
            nonlocal begun
            progress.update(task, completed=begun, description=f"seed {seed}: {what} {value:,g}")
            begun += 1

        yield told
        progress.update(task, completed=total)


def _columns() -> tuple[ProgressColumn, ...]:
    return TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn(), TextColumn("ETA"), TimeRemainingColumn()
