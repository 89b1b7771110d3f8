"""Upkeep, one step at a time: which tier a row is in, when a graph is due, what memory comes back."""

import dataclasses

import numpy as np
import pytest

from serving.index import COMPRESSED_ONLY, CompressedConfig, Filter, GraphConfig, IndexConfig, LiveIndex
from serving.index.tiers.arena import Arena, grown, rows_at
from tests.numbered_rows import numbered_rows

DIM = 16
CONFIG = IndexConfig(
    fresh_rows=64,
    fresh_rows_at_most=512,
    compressed=CompressedConfig(train_from_rows=256),
    graph=GraphConfig(build_from_rows=128, pays_from_hits=0, chunk_rows=50),
    compact_from_rows=512,
    background=False,
)


def write(index: LiveIndex, first: int, count: int, author: str = "a:1", *, sequence: int = 0) -> None:
    """Candidates first, first + 1, ..., each created at its number."""
    vectors = np.random.default_rng(first).normal(size=(count, DIM)).astype(np.float32)
    authors, payloads = [author] * count, [b"p" * 10] * count
    index.upsert(numbered_rows(vectors, first, sequence=sequence, author_ids=authors, payloads=payloads))


def test_a_sliding_window_keeps_its_memory_however_long_it_slides() -> None:
    """Ten-minute soaks grew without end in the designs that never rewrite their rows."""
    index = LiveIndex(DIM, CONFIG)
    sizes, arenas = [], []
    for step in range(150):
        write(index, step * 100, 100, author=f"a:{step}")
        index.expire(step * 100 - 1_500)
        index.maintain()
        sizes.append(index.stats().memory_bytes)
        arenas.append(index.stats().arena_rows)
    assert max(arenas[50:]) <= 1.1 * max(arenas[20:50])
    assert max(sizes[50:]) <= 1.1 * max(sizes[20:50])
    assert len(index.view.arena.authors) < 60
    assert index.stats().counters["compactions"] >= 5
    assert len(index.search(np.ones(DIM, dtype=np.float32), 5_000)) == 1_600


def test_a_write_that_fails_over_what_it_owes_is_not_stored_each_time_it_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """A node tries a batch anew twice a second: where that failed each attempt was so many more rows in memory."""
    index = LiveIndex(DIM, CONFIG)

    def fail(_: object) -> None:
        raise MemoryError("no room for codes")

    with monkeypatch.context() as patched:
        patched.setattr("serving.index.keeping.upkeep.train_codebook", fail)
        write(index, 0, 500)
        with pytest.raises(MemoryError):
            write(index, 500, 100)
        held = index.stats().arena_rows
        for _ in range(20):
            with pytest.raises(MemoryError):
                write(index, 500, 100)
        assert index.stats().arena_rows == held
        assert len(index) == 600, "what was stored is found"
    write(index, 500, 100)
    assert (len(index), index.stats().fresh_rows) == (600, 100)
    write(index, 600, 100)
    assert len(index) == 700


def test_an_emptied_index_gives_its_memory_back() -> None:
    """A retired epoch's rows must not stay behind its last delete."""
    index = LiveIndex(DIM, CONFIG)
    write(index, 0, 5_000)
    index.maintain()
    full = index.stats().memory_bytes
    index.expire(10_000)
    index.maintain()
    assert len(index) == 0
    assert index.view.arena.used == 1
    assert index.view.graph is None
    assert index.stats().memory_bytes < full / 2
    assert len(index.search(np.ones(DIM, dtype=np.float32), 5)) == 0


def test_a_row_that_died_leaves_memory_in_time_however_few_they_are() -> None:
    """Of a small corpus that hardly changes an erased author's text stayed in the node until it was restarted."""
    for after_s, kept in ((3_600.0, True), (0.0, False)):
        index = LiveIndex(DIM, dataclasses.replace(CONFIG, compact_after_s=after_s))
        write(index, 0, 5, author="a:erased")
        write(index, 5, 95)
        index.delete([f"t:{n}" for n in range(5)], np.array([[10_000, 0]] * 5))
        index.maintain()
        assert len(index) == 95
        arena = index.view.arena
        held = "t:3" in arena.ids[: arena.used].tolist(), len(arena.authors.known(frozenset({"a:erased"}))) > 0
        assert held == (kept, kept)
        assert index.search(np.ones(DIM, dtype=np.float32), 200).candidate_ids
        index.maintain()
        assert index.stats().counters.get("compactions", 0) == (not kept)


