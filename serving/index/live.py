"""The live index: what was written is retrievable on return, and recall does not decay as rows turn over.

One writer at a time appends to the arena and publishes a new `View` by one assignment; searches run on the view they took and take
no lock. Tiers are remade beside the queries by `Upkeep`. Knows nothing of Kafka, models or users.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from serving.index.audit import audited
from serving.index.checks import checked_versions, unit_query, unit_vectors
from serving.index.config import IndexConfig
from serving.index.errors import IndexClosed
from serving.index.keeping.builder import Builder
from serving.index.keeping.upkeep import Upkeep
from serving.index.ledger import fitting_rows
from serving.index.protocol import (
    EVERYTHING,
    Audited,
    Candidate,
    Census,
    Filter,
    FloatArray,
    Hits,
    IndexContents,
    IndexStats,
    IntArray,
    Rows,
    Tier,
)
from serving.index.refill import take_over
from serving.index.search import search, search_exact
from serving.index.tiers.arena import SlotArray, rows_at, rows_in_parts
from serving.index.tiers.compressed import codebook_of
from serving.index.view import State, View

ID_MAP_BYTES = 100
"""A dict entry and its integer, for each live id."""


class LiveIndex:
    """`CandidateIndex` of an arena and three tiers. Searches may run on any number of threads beside one or more writers."""

    def __init__(self, dim: int, config: IndexConfig | None = None) -> None:
        self._dim = dim
        self._config = config or IndexConfig()
        self._state = State(dim)
        self._counters: Counter[str] = Counter()
        self._upkeep = Upkeep(self._state, self._config, self._counters)
        self._builder: Builder | None = None
        # what a write owed failed, so that the next one begins with it
        self._owed = False
        self._closed = False
        if self._config.background:
            self._builder = Builder(self._upkeep, pause_s=self._config.builder_pause_s, yields=self._config.builder_yields)
            self._builder.start()

    @property
    def dim(self) -> int:
        """The dimension of every vector."""
        return self._dim

    @property
    def view(self) -> View:
        """The moment a search started now would see. Frozen; keeps its rows alive while held."""
        return self._state.view

    def __len__(self) -> int:
        return self._state.view.live

    def __contains__(self, candidate_id: str) -> bool:
        """See `CandidateIndex.__contains__`."""
        self._refuse_if_closed()
        with self._state.write_lock:
            return self._state.ledger.slot_of(candidate_id) is not None

    def upsert(self, rows: Rows) -> int:
        """See `CandidateIndex.upsert`."""
        self._refuse_if_closed()
        units = unit_vectors(rows, self._dim)
        if self._owed:
            # a caller that tries a batch again and again would fill the memory with it
            self._settle_if_needed()
        with self._state.write_lock:
            accepted, replaced = self._state.ledger.admit(rows, self._state.view.arena)
            count = len(accepted)
            self._counters["upserts_ignored"] += len(rows) - count
            if count:
                self._append(fitting_rows(rows, units, accepted), replaced)
                self._counters["upserts_applied"] += count
        self._settle_if_needed()
        return count

    def _settle_if_needed(self) -> None:
        view = self._state.view
        if view.fresh_to - view.fresh_from >= self._config.fresh_rows:
            if self._builder is not None:
                self._builder.wake()
            if self._upkeep.full():
                self._owed = True
                self._upkeep.relieve()
        self._owed = False

    def _append(self, columns: Rows, replaced: SlotArray) -> None:
        view = self._state.view
        if view.arena.used + len(columns) > view.arena.capacity:
            view = self._upkeep.grow(view.arena.used + len(columns))
        sequence = view.sequence + 1
        first = view.arena.append(columns)
        # stamped with a sequence no reader has yet: the old row lives until the view below is published
        view.arena.kill(replaced, sequence)
        self._state.rows_killed += len(replaced)
        self._state.ledger.place(columns.candidate_ids, first)
        self._state.view = replace(view, sequence=sequence, fresh_to=view.arena.used, live=len(self._state.ledger))

    def delete(self, candidate_ids: Sequence[str], versions: IntArray) -> int:
        """See `CandidateIndex.delete`."""
        self._refuse_if_closed()
        checked = checked_versions(versions, len(candidate_ids))
        with self._state.write_lock:
            gone = self._state.ledger.delete(candidate_ids, checked, self._state.view.arena)
            self._bury(gone)
            self._counters["deletes_applied"] += len(gone)
        return len(gone)

    def forget_deletes(self, candidate_ids: Sequence[str]) -> None:
        """See `CandidateIndex.forget_deletes`."""
        self._refuse_if_closed()
        with self._state.write_lock:
            self._state.ledger.forget_deletes(candidate_ids)

    def expire(self, created_before_ms: int) -> list[str]:
        """See `CandidateIndex.expire`."""
        self._refuse_if_closed()
        with self._state.write_lock:
            self._state.ledger.raise_horizon(created_before_ms)
            view = self._state.view
            gone = view.arena.expired(self._state.ledger.expired_before_ms, view.sequence)
            ids = view.arena.ids_at(gone)
            self._state.ledger.forget(ids)
            self._bury(gone)
            self._counters["rows_expired"] += len(gone)
        return ids

    def _bury(self, slots: SlotArray) -> None:
        if len(slots):
            view = self._state.view
            view.arena.kill(slots, view.sequence + 1)
            self._state.rows_killed += len(slots)
            self._state.view = replace(view, sequence=view.sequence + 1, live=len(self._state.ledger))

    def search(self, query: FloatArray, k: int, where: Filter = EVERYTHING) -> Hits:
        """See `CandidateIndex.search`. Takes no lock."""
        self._refuse_if_closed()
        unit = unit_query(query, self._dim, k, where)
        view = self._state.view
        found = search(view, unit, k, where, self._config)
        self._counters[f"searches_{found.plan}"] += 1
        return Hits(found.scores, found.slots, view.arena)

    def search_exact(self, query: FloatArray, k: int, where: Filter = EVERYTHING) -> Hits:
        """See `CandidateIndex.search_exact`. Takes no lock."""
        self._refuse_if_closed()
        unit = unit_query(query, self._dim, k, where)
        view = self._state.view
        found = search_exact(view, unit, k, where)
        return Hits(found.scores, found.slots, view.arena)

    def audit(self, query: FloatArray, k: int, where: Filter = EVERYTHING) -> Audited:
        """See `CandidateIndex.audit`. Takes no lock."""
        self._refuse_if_closed()
        return audited(self._state.view, unit_query(query, self._dim, k, where), k, where, self._config)

    def distrust(self, tier: Tier) -> None:
        """See `CandidateIndex.distrust`. Waits for the step that the builder is in."""
        self._refuse_if_closed()
        if tier in ("codes", "graph"):
            self._upkeep.drop(tier)
            self._counters[f"distrusted_{tier}"] += 1
            if self._builder is not None:
                self._builder.wake()

    def get(self, candidate_id: str) -> Candidate | None:
        """The live row of this id."""
        self._refuse_if_closed()
        with self._state.write_lock:
            slot = self._state.ledger.slot_of(candidate_id)
            arena = self._state.view.arena
        if slot is None:
            return None
        row = rows_at(arena, np.array([slot]))
        return Candidate(
            candidate_id=candidate_id,
            vector=row.vectors[0],
            version=(int(row.versions[0, 0]), int(row.versions[0, 1])),
            created_ms=int(row.created_ms[0]),
            language=row.languages[0],
            author_id=row.author_ids[0],
            payload=row.payloads[0],
        )

    def contents(self) -> IndexContents:
        """See `CandidateIndex.contents`."""
        self._refuse_if_closed()
        with self._state.write_lock:
            view = self._state.view
            deleted, horizon = self._state.ledger.remembered()
        # outside the lock: a row is never overwritten, so the view stays as it was
        rows = rows_in_parts(view.arena, view.arena.live_slots(view.fresh_to, view.sequence))
        codebook = self._upkeep.codebook
        return IndexContents(rows, deleted, horizon, None if codebook is None else codebook.values)

    def restore(self, contents: IndexContents) -> None:
        """See `CandidateIndex.restore`. Settles the rows on this thread, with the codebook they had."""
        self._refuse_if_closed()
        if contents.codebook is not None and self._config.compressed is not None:
            self._upkeep.adopt(codebook_of(contents.codebook, self._dim))
        take_over(self, contents)

    def census(self, created_edges_ms: Sequence[int]) -> Census:
        """See `CandidateIndex.census`. Takes no lock; some 2 ms at 100,000 rows."""
        self._refuse_if_closed()
        view = self._state.view
        arena = view.arena
        slots = arena.live_slots(view.fresh_to, view.sequence)
        by_code = np.bincount(arena.language[slots])
        codes = np.flatnonzero(by_code).astype(np.int32)
        places = np.searchsorted(np.asarray(created_edges_ms, np.int64), arena.created_ms[slots], side="right")
        return Census(
            live=len(slots),
            languages=dict(zip(arena.languages.decode(codes), by_code[codes].tolist(), strict=True)),
            ages=np.bincount(places, minlength=len(created_edges_ms) + 1).tolist(),
        )

    def maintain(self, at_most_steps: int | None = None) -> None:
        """Do upkeep that is due now, on this thread: settle, build, compact. For an index without a builder thread."""
        self._refuse_if_closed()
        steps = 0
        while (at_most_steps is None or steps < at_most_steps) and self._upkeep.step():
            steps += 1

    def stats(self) -> IndexStats:
        """What an operator watches, as of now."""
        view, builder = self._state.view, self._builder
        compressed, graph = view.compressed, view.graph
        fixed = view.arena.bytes_held + ID_MAP_BYTES * view.live
        return IndexStats(
            live=view.live,
            fresh_rows=view.fresh_to - view.fresh_from,
            compressed_rows=0 if compressed is None else len(compressed),
            compressed_dead=view.compressed_dead,
            graph_rows=0 if graph is None else len(graph),
            graph_dead=view.graph_dead,
            merge_debt_rows=self._upkeep.merge_debt_rows(view),
            arena_rows=view.arena.used,
            remembered_deletes=self._state.ledger.deletes_remembered,
            memory_bytes=fixed + sum(tier.bytes_held for tier in (compressed, graph, view.beside_graph) if tier is not None),
            builder_running=builder is not None and builder.running,
            builder_heartbeat_age_s=0.0 if builder is None else builder.heartbeat_age_s,
            builder_fault=None if builder is None else builder.fault,
            counters=dict(self._counters),
            builder_wanted=builder is not None and not self._closed,
            fresh_rows_bound=0 if self._config.compressed is None else self._config.fresh_rows_at_most,
        )

    def close(self) -> None:
        """Refuse everything from now on and end the builder after its step. Searches under way finish."""
        self._closed = True
        if self._builder is not None:
            self._builder.stop()

    def _refuse_if_closed(self) -> None:
        if self._closed:
            raise IndexClosed("this index was closed; take the current epoch's index")
