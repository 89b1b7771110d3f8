"""The live index against the exact one under any sequence of operations, with every tier switching many times."""

import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from serving.index import CellsConfig, CompressedConfig, ExactIndex, Filter, GraphConfig, IndexConfig, LiveIndex, Rows

DIM = 8
IDS = [f"t:{i}" for i in range(150)]
LANGUAGES = ["en", "ja", "und"]
AUTHORS = [f"a:{i}" for i in range(5)]
SCANNED = CompressedConfig(train_from_rows=20, train_sample_rows=200, scan_us_per_row=0.0)
"""Scanning costs nothing, so no graph is walked."""
WALKED = CompressedConfig(train_from_rows=20, train_sample_rows=200, scan_us_per_row=1e6)
CELLED = CompressedConfig(
    train_from_rows=20,
    train_sample_rows=200,
    cells=CellsConfig(group_from_rows=60, rows_per_cell=10, regroup_share=0.3, chunk_rows=16, first_cells=8),
)
"""Grouped over and over, and ungrouped below 30 rows; two rounds reach every cell, so that the best row is always found."""
GRAPH = GraphConfig(build_from_rows=16, pays_from_hits=0, rebuild_share=0.3, chunk_rows=8)
TIERS: list[tuple[CompressedConfig | None, GraphConfig | None]] = [
    (WALKED, GRAPH),
    (WALKED, GRAPH),
    (SCANNED, GRAPH),
    (SCANNED, None),
    (CELLED, GRAPH),
    (CELLED, None),
    (None, GRAPH),
]

lags = st.integers(min_value=0, max_value=12)
"""How far behind the rising clock an event is; the largest is past most expiries."""
some_ids = st.lists(st.sampled_from(IDS), min_size=10, max_size=40)
filters = st.just(Filter()) | st.builds(
    Filter,
    languages=st.none() | st.frozensets(st.sampled_from(LANGUAGES)),
    created_from_ms=st.none() | st.integers(0, 60),
    exclude_ids=st.frozensets(st.sampled_from(IDS), max_size=20),
    authors=st.none() | st.frozensets(st.sampled_from(AUTHORS)),
    exclude_authors=st.frozensets(st.sampled_from(AUTHORS), max_size=2),
    per_author_cap=st.none() | st.integers(min_value=1, max_value=4),
)