def test_a_graph_is_published_whole_while_rows_go_on_arriving() -> None:
    """A half-filled graph would answer with half the corpus."""
    index = LiveIndex(DIM, CONFIG)
    write(index, 0, 600)
    seen = []
    for step in range(40):
        index.maintain(at_most_steps=1)
        write(index, 600 + step * 5, 5)
        graph = index.view.graph
        seen.append(0 if graph is None else len(graph))
    sizes = [size for size in dict.fromkeys(seen) if size]
    assert sizes
    assert sizes[0] >= 128
    assert seen[0] == 0


def test_the_graph_takes_the_youngest_settled_rows_and_codes_hold_the_rest() -> None:
    """In a sliding window the oldest expire before a graph of them pays."""
    index = LiveIndex(DIM, CONFIG)
    write(index, 0, 1_000)
    index.maintain()
    view = index.view
    assert view.graph is not None
    assert view.beside_graph is not None
    covered = view.arena.created_ms_at(view.graph.slots)
    beside = view.arena.created_ms_at(view.beside_graph.slots)
    assert covered.min() > beside[beside > 0].max() - 64
    assert len(view.graph) + len(view.beside_graph) >= 1_000


def test_no_graph_is_built_while_the_codes_of_its_rows_are_scanned_at_less_cost() -> None:
    """It would be built anew as rows turn over, and no search would walk it."""
    patient = dataclasses.replace(CONFIG.graph or GraphConfig(), pays_from_hits=10)
    breadth = patient.breadth_per_hit * patient.pays_from_hits + patient.breadth_slack
    costs = CompressedConfig(train_from_rows=256, scan_us_per_row=patient.walk_us(breadth, 750) / 750)
    index = LiveIndex(DIM, dataclasses.replace(CONFIG, compressed=costs, graph=patient))
    write(index, 0, 1_400)
    index.maintain()
    assert index.view.graph is None
    assert index.stats().merge_debt_rows == 0
    # the half that a graph takes is 750 rows and more
    write(index, 1_400, 200)
    index.maintain()
    assert index.view.graph is not None


def test_no_graph_is_built_of_rows_whose_codes_are_yet_to_be_learned() -> None:
    """Too few rows to learn from are scanned at less cost than walked: a corpus that fills up would build a graph on its way."""
    late = CompressedConfig(train_from_rows=2_000)
    index = LiveIndex(DIM, dataclasses.replace(CONFIG, fresh_rows_at_most=2_000, compressed=late, graph=GraphConfig(128)))
    write(index, 0, 1_500)
    index.maintain()
    assert index.view.compressed is None
    assert index.view.graph is None


def test_a_few_rows_renewed_over_and_over_teach_no_codes() -> None:
    """What a codebook of a hundred rows says of the thousands that follow costs every one of their queries."""
    index = LiveIndex(DIM, CONFIG)
    for sequence in range(12):
        write(index, 0, 100, sequence=sequence)
    assert index.stats().arena_rows <= 600, "the builder is late: the writer gives the dead rows' memory back itself"
    write(index, 100, 400)
    index.maintain()
    learned = index.contents().codebook
    other = LiveIndex(DIM, CONFIG)
    write(other, 0, 100, sequence=11)
    write(other, 100, 400)
    other.maintain()
    of_all = other.contents().codebook
    assert learned is not None
    assert of_all is not None
    assert np.array_equal(learned, of_all)


def test_codes_that_are_distrusted_are_learned_anew_from_the_rows_of_now() -> None:
    """Rows drift: codes made by levels of long ago would fall short again."""
    index = LiveIndex(DIM, CONFIG)
    write(index, 0, 600)
    index.maintain()
    before = index.contents().codebook
    write(index, 600, 600)
    index.expire(600)
    index.distrust("codes")
    index.maintain()
    after = index.contents().codebook
    assert before is not None
    assert after is not None
    assert not np.array_equal(before, after)


def test_the_builder_hurries_when_it_is_behind() -> None:
    """Its next graph gets cheaper, never the queries slower."""
    hurried = dataclasses.replace(CONFIG, graph=GraphConfig(build_from_rows=128, pays_from_hits=0, hurry_share=0.3))
    index = LiveIndex(DIM, hurried)
    write(index, 0, 500)
    index.maintain()
    write(index, 500, 2_000)
    index.maintain()
    assert index.stats().counters["graphs_started_hurried"] >= 1


