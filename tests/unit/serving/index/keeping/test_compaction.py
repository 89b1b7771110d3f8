"""The arena rewritten while others write: every row that lives has one place, and whoever holds slots is told the new ones."""

import gc

import numpy as np
import pytest

from serving.index import CompressedConfig, GraphConfig, IndexConfig, LiveIndex, Rows
from serving.index.keeping import compaction
from serving.index.keeping.compaction import Compaction
from serving.index.tiers.arena import GRAVE, Arena, SlotArray
from tests.living import living
from tests.numbered_rows import numbered_rows

DIM = 16
CONFIG = IndexConfig(
    fresh_rows=64, fresh_rows_at_most=128, compressed=CompressedConfig(train_from_rows=256), graph=None, background=False
)


def rows_of(first: int, count: int, *, version: int = 0) -> Rows:
    """Candidates first, first + 1, ..., each created at its number."""
    numbers = range(first, first + count)
    return numbered_rows(
        np.random.default_rng((first, version)).normal(size=(count, DIM)).astype(np.float32),
        first,
        sequence=version,
        author_ids=[f"a:{number % 7}" for number in numbers],
        payloads=[f"{number}/{version}".encode() for number in numbers],
    )


def delete(index: LiveIndex, numbers: range) -> None:
    """Whatever their versions."""
    index.delete([f"t:{number}" for number in numbers], np.array([[10**6, 0]] * len(numbers)))


def held(index: LiveIndex) -> dict[str, tuple[bytes, bytes]]:
    """Vector and payload of each live candidate."""
    rows = index.contents().rows
    parts = zip(rows.candidate_ids, rows.vectors, rows.payloads, strict=True)
    return {candidate_id: (vector.tobytes(), payload) for candidate_id, vector, payload in parts}


@pytest.mark.parametrize("config", [CONFIG, IndexConfig(), IndexConfig(compressed=None, graph=GraphConfig())])
def test_a_closed_index_gives_its_memory_back_at_once(config: IndexConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    """A node's collector looks for cycles once in many minutes: after twenty rollouts it held twice what it needed."""
    arenas = living(Arena, monkeypatch)
    gc.collect()
    gc.disable()
    try:
        index = LiveIndex(DIM, config)
        index.upsert(rows_of(0, 2_000))
        delete(index, range(1_500))
        index.close()
        assert len(arenas) > 0
        del index
        assert len(arenas) == 0
    finally:
        gc.enable()


@pytest.mark.parametrize("late", [40, 700], ids=["a few", "more than there was room for, some of them settled"])
def test_what_happens_while_the_arena_is_rewritten_is_brought_over(late: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A rewrite takes long beside queries; a row that came, changed or died meanwhile would be lost, or live twice."""
    monkeypatch.setattr(compaction, "FIRST_CAPACITY_ROWS", 1)
    monkeypatch.setattr(compaction, "ROOM_PER_LIVE_ROW", 1)
    index = LiveIndex(DIM, CONFIG)
    index.upsert(rows_of(0, 1_000))
    index.maintain()
    delete(index, range(0, 1_000, 2))
    told: list[SlotArray] = []
    base = index.view

    for first in range(1_000, 1_000 + late, 20):
        index.upsert(rows_of(first, 20))
    index.upsert(rows_of(101, 5, version=1))
    delete(index, range(301, 321, 2))
    delete(index, range(1_005, 1_010))
    before, old = held(index), index.view.arena
    Compaction(index._state, CONFIG).run(base, told.append)

    view, arena = index.view, index.view.arena
    assert held(index) == before
    assert view.generation == base.generation + 1
    assert arena.used < old.used
    new_slots = arena.live_slots(view.fresh_to, view.sequence)
    old_slots = old.live_slots(len(told[0]), view.sequence)
    assert told[0][old_slots].tolist() == new_slots.tolist()
    assert arena.ids[new_slots].tolist() == old.ids[old_slots].tolist()
    assert set(told[0][: base.fresh_to][old.died[: base.fresh_to] <= base.sequence].tolist()) == {GRAVE}
    assert view.compressed is not None
    settled = set(view.compressed.slots.tolist())
    assert set(new_slots.tolist()) <= settled | set(range(view.fresh_from, view.fresh_to))
    for candidate_id in ("t:1", "t:101", "t:999", "t:1000", f"t:{1_000 + late - 1}"):
        found = index.get(candidate_id)
        assert found is not None
        assert index.search(found.vector, 1).candidate_ids == [candidate_id]
    assert index.get("t:301") is None
    # the ledger knows the new places: a later version replaces the row that was moved
    index.upsert(rows_of(101, 5, version=2))
    assert len(index) == len(before)


def test_a_compaction_between_two_chunks_of_a_graph_moves_the_rows_of_both() -> None:
    """Slots get other numbers while half of a graph is constructed."""
    config = IndexConfig(
        fresh_rows=64,
        compressed=None,
        graph=GraphConfig(build_from_rows=128, chunk_rows=50),
        exact_us_per_row=1e6,
        compact_from_rows=512,
        background=False,
    )
    index = LiveIndex(DIM, config)
    index.upsert(rows_of(0, 1_000))
    # the order, and some of twenty chunks
    index.maintain(at_most_steps=6)
    index.expire(600)
    index.upsert(rows_of(1_000, 100))
    assert index.view.graph is None
    index.maintain()
    assert index.stats().counters["compactions"] == 1
    assert index.stats().counters["graphs_published"] == 1
    view = index.view
    assert view.graph is not None
    assert len(view.graph) == 1_000
    assert view.fresh_to - view.fresh_from == 100
    rows = index.contents().rows
    found = [index.search(vector, 1).candidate_ids == [own] for own, vector in zip(rows.candidate_ids, rows.vectors, strict=True)]
    assert len(found) == 500
    assert np.mean(found) > 0.98
