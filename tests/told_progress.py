"""A bar that keeps what it is told, in place of one that is drawn. Holds no test."""

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import groupby

from schemas.progress import OnProgress

Told = tuple[str, int, int]


class ToldBar:
    """`told` is all that the bars were told, in order."""

    def __init__(self) -> None:
        self.told: list[Told] = []
        self.is_open = False

    @contextmanager
    def open(self, *, transient: bool = False) -> Iterator[OnProgress]:
        """See `roost.cli.phases_bar.phases_bar`."""
        self.is_open = True
        yield lambda *how_far: self.told.append(how_far)
        self.is_open = False

    @property
    def phases(self) -> list[tuple[str, list[tuple[int, int]]]]:
        """Each phase with how far it was said to be."""
        by_phase = groupby(self.told, key=lambda one: one[0])
        return [(phase, [(done, there) for _, done, there in told]) for phase, told in by_phase]
