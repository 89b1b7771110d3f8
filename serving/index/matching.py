"""Which rows of one frozen view a filter lets through, by their attributes. Scores nothing."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from serving.index.protocol import Filter
from serving.index.tiers.arena import BoolArray, Interned, SlotArray
from serving.index.view import View

SELECTIVITY_SAMPLE_ROWS = 1_024
DENSE_FROM = 4
"""From one row in so many on, reading all in order costs less than gathering those."""
FEW_CODES = 4


class Matcher:
    """Which slots a view and a filter let through, attribute conditions only."""

    def __init__(self, view: View, where: Filter) -> None:
        self._view = view
        self._where = where
        arena = view.arena
        self._language = None if where.languages is None else _table(arena.languages, where.languages)
        author_table: BoolArray | None = None
        if where.authors is not None:
            author_table = _table(arena.authors, where.authors)
        self._few = _few(arena.language, self._language) or _few(arena.author, author_table)
        if where.exclude_authors:
            others = ~_table(arena.authors, where.exclude_authors)
            author_table = others if author_table is None else author_table[: len(others)] & others[: len(author_table)]
        self._author = author_table

    def keep(self, slots: SlotArray | slice) -> BoolArray:
        """For each slot whether it is live and its attributes match."""
        arena, where = self._view.arena, self._where
        keep: BoolArray = _column(arena.died, slots) > self._view.sequence
        if self._language is not None:
            keep &= _looked_up(self._language, _column(arena.language, slots))
        if where.created_from_ms is not None:
            keep &= _column(arena.created_ms, slots) >= where.created_from_ms
        if self._author is not None:
            keep &= _looked_up(self._author, _column(arena.author, slots))
        return keep

    def among(self, first: int, end: int) -> SlotArray:
        """The live ones of the slots from `first` to `end` whose attributes match, ascending."""
        rows = slice(first, end)
        if (some := self._narrowed(rows)) is not None:
            slots = np.flatnonzero(some) + first
            if len(slots) * DENSE_FROM < end - first:
                return slots[self.keep(slots)]
        return np.flatnonzero(self.keep(rows)) + first

    def _narrowed(self, rows: slice) -> BoolArray | None:
        """Which rows meet one of the conditions, the rarest that is quick to test; None without one."""
        if self._few is not None:
            column, codes = self._few
            some: BoolArray = np.zeros(rows.stop - rows.start, np.bool_)
            for code in codes:
                some |= column[rows] == code
            return some
        if self._where.created_from_ms is not None:
            recent: BoolArray = self._view.arena.created_ms[rows] >= self._where.created_from_ms
            return recent
        return None

    def share(self) -> float:
        """Estimated share of the live rows that match, from evenly spaced rows."""
        if not self._where.tests_attributes:
            return 1.0
        step = max(1, self._view.fresh_to // SELECTIVITY_SAMPLE_ROWS)
        sample = slice(0, self._view.fresh_to, step)
        live = int(np.count_nonzero(self._view.arena.died[sample] > self._view.sequence))
        return int(np.count_nonzero(self.keep(sample))) / live if live else 0.0


def _column(column: NDArray[Any], slots: SlotArray | slice) -> NDArray[Any]:
    values: NDArray[Any] = column[slots] if isinstance(slots, slice) else column.take(slots)
    return values


def _table(names: Interned, chosen: frozenset[str]) -> BoolArray:
    codes = names.known(chosen)
    # sized after the look-up: a writer may be adding names meanwhile
    table = np.zeros(len(names) + 1, dtype=np.bool_)
    table[codes] = True
    return table


def _few(column: NDArray[np.int32], table: BoolArray | None) -> tuple[NDArray[np.int32], SlotArray] | None:
    """A column and the few codes of it that a table lets through; None where they are many: to compare costs a pass for each."""
    if table is None:
        return None
    codes = np.flatnonzero(table)
    return (column, codes) if len(codes) <= FEW_CODES else None


def _looked_up(table: BoolArray, codes: NDArray[np.int32]) -> BoolArray:
    # a code newer than the table belongs to a row newer than the view; clip keeps the look-up inside the table
    found: BoolArray = table.take(codes, mode="clip")
    return found
