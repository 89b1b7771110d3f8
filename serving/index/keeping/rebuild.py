"""A tier rebuilt beside the one that answers: the build under way, its rows, and where they end. Knows no tier. One thread."""

from typing import Generic, Protocol, TypeVar

import numpy as np

from serving.index.protocol import FloatArray
from serving.index.tiers.arena import FIRST_SLOT, SlotArray, end_after
from serving.index.view import View

B = TypeVar("B")


class Rebuild(Generic[B]):
    """At most one build at a time, of all settled rows or some, whose slots may be renumbered before it is published."""

    def __init__(self) -> None:
        self._build: B | None = None
        self._slots: SlotArray = np.empty(0, dtype=np.int64)
        self._begun_to = FIRST_SLOT
        self._built_to = FIRST_SLOT
        """As `_begun_to`, of the last one published."""

    @property
    def under_way(self) -> bool:
        """Whether a build was begun and neither published nor abandoned."""
        return self._build is not None

    @property
    def build(self) -> B:
        """What is under way; raises `RuntimeError` where nothing is."""
        if self._build is None:
            raise RuntimeError("nothing is being built")
        return self._build

    @property
    def begun_to(self) -> int:
        """The end of the settled rows when the last build was begun: those from here on came later."""
        return self._begun_to

    def _begin(self, build: B, slots: SlotArray, end: int) -> None:
        """Take up a build of the rows at `slots`, the settled ones ending at `end`."""
        self._build, self._slots, self._begun_to = build, slots, end

    def published(self) -> None:
        """Note that the tier built is current."""
        self._built_to = self._begun_to
        self.abandon()

    def abandon(self) -> None:
        """Let the one under way go."""
        self._build, self._slots = None, self._slots[:0]

    def renumber(self, moved: SlotArray) -> None:
        """Follow rows to their new slots: `moved` [slots] gives each old one's, the grave's for rows that are gone."""
        self._slots = moved[self._slots]
        self._begun_to = end_after(moved, self._begun_to)
        self._built_to = end_after(moved, self._built_to)


class RowsBuild(Protocol):
    """A tier being filled with rows."""

    def __len__(self) -> int:
        """How many rows it holds."""
        ...

    def add(self, vectors: FloatArray) -> None:
        """Take the next rows [n, dim]."""
        ...


R = TypeVar("R", bound=RowsBuild)


class ChunkedRebuild(Rebuild[R]):
    """One that takes its rows a chunk at a time, and at the end those that settled meanwhile."""

    def __init__(self, chunk_rows: int) -> None:
        super().__init__()
        self._chunk_rows = chunk_rows

    @property
    def complete(self) -> bool:
        """Whether the one under way holds all that it was begun with."""
        return self._build is not None and len(self._build) == len(self._slots)

    def advance(self, view: View) -> None:
        """Take the next chunk of rows."""
        if self._build is not None:
            done = len(self._build)
            chunk = self._slots[done : done + self._chunk_rows]
            # a row that died meanwhile and was compacted away is the grave's: it takes its place and is never returned
            self._build.add(view.arena.vectors.take(chunk, axis=0))

    def _whole(self) -> R:
        """The one under way; raises `RuntimeError` before it is complete."""
        if not self.complete:
            raise RuntimeError("a tier is published whole; take every chunk first")
        return self.build

    def _late(self, view: View) -> SlotArray:
        """The live rows that `view` has settled since it was begun."""
        settled = view.arena.live_slots(view.fresh_from, view.sequence)
        return settled[settled >= self._begun_to]