class IndexAgainstDict(RuleBasedStateMachine):
    """Every answer of the tiered index is one the reference could give; what is live is the same after every step."""

    @initialize(tiers=st.sampled_from(TIERS))
    def start(self, tiers: tuple[CompressedConfig | None, GraphConfig | None]) -> None:
        """Tiers that settle after ten rows, so that twenty steps cross every boundary."""
        compressed, graph = tiers
        config = IndexConfig(
            fresh_rows=10,
            fresh_rows_at_most=40,
            compressed=compressed,
            graph=graph,
            exact_us_per_row=1e6,
            compact_from_rows=60,
            background=False,
        )
        self.index, self.reference = LiveIndex(DIM, config), ExactIndex(DIM)
        self.written = 0
        self.clock = 0
        self.upsert(IDS, [0] * len(IDS), 0, 0, 9)

    @rule(
        ids=some_ids, late=st.lists(lags, min_size=40, max_size=40), age=lags, sequence=st.integers(0, 2), steps=st.integers(0, 14)
    )
    def upsert(self, ids: list[str], late: list[int], age: int, sequence: int, steps: int) -> None:
        """Duplicates in a batch, late versions and refreshes included; then upkeep, stopped anywhere: between two chunks of a
        graph, before a compaction.
        """
        count = len(ids)
        self.written += count
        self.clock += 1
        rows = Rows(
            candidate_ids=ids,
            vectors=np.random.default_rng(self.written).normal(size=(count, DIM)).astype(np.float32),
            versions=np.array([[self.clock - lag // 4, sequence] for lag in late[:count]]),
            created_ms=np.full(count, self.clock - age),
            languages=[LANGUAGES[len(i) % 3] for i in ids],
            author_ids=[AUTHORS[int(i[2:]) % 5] for i in ids],
            payloads=[f"{i}/{self.written}".encode() for i in ids],
        )
        assert self.index.upsert(rows) == self.reference.upsert(rows)
        self.index.maintain(at_most_steps=steps)

    @rule(ids=some_ids, late=lags, sequence=st.integers(0, 2))
    def delete(self, ids: list[str], late: int, sequence: int) -> None:
        """Known and unknown ids, early and late."""
        versions = np.tile(np.array([[self.clock + 1 - late, sequence]], dtype=np.int64), (len(ids), 1))
        assert self.index.delete(ids, versions) == self.reference.delete(ids, versions)

    @rule(ids=some_ids)
    def forget_deletes(self, ids: list[str]) -> None:
        """Of deleted, live and unknown ids."""
        for index in (self.index, self.reference):
            index.forget_deletes(ids)

    @rule()
    def restart(self) -> None:
        """A node that was killed: another index takes over what this one held."""
        held, config = self.index.contents(), self.index._config
        self.index.close()
        self.index = LiveIndex(DIM, config)
        self.index.restore(held)

    @rule(age=st.integers(min_value=3, max_value=20))
    def expire(self, age: int) -> None:
        """The horizon, forwards and backwards."""
        before = self.clock - age
        assert sorted(self.index.expire(before)) == sorted(self.reference.expire(before))

    @rule(k=st.sampled_from([0, 1, 3, 10, 40, 200]), where=filters, seed=st.integers(0, 5))
    def search(self, k: int, where: Filter, seed: int) -> None:
        """As many hits as the reference, all of them matching, each with its true score; the exact search equals it."""
        query = np.random.default_rng(seed).normal(size=DIM).astype(np.float32)
        truth = self.reference.search(query, k, where)
        exact = self.index.search_exact(query, k, where)
        assert exact.candidate_ids == truth.candidate_ids
        assert exact.payloads == truth.payloads
        assert exact.versions.tolist() == truth.versions.tolist()
        hits = self.index.search(query, k, where)
        assert len(set(hits.candidate_ids)) == len(hits) == len(truth)
        possible = self.reference.search(query, len(IDS), Filter(where.languages, where.created_from_ms, where.exclude_ids))
        scores = dict(zip(possible.candidate_ids, possible.scores, strict=True))
        for candidate_id, score in zip(hits.candidate_ids, hits.scores, strict=True):
            assert score == pytest.approx(scores[candidate_id], abs=1e-5)
        assert (np.diff(hits.scores) <= 0).all()
        if k == 1 and len(truth):
            assert hits.scores[0] >= truth.scores[0] - 1e-6
        authors = hits.author_ids
        assert where.authors is None or set(authors) <= where.authors
        assert not set(authors) & where.exclude_authors
        assert where.per_author_cap is None or all(authors.count(a) <= where.per_author_cap for a in authors)

    @invariant()
    def the_live_rows_are_the_same(self) -> None:
        """Compared whole: ids, versions, attributes, payloads, remembered deletes, horizon."""
        held, truth = self.index.contents(), self.reference.contents()
        assert held.deleted == truth.deleted
        assert held.expired_before_ms == truth.expired_before_ms
        assert len(self.index) == len(self.reference) == len(held.rows)
        order, other = np.argsort(held.rows.candidate_ids), np.argsort(truth.rows.candidate_ids)
        assert [held.rows.candidate_ids[i] for i in order] == [truth.rows.candidate_ids[i] for i in other]
        assert [held.rows.payloads[i] for i in order] == [truth.rows.payloads[i] for i in other]
        np.testing.assert_array_equal(held.rows.versions[order], truth.rows.versions[other])
        np.testing.assert_array_equal(held.rows.vectors[order], truth.rows.vectors[other])

    @invariant()
    def every_live_row_is_in_a_tier(self) -> None:
        """A row that fell between two tiers would still be live, and never found."""
        view = self.index.view
        live = set(view.arena.live_slots(view.fresh_to, view.sequence).tolist())
        fresh = {slot for slot in live if slot >= view.fresh_from}
        graph = set() if view.graph is None else set(view.graph.slots.tolist())
        if view.compressed is not None:
            assert live <= fresh | set(view.compressed.slots.tolist())
        if view.graph is not None:
            beside = set() if view.beside_graph is None else set(view.beside_graph.slots.tolist())
            assert live <= fresh | graph | beside
        elif view.compressed is None:
            assert live == fresh


TestIndexAgainstDict = IndexAgainstDict.TestCase
TestIndexAgainstDict.settings = settings(
    max_examples=40, stateful_step_count=40, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck)
)
