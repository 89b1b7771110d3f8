"""Rewrites the arena without its dead rows, which gives their memory back: when, and how. Knows no tier but by its slots.

The new arena is made beside the queries, from one view; what was written meanwhile is brought over under the write lock.
"""

import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from serving.index.config import IndexConfig
from serving.index.tiers.arena import FIRST_SLOT, NEVER, Arena, SlotArray, compacted, end_after, grown, rows_at
from serving.index.view import FIRST_CAPACITY_ROWS, State, View

ROOM_PER_LIVE_ROW = 4
"""Slots reserved for each live row when the arena is rewritten; reserved memory is not touched until used."""
LEDGER_CHUNK = 8_192


class Compaction:
    """`run` when it is `due`, both from one thread. Meanwhile others may write rows, settle them, and grow the arena."""

    def __init__(self, state: State, config: IndexConfig) -> None:
        self._state = state
        self._config = config
        self._dead_since_s: float | None = None

    def due(self, view: View) -> bool:
        """Whether most of many rows are dead, or one has been for long."""
        rows = view.arena.used
        many = rows >= self._config.compact_from_rows and rows - view.live > self._config.compact_dead_share * rows
        return many or self._dead_for_long(rows - FIRST_SLOT - view.live)

    def _dead_for_long(self, dead: int) -> bool:
        """Whether the first row that died since the arena was last rewritten has been there long enough."""
        if not dead:
            return False
        if self._dead_since_s is None:
            self._dead_since_s = time.monotonic()
        return time.monotonic() - self._dead_since_s >= self._config.compact_after_s

    def run(self, base: View, renumber: Callable[[SlotArray], None]) -> None:
        """Rewrite the arena of `base`, a view since which no slot changed its number, and publish it with what came since.

        Args:
            renumber: called once, under the write lock and before the arena is published, for whoever else holds slots: its
                argument [slots] gives each old slot's new one, the grave's for a row that is gone. Kept, it would tie an index to
                itself, and a closed one would hold its memory until the collector came.
        """
        keep = base.arena.live_slots(base.fresh_to, base.sequence)
        room = max(FIRST_CAPACITY_ROWS, ROOM_PER_LIVE_ROW * len(keep) + 2 * self._config.fresh_rows_at_most)
        smaller = compacted(base.arena, keep, room)
        first = smaller.used - len(keep)
        renumbered = np.zeros(base.fresh_to, dtype=np.int64)
        renumbered[keep] = np.arange(first, smaller.used)
        places = _places(base.arena, keep, first)
        with self._state.write_lock:
            self._move_to(smaller, base, keep, renumbered, places, renumber=renumber)
        self._dead_since_s = None

    def _move_to(
        self,
        smaller: Arena,
        base: View,
        keep: SlotArray,
        renumbered: SlotArray,
        places: dict[str, int],
        *,
        renumber: Callable[[SlotArray], None],
    ) -> None:
        """Bring over what happened since `base`, then publish the rewritten arena. Under the write lock."""
        now = self._state.view
        died = now.arena.died[keep]
        changed = died != NEVER
        smaller.died[renumbered[keep[changed]]] = died[changed]
        for candidate_id in now.arena.ids[keep[changed]].tolist():
            del places[candidate_id]
        late = now.arena.live_slots(now.fresh_to, now.sequence)
        late = late[late >= base.fresh_to]
        first = smaller.used
        if first + len(late) > smaller.capacity:
            # a builder that got no processor time for long: more arrived meanwhile than there was room for
            smaller = grown(smaller, 2 * (first + len(late)))
        if len(late):
            smaller.append(rows_at(now.arena, late))
            places.update(zip(now.arena.ids[late].tolist(), range(first, smaller.used), strict=True))
        moved = np.zeros(now.fresh_to, dtype=np.int64)
        moved[: len(renumbered)] = renumbered
        moved[late] = np.arange(first, smaller.used)
        self._state.ledger.replace_places(places)
        renumber(moved)
        self._state.view = replace(
            now,
            generation=now.generation + 1,
            arena=smaller,
            # the fresh rows are again the last ones
            fresh_from=end_after(moved, now.fresh_from),
            fresh_to=smaller.used,
            compressed=None if now.compressed is None else replace(now.compressed, slots=moved[now.compressed.slots]),
            graph=None if now.graph is None else replace(now.graph, slots=moved[now.graph.slots]),
            beside_graph=None if now.beside_graph is None else replace(now.beside_graph, slots=moved[now.beside_graph.slots]),
        )


def _places(arena: Arena, keep: SlotArray, first: int) -> dict[str, int]:
    """The ids of the rows at `keep`, which stand from slot `first` on."""
    places: dict[str, int] = {}
    ids = arena.ids[keep]
    for begin in range(0, len(keep), LEDGER_CHUNK):
        part = ids[begin : begin + LEDGER_CHUNK].tolist()
        places.update(zip(part, range(first + begin, first + begin + len(part)), strict=True))
        # a large dict is filled in pieces: searches get the interpreter in between
        time.sleep(0)
    return places
