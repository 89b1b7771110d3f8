"""Takes the step that an index needs most and publishes its result: settle, drop, compact, grow, group, recode, construct.

Has no thread. Each step reads one view, makes new tiers beside it, and publishes them only if the tiers it started from are still
current; a step that lost the race is dropped and done again. So nobody waits for a slow builder: the writing thread can always
settle rows itself.
"""

import threading
from collections import Counter
from dataclasses import replace
from typing import Literal

import numpy as np

from serving.index.config import CompressedConfig, IndexConfig
from serving.index.keeping.compaction import Compaction
from serving.index.keeping.graph_construction import GraphConstruction
from serving.index.keeping.grouping import Grouping
from serving.index.keeping.recoding import Recoding
from serving.index.tiers.arena import FIRST_SLOT, SlotArray, bring_over, grown
from serving.index.tiers.cells import CelledTier, extended_cells
from serving.index.tiers.compressed import Codebook, CompressedTier, empty_tier, extended, train_codebook
from serving.index.tiers.graph import GraphTier
from serving.index.view import FIRST_CAPACITY_ROWS, State, View

RECOUNT_SHARE = 0.01
GROW_FROM_SHARE = 0.75
"""Of its slots used, from where on an arena is grown beside the writers."""


class Upkeep:
    """`step()` does one due piece of work. At most one thread steps; writers may call `grow` and `relieve` at any time."""

    def __init__(self, state: State, config: IndexConfig, counters: Counter[str]) -> None:
        self._state = state
        self._config = config
        self._counters = counters
        self._codebook: Codebook | None = None
        codes = config.compressed
        self._recoding = None if codes is None else Recoding(codes, config.seed)
        self._grouping = None if codes is None or codes.cells is None else Grouping(codes, codes.cells, config.seed)
        graph = config.graph
        self._construction = None if graph is None else GraphConstruction(graph, config.compressed, config.seed)
        self._compaction = Compaction(state, config)
        self._counted_at_kills = 0
        self._step_lock = threading.Lock()

    def step(self) -> bool:
        """One piece of due work, the most urgent first; False when nothing is due."""
        with self._step_lock:
            return self._step()

    def _step(self) -> bool:
        self._recount()
        return (
            self._settle_due()
            or self._drop_graph_due()
            or self._compact_due()
            or self._grow_due()
            or self._group_due()
            or self._recode_due()
            or self._construct_due()
        )

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
            self._abandon_graph()
            view = _without_graph(self._state.view)
            if tier == "codes" or view.compressed is None:
                view = replace(view, fresh_from=FIRST_SLOT, compressed=None, compressed_dead=0)
                for rebuild in (self._grouping, self._recoding):
                    if rebuild is not None:
                        rebuild.abandon()
                # the rows may have drifted away from those it was learned from
                self._codebook = None
            self._state.view = view

    def full(self) -> bool:
        """Whether the exactly scanned rows reached their hard bound: without codes they may wait for one more graph."""
        view, config = self._state.view, self._config
        bound = config.fresh_rows_at_most
        if config.compressed is None and self._construction is not None:
            bound = max(bound, 2 * self._construction.due_at(view))
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
        """A view whose arena has room, for a writer that found none; call with the write lock held. Slots keep their numbers."""
        view = self._state.view
        arena = grown(view.arena, max(2 * view.arena.capacity, at_least + FIRST_CAPACITY_ROWS))
        self._state.view = replace(view, arena=arena)
        self._counters["arena_grown"] += 1
        return self._state.view

    def merge_debt_rows(self, view: View) -> int:
        """Live rows settled after the cells, or the graph, beyond what makes new ones due; 0 where neither would pay."""
        if self._grouping is not None and self._grouping.covers(view):
            return self._grouping.debt_rows(view)
        return 0 if self._construction is None else self._construction.debt_rows(view)

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
        if view.compressed is None and self._recoding is not None:
            self._recoding.coded(view.fresh_to)
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
            grouping.begin(view)
        elif not grouping.complete:
            grouping.advance(view)
        else:
            cells = grouping.taken(view)
            changed = replace(_without_graph(view), compressed=cells, compressed_dead=_dead(view, cells))
            if self._publish(view, changed):
                self._codebook = grouping.build.codebook
                grouping.published()
                self._abandon_graph()
                self._counters["cells_published"] += 1
        return True

    def _recode_due(self) -> bool:
        """Codes that are scanned whole, and by a codebook that fits the rows no more, get one of the rows of today."""
        view, recoding, codebook = self._state.view, self._recoding, self._codebook
        if recoding is None or codebook is None:
            return False
        if self._grouping is not None and self._grouping.covers(view):
            recoding.abandon()
            return False
        if not recoding.under_way:
            if not recoding.due(view, codebook):
                return False
            recoding.begin(view)
        elif not recoding.complete:
            recoding.advance(view)
        else:
            codes = recoding.taken(view)
            if self._publish(view, replace(view, compressed=codes, compressed_dead=_dead(view, codes))):
                self._codebook = recoding.build.codebook
                recoding.published()
                self._counters["codes_relearned"] += 1
        return True

    def _ungroup(self, codebook: Codebook) -> bool:
        view = self._state.view
        slots = view.arena.live_slots(view.fresh_from, view.sequence)
        flat = extended(empty_tier(codebook), view.arena.vectors.take(slots, axis=0), slots, drop=None)
        if self._publish(view, replace(view, compressed=flat, compressed_dead=0)):
            self._counters["cells_dropped"] += 1
            if self._recoding is not None:
                self._recoding.coded(view.fresh_from)
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

    def _construct_due(self) -> bool:
        view, construction = self._state.view, self._construction
        if construction is None or (self._grouping is not None and self._grouping.covers(view)):
            return False
        if not construction.under_way:
            if not construction.due(view):
                return False
            self._counters["graphs_started_hurried" if construction.begin(view) else "graphs_started"] += 1
        elif not construction.complete:
            construction.advance()
        else:
            graph, beside = construction.taken(view)
            changed = replace(
                view,
                fresh_from=view.fresh_from if view.compressed is not None else construction.begun_to,
                graph=graph,
                graph_dead=_dead(view, graph),
                beside_graph=beside,
                beside_dead=0,
            )
            if self._publish(view, changed):
                construction.published()
                self._counters["graphs_published"] += 1
        return True

    def _compact_due(self) -> bool:
        view = self._state.view
        if not self._compaction.due(view):
            return False
        self._compaction.run(view, self._renumber)
        self._counters["compactions"] += 1
        return True

    def _grow_due(self) -> bool:
        """Before the arena is full: whoever writes the row that finds no room waits until all of it is copied."""
        arena = self._state.view.arena
        if arena.used < GROW_FROM_SHARE * arena.capacity:
            return False
        larger = grown(arena, 2 * arena.capacity)
        with self._state.write_lock:
            now = self._state.view
            if now.arena is arena:
                bring_over(arena, larger, arena.used)
                self._state.view = replace(now, arena=larger)
                self._counters["arena_grown"] += 1
        return True

    def _renumber(self, moved: SlotArray) -> None:
        """What is under way follows its rows to their new slots."""
        for rebuild in (self._grouping, self._recoding, self._construction):
            if rebuild is not None:
                rebuild.renumber(moved)

    def _abandon_graph(self) -> None:
        if self._construction is not None:
            self._construction.abandon()


def _without_graph(view: View) -> View:
    return replace(view, graph=None, graph_dead=0, beside_graph=None, beside_dead=0)


def _dead(view: View, tier: CompressedTier | CelledTier | GraphTier | None) -> int:
    if tier is None:
        return 0
    return len(tier) - int(np.count_nonzero(view.arena.live(tier.slots, view.sequence)))


def _settled(view: View, tier: CompressedTier, slots: SlotArray, settings: CompressedConfig) -> tuple[CompressedTier, int]:
    """The tier with these rows added, its dead ones dropped once they are many; and how many dead it still holds."""
    vectors = view.arena.vectors.take(slots, axis=0)
    dead = ~view.arena.live(tier.slots, view.sequence)
    count = int(np.count_nonzero(dead))
    if count > settings.drop_dead_above * len(tier):
        return extended(tier, vectors, slots, drop=dead), 0
    return extended(tier, vectors, slots, drop=None), count
