"""Moves rows between tiers and gives memory back: settle, group, build, drop, compact. Pure steps over views, no thread of its own.

Each step reads one view, makes new tiers beside it, and publishes them only if the tiers it started from are still current; a
step that lost the race is dropped and done again. So nobody waits for a slow builder: the writing thread can always settle
rows itself.
"""

import threading
import time
from collections import Counter
from dataclasses import replace
from typing import Literal

import numpy as np

from serving.index.config import CompressedConfig, GraphConfig, IndexConfig
from serving.index.keeping.grouping import Grouping, end_after
from serving.index.tiers.arena import FIRST_SLOT, NEVER, Arena, SlotArray, compacted, grown, rows_at
from serving.index.tiers.cells import CelledTier, extended_cells
from serving.index.tiers.compressed import Codebook, CompressedTier, empty_tier, extended, train_codebook
from serving.index.tiers.graph import GraphBuild, GraphTier
from serving.index.view import FIRST_CAPACITY_ROWS, State, View

ROOM_PER_LIVE_ROW = 4
"""Slots reserved for each live row when the arena is rewritten; reserved memory is not touched until used."""
RECOUNT_SHARE = 0.01
LEDGER_CHUNK = 8_192
OUT_OF_REACH = 2**62


class Upkeep:
    """`step()` does one due piece of work. At most one thread steps; writers may call `grow` and `relieve` at any time."""

    def __init__(self, state: State, config: IndexConfig, counters: Counter[str]) -> None:
        self._state = state
        self._config = config
        self._counters = counters
        self._codebook: Codebook | None = None
        cells = None if config.compressed is None else config.compressed.cells
        self._grouping = None if cells is None else Grouping(cells, config.seed)
        self._build: GraphBuild | None = None
        self._build_slots: SlotArray = np.empty(0, dtype=np.int64)
        self._build_fresh_to = 0
        self._graph_to = 0
        self._counted_at_kills = 0
        self._dead_since_s: float | None = None
        self._step_lock = threading.Lock()

    def step(self) -> bool:
        """One piece of due work, the most urgent first; False when nothing is due."""
        with self._step_lock:
            return self._step()

    def _step(self) -> bool:
        self._recount()
        return self._settle_due() or self._drop_graph_due() or self._compact_due() or self._group_due() or self._build_due()

    @property
    def codebook(self) -> Codebook | None:
        """What the codes stand for; None before it was learned."""
        return self._codebook

    def adopt(self, codebook: Codebook) -> None:
        """Use another index's codebook instead of learning one; changes nothing once there is one."""
        with self._state.write_lock:
            self._codebook = self._codebook or codebook

    def drop(self, tier: Literal["codes", "graph"]) -> None:
        """Let a settled tier go, and a graph under way with it; without codes everything is fresh again, and scanned exactly."""
        with self._step_lock, self._state.write_lock:
            self._build, self._build_slots = None, self._build_slots[:0]
            view = _without_graph(self._state.view)
            if tier == "codes" or view.compressed is None:
                view = replace(view, fresh_from=FIRST_SLOT, compressed=None, compressed_dead=0)
                if self._grouping is not None:
                    self._grouping.abandon()
                # the rows may have drifted away from those it was learned from
                self._codebook = None
            self._state.view = view

    def full(self) -> bool:
        """Whether the exactly scanned rows reached their hard bound: without codes they may wait for one more graph."""
        view, config = self._state.view, self._config
        bound = config.fresh_rows_at_most
        if config.compressed is None and config.graph is not None:
            bound = max(bound, 2 * _due_at(view, config.graph, config.compressed))
        return view.fresh_to - view.fresh_from >= bound

    def relieve(self) -> None:
        """Do some settling on the calling thread: what a writer owes when the builder is behind."""
        if self._config.compressed is not None and self._has_enough_for_codes(self._config.compressed):
            self._counters["settled_by_writer"] += int(self._settle(self._config.compressed))
        # never waits for the builder, which may hold its turn for long on a busy machine
        elif self._step_lock.acquire(blocking=False):
            try:
                self._counters["steps_by_writer"] += int(self._step())
            finally:
                self._step_lock.release()

    def grow(self, at_least: int) -> View:
        """A view whose arena has room; call with the write lock held. Slots keep their numbers."""
        view = self._state.view
        arena = grown(view.arena, max(2 * view.arena.capacity, at_least + FIRST_CAPACITY_ROWS))
        self._state.view = replace(view, arena=arena)
        self._counters["arena_grown"] += 1
        return self._state.view

    def merge_debt_rows(self, view: View) -> int:
        """Live rows settled after the cells, or the graph, beyond what makes new ones due; 0 where neither would pay."""
        if self._grouping is not None and self._grouping.covers(view):
            return self._grouping.debt_rows(view)
        if self._config.graph is None:
            return 0
        due_at = _due_at(view, self._config.graph, self._config.compressed)
        return max(0, self._newcomers(view, self._settled_to(view)) - due_at)

    def _publish(self, base: View, changed: View) -> bool:
        """Make `changed`'s tiers current, unless others replaced `base`'s meanwhile. Rows written since are kept."""
        with self._state.write_lock:
            now = self._state.view
            if (
                now.generation != base.generation
                or now.compressed is not base.compressed
                or now.graph is not base.graph
                or now.fresh_from != base.fresh_from
            ):
                self._counters["steps_lost"] += 1
                return False
            self._state.view = replace(
                now,
                fresh_from=changed.fresh_from,
                compressed=changed.compressed,
                compressed_dead=changed.compressed_dead,
                graph=changed.graph,
                graph_dead=changed.graph_dead,
                beside_graph=changed.beside_graph,
                beside_dead=changed.beside_dead,
            )
            return True

    def _recount(self) -> None:
        """Refresh how many rows of each tier are dead: it sets how widely they are searched."""
        view, killed = self._state.view, self._state.rows_killed
        if killed - self._counted_at_kills <= RECOUNT_SHARE * view.live:
            return
        self._counted_at_kills = killed
        self._publish(
            view,
            replace(
                view,
                compressed_dead=_dead(view, view.compressed),
                graph_dead=_dead(view, view.graph),
                beside_dead=_dead(view, view.beside_graph),
            ),
        )

    def _settle_due(self) -> bool:
        view, settings = self._state.view, self._config.compressed
        if settings is None or view.fresh_to - view.fresh_from < self._config.fresh_rows:
            return False
        return self._has_enough_for_codes(settings) and self._settle(settings)

    def _has_enough_for_codes(self, settings: CompressedConfig) -> bool:
        # what a few rows teach is kept when many follow; a corpus of few that is renewed over and over is compacted, not coded
        return self._codebook is not None or self._state.view.live >= settings.train_from_rows

    def _settle(self, settings: CompressedConfig) -> bool:
        codebook = self._codebook
        if codebook is None:
            codebook = self._train(settings)
        view = self._state.view
        fresh = np.arange(view.fresh_from, view.fresh_to)
        fresh = fresh[view.arena.live(fresh, view.sequence)]
        beside, beside_dead = view.beside_graph, 0
        compressed: CompressedTier | CelledTier
        if view.compressed is None:
            # the first codes are of everything, also of what an early graph already covers
            everything = view.arena.live_slots(view.fresh_to, view.sequence)
            compressed, compressed_dead = _settled(view, empty_tier(codebook), everything, settings)
            if view.graph is not None:
                beside, beside_dead = _settled(view, empty_tier(codebook), fresh, settings)
        else:
            if isinstance(view.compressed, CelledTier):
                compressed = extended_cells(view.compressed, view.arena.vectors.take(fresh, axis=0), fresh)
                compressed_dead = _dead(view, compressed)
            else:
                compressed, compressed_dead = _settled(view, view.compressed, fresh, settings)
            if beside is not None:
                beside, beside_dead = _settled(view, beside, fresh, settings)
        changed = replace(
            view,
            fresh_from=view.fresh_to,
            compressed=compressed,
            compressed_dead=compressed_dead,
            graph_dead=_dead(view, view.graph),
            beside_graph=beside,
            beside_dead=beside_dead,
        )
        if not self._publish(view, changed):
            return False
        self._counters["rows_settled"] += len(fresh)
        return True

    def _train(self, settings: CompressedConfig) -> Codebook:
        view = self._state.view
        live = view.arena.live_slots(view.fresh_to, view.sequence)
        chosen = np.random.default_rng(self._config.seed).permutation(live)[: settings.train_sample_rows]
        codebook = train_codebook(view.arena.vectors[chosen])
        with self._state.write_lock:
            # a writer and the builder may both train at the hard bound: one codebook counts for all codes
            self._codebook = self._codebook or codebook
            return self._codebook

    def _group_due(self) -> bool:
        """Codes too many to scan whole are put into cells; a graph of them would never be walked."""
        view, grouping, codebook = self._state.view, self._grouping, self._codebook
        if grouping is None or codebook is None:
            return False
        if grouping.outgrown(view):
            grouping.abandon()
            return self._ungroup(codebook)
        if not grouping.under_way:
            if not grouping.due(view):
                return False
            grouping.begin(view, codebook)
        elif not grouping.complete:
            grouping.advance(view)
        else:
            cells = grouping.taken(view)
            changed = replace(_without_graph(view), compressed=cells, compressed_dead=_dead(view, cells))
            if self._publish(view, changed):
                grouping.published()
                self._build, self._build_slots = None, self._build_slots[:0]
                self._counters["cells_published"] += 1
        return True

    def _ungroup(self, codebook: Codebook) -> bool:
        view = self._state.view
        slots = view.arena.live_slots(view.fresh_from, view.sequence)
        flat = extended(empty_tier(codebook), view.arena.vectors.take(slots, axis=0), slots, drop=None)
        self._counters["cells_dropped"] += int(self._publish(view, replace(view, compressed=flat, compressed_dead=0)))
        return True

    def _drop_graph_due(self) -> bool:
        """A graph that is mostly dead is dropped: all its rows are among the compressed ones."""
        view, settings = self._state.view, self._config.graph
        if settings is None or view.graph is None or view.compressed is None:
            return False
        if view.graph_dead <= (1.0 - settings.drop_below_live_share) * len(view.graph):
            return False
        if not self._publish(view, _without_graph(view)):
            return False
        self._counters["graphs_dropped"] += 1
        return True

    def _build_due(self) -> bool:
        settings = self._config.graph
        if settings is None or (self._grouping is not None and self._grouping.covers(self._state.view)):
            return False
        if self._build is None:
            return self._start_build(settings)
        if not self._build.complete:
            self._build.add_chunk(settings.chunk_rows)
            return True
        return self._publish_build(self._build)

    def _start_build(self, settings: GraphConfig) -> bool:
        view = self._state.view
        end = self._settled_to(view)
        newcomers = self._newcomers(view, end)
        if newcomers < _due_at(view, settings, self._config.compressed):
            return False
        slots = view.arena.live_slots(end, view.sequence)
        if view.compressed is not None:
            slots = slots[settings.left_out(len(slots)) :]
        hurried = view.graph is not None and newcomers > settings.hurry_share * view.live
        self._build = GraphBuild(
            view.arena.vectors[slots],
            links=settings.hurried_links if hurried else settings.links,
            construction_breadth=settings.hurried_construction_breadth if hurried else settings.construction_breadth,
            seed=self._config.seed,
        )
        self._build_slots, self._build_fresh_to = slots, end
        self._counters["graphs_started_hurried" if hurried else "graphs_started"] += 1
        return True

    def _settled_to(self, view: View) -> int:
        """The end of the rows a graph may take: with a compressed tier the fresh rows stay fresh, without one they settle here."""
        return view.fresh_to if self._config.compressed is None or view.compressed is None else view.fresh_from

    def _newcomers(self, view: View, end: int) -> int:
        """Live settled rows younger than the last graph, or all of them while there is none."""
        begin = 0 if view.graph is None else self._graph_to
        return int(np.count_nonzero(view.arena.died[begin:end] > view.sequence))

    def _publish_build(self, build: GraphBuild) -> bool:
        view = self._state.view
        graph = build.sealed(self._build_slots)
        beside: CompressedTier | None = None
        if isinstance(view.compressed, CompressedTier):
            covered = np.zeros(view.fresh_to, dtype=np.bool_)
            covered[graph.slots] = True
            gone = covered.take(view.compressed.slots) | ~view.arena.live(view.compressed.slots, view.sequence)
            beside = extended(view.compressed, view.arena.vectors[:0], graph.slots[:0], drop=gone)
        changed = replace(
            view,
            fresh_from=view.fresh_from if view.compressed is not None else self._build_fresh_to,
            graph=graph,
            graph_dead=_dead(view, graph),
            beside_graph=beside,
            beside_dead=0,
        )
        if self._publish(view, changed):
            self._build, self._build_slots = None, self._build_slots[:0]
            self._graph_to = self._build_fresh_to
            self._counters["graphs_published"] += 1
        return True

    def _compact_due(self) -> bool:
        view, arena = self._state.view, self._state.view.arena
        rows = arena.used
        many = rows >= self._config.compact_from_rows and rows - view.live > self._config.compact_dead_share * rows
        if not many and not self._dead_for_long(rows - FIRST_SLOT - view.live):
            return False
        keep = arena.live_slots(view.fresh_to, view.sequence)
        room = max(FIRST_CAPACITY_ROWS, ROOM_PER_LIVE_ROW * len(keep) + 2 * self._config.fresh_rows_at_most)
        smaller = compacted(arena, keep, room)
        first = smaller.used - len(keep)
        renumbered = np.zeros(view.fresh_to, dtype=np.int64)
        renumbered[keep] = np.arange(first, smaller.used)
        places: dict[str, int] = {}
        kept_ids = arena.ids[keep]
        for begin in range(0, len(keep), LEDGER_CHUNK):
            part = kept_ids[begin : begin + LEDGER_CHUNK].tolist()
            places.update(zip(part, range(first + begin, first + begin + len(part)), strict=True))
            # a large dict is filled in pieces: searches get the interpreter in between
            time.sleep(0)
        with self._state.write_lock:
            self._move_to(smaller, view, keep, renumbered, places)
        self._dead_since_s = None
        self._counters["compactions"] += 1
        return True

    def _dead_for_long(self, dead: int) -> bool:
        """Whether the first row that died since the arena was last rewritten has been there long enough."""
        if not dead:
            return False
        if self._dead_since_s is None:
            self._dead_since_s = time.monotonic()
        return time.monotonic() - self._dead_since_s >= self._config.compact_after_s

    def _move_to(self, smaller: Arena, base: View, keep: SlotArray, renumbered: SlotArray, places: dict[str, int]) -> None:
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
        if self._grouping is not None:
            self._grouping.renumber(moved)
        self._build_slots = moved[self._build_slots]
        self._build_fresh_to = end_after(moved, self._build_fresh_to)
        self._graph_to = end_after(moved, self._graph_to)
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


