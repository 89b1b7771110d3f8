"""How a bench tells how far it is. Draws nothing."""

from collections.abc import Callable
from itertools import count

OnProgress = Callable[[int, int], None]
"""Takes the steps done, and how many there are; called between what is measured."""


def untold(_done: int, _steps: int) -> None:
    """Tell nobody."""


def counted(steps: int, on_progress: OnProgress) -> Callable[[], None]:
    """Tell that none of the steps is done yet, and return what is called as each is."""
    done = count()

    def told() -> None:
        on_progress(next(done), steps)

    told()
    return told