def test_a_graph_of_dead_rows_is_dropped() -> None:
    """Walking a graveyard costs more than scanning the living."""
    index = LiveIndex(DIM, dataclasses.replace(CONFIG, compact_dead_share=0.99))
    write(index, 0, 1_000)
    index.maintain()
    assert index.stats().graph_rows > 0
    index.expire(950)
    index.maintain()
    assert index.stats().graph_rows == 0
    assert index.stats().counters["graphs_dropped"] == 1
    assert len(index.search(np.ones(DIM, dtype=np.float32), 100)) == 50


@pytest.mark.parametrize("config", [CONFIG, dataclasses.replace(COMPRESSED_ONLY, background=False)])
def test_k_hits_come_back_when_the_nearest_are_all_deleted(config: IndexConfig) -> None:
    """Deletes cluster: a takedown of one topic empties exactly the neighbourhood a query asks for."""
    index = LiveIndex(DIM, config)
    write(index, 0, 3_000)
    index.maintain()
    query = np.ones(DIM, dtype=np.float32)
    nearest = index.search_exact(query, 2_500).candidate_ids
    index.delete(nearest, np.tile(np.array([[10_000, 0]], dtype=np.int64), (len(nearest), 1)))
    assert index.search(query, 400).candidate_ids[:50] == index.search_exact(query, 400).candidate_ids[:50]
    assert len(index.search(query, 400)) == 400
    assert len(index.search(query, 400, Filter(exclude_ids=frozenset(nearest)))) == 400


def test_merge_debt_says_how_far_behind_the_builder_is() -> None:
    """It is the alarm of a builder that died or lags."""
    index = LiveIndex(DIM, CONFIG)
    write(index, 0, 400)
    assert index.stats().merge_debt_rows > 0
    index.maintain()
    assert index.stats().merge_debt_rows == 0


def test_an_arena_is_grown_beside_its_writers_before_it_is_full(monkeypatch: pytest.MonkeyPatch) -> None:
    """The writer that found it full copied all of it: at 262,000 rows nothing new was retrievable for a quarter of a second."""
    monkeypatch.setattr("serving.index.view.FIRST_CAPACITY_ROWS", 1_000)
    index = LiveIndex(DIM, CONFIG)
    write(index, 0, 700)
    index.maintain()
    assert index.view.arena.capacity == 1_000
    write(index, 700, 60)

    def written_to_meanwhile(arena: Arena, capacity: int) -> Arena:
        larger = grown(arena, capacity)
        write(index, 760, 90)
        write(index, 10, 5, sequence=1)
        index.delete(["t:20", "t:759"], np.full((2, 2), 10**6))
        return larger

    monkeypatch.setattr("serving.index.keeping.upkeep.grown", written_to_meanwhile)
    small = index.view.arena
    index.maintain()

    view, arena = index.view, index.view.arena
    assert (arena.capacity, arena.used) == (2_000, small.used)
    assert index.stats().counters["arena_grown"] == 1
    assert arena.payload_bytes == small.payload_bytes
    slots = small.live_slots(view.fresh_to, view.sequence)
    assert len(slots) == len(index) == 850 - 2
    assert arena.live_slots(view.fresh_to, view.sequence).tolist() == slots.tolist()
    mine, others = rows_at(arena, slots), rows_at(small, slots)
    assert (mine.candidate_ids, mine.author_ids, mine.payloads) == (others.candidate_ids, others.author_ids, others.payloads)
    assert (mine.vectors == others.vectors).all()
    assert (mine.versions == others.versions).all()
    write(index, 30, 1, sequence=1)
    assert len(index) == len(slots)


def test_a_writer_that_finds_no_room_makes_it_and_the_builder_takes_its_own_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """A builder that is starved stops nobody from writing, and what it publishes late lacks no row."""
    monkeypatch.setattr("serving.index.view.FIRST_CAPACITY_ROWS", 1_000)
    index = LiveIndex(DIM, CONFIG)
    write(index, 0, 990)
    asked: list[int] = []

    def overtaken(arena: Arena, capacity: int) -> Arena:
        larger = grown(arena, capacity)
        asked.append(capacity)
        if len(asked) == 1:
            write(index, 990, 30)
        return larger

    monkeypatch.setattr("serving.index.keeping.upkeep.grown", overtaken)
    index.maintain()
    assert len(asked) == 2
    assert index.stats().counters["arena_grown"] == 1
    assert len(index.contents().rows) == index.view.arena.used - 1 == 1_020