def _without_graph(view: View) -> View:
    return replace(view, graph=None, graph_dead=0, beside_graph=None, beside_dead=0)


def _dead(view: View, tier: CompressedTier | CelledTier | GraphTier | None) -> int:
    if tier is None:
        return 0
    return len(tier) - int(np.count_nonzero(view.arena.live(tier.slots, view.sequence)))


def _due_at(view: View, settings: GraphConfig, codes: CompressedConfig | None) -> int:
    """How many newcomers make a graph due: out of reach while scanning codes is cheaper, those too that are yet to be learned."""
    if codes is not None and not settings.pays(view.live, codes):
        return OUT_OF_REACH
    return max(settings.build_from_rows, min(int(settings.rebuild_share * view.live), settings.rebuild_rows_at_most))


def _settled(view: View, tier: CompressedTier, slots: SlotArray, settings: CompressedConfig) -> tuple[CompressedTier, int]:
    """The tier with these rows added, its dead ones dropped once they are many; and how many dead it still holds."""
    vectors = view.arena.vectors.take(slots, axis=0)
    dead = ~view.arena.live(tier.slots, view.sequence)
    count = int(np.count_nonzero(dead))
    if count > settings.drop_dead_above * len(tier):
        return extended(tier, vectors, slots, drop=dead), 0
    return extended(tier, vectors, slots, drop=None), count
