"""A tier rebuilt beside the one that answers: the build under way, its rows, and where they end. Knows no tier. One thread."""

from typing import Generic, TypeVar

import numpy as np

from serving.index.tiers.arena import FIRST_SLOT, SlotArray, end_after

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
