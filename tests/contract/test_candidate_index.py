"""What every candidate index must do: the tiered live index in each configuration, and the exact one that stands in for it."""

from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
import pytest

from serving.index import (
    CandidateIndex,
    CellsConfig,
    CompressedConfig,
    ExactIndex,
    Filter,
    GraphConfig,
    IndexClosed,
    IndexConfig,
    InvalidQuery,
    LiveIndex,
    MisalignedRows,
    Rows,
    UnusableVectors,
    WrongDimension,
)

DIM = 8
SMALL_COMPRESSED = CompressedConfig(train_from_rows=64, train_sample_rows=500)
SMALL_CELLS = CellsConfig(group_from_rows=100, rows_per_cell=20, chunk_rows=32, first_cells=2)
SMALL_GRAPH = GraphConfig(build_from_rows=64, pays_from_hits=0, chunk_rows=32)


def small(compressed: CompressedConfig | None, graph: GraphConfig | None) -> IndexConfig:
    """Tiers that settle after tens of rows instead of thousands, with upkeep done when the test asks."""
    return IndexConfig(
        fresh_rows=32,
        fresh_rows_at_most=128,
        compressed=compressed,
        graph=graph,
        compact_from_rows=64,
        background=False,
    )


INDEXES: dict[str, Callable[[], CandidateIndex]] = {
    "exact": lambda: ExactIndex(DIM),
    "all tiers": lambda: LiveIndex(DIM, small(SMALL_COMPRESSED, SMALL_GRAPH)),
    "compressed only": lambda: LiveIndex(DIM, small(SMALL_COMPRESSED, None)),
    "codes in cells": lambda: LiveIndex(DIM, small(replace(SMALL_COMPRESSED, cells=SMALL_CELLS), None)),
    "graph only": lambda: LiveIndex(DIM, small(None, SMALL_GRAPH)),
    "no settled tier": lambda: LiveIndex(DIM, small(None, None)),
    "defaults": lambda: LiveIndex(DIM),
}


@pytest.fixture(params=INDEXES.keys())
def index(request: pytest.FixtureRequest) -> Iterator[CandidateIndex]:
    """Each implementation in turn."""
    made = INDEXES[request.param]()
    yield made
    made.close()


def settle(index: CandidateIndex) -> None:
    """Let the upkeep run to its end where the test, not a thread, drives it."""
    if isinstance(index, LiveIndex) and not index.stats().builder_running:
        index.maintain()


def rows(
    ids: list[str],
    *,
    vectors: np.ndarray | None = None,
    time_ms: int | list[int] = 1_000,
    created_ms: int = 1_000,
    languages: list[str] | None = None,
    authors: list[str] | None = None,
    payload: bytes = b"snapshot\x00",
) -> Rows:
    """A batch whose uninteresting columns are filled in."""
    count = len(ids)
    times = np.full(count, time_ms) if isinstance(time_ms, int) else np.array(time_ms)
    return Rows(
        candidate_ids=ids,
        vectors=random_vectors(count) if vectors is None else vectors,
        versions=np.stack([times, np.zeros(count, dtype=np.int64)], axis=1),
        created_ms=np.full(count, created_ms),
        languages=languages or ["en"] * count,
        author_ids=authors or [f"a:{i}" for i in range(count)],
        payloads=[payload] * count,
    )


def random_vectors(count: int, seed: int = 3) -> np.ndarray:
    """[count, DIM] float32."""
    return np.random.default_rng(seed).normal(size=(count, DIM)).astype(np.float32)


def at(time_ms: int, count: int = 1, sequence: int = 0) -> np.ndarray:
    """`count` equal versions."""
    return np.tile(np.array([[time_ms, sequence]], dtype=np.int64), (count, 1))


def ids(count: int) -> list[str]:
    """t:0, t:1, ..."""
    return [f"t:{i}" for i in range(count)]


def test_an_upserted_candidate_is_the_best_answer_to_its_own_vector_on_return(index: CandidateIndex) -> None:
    """Freshness is the product: no flush, no wait, whichever tier its neighbours are in."""
    vectors = random_vectors(400)
    for first in range(0, 400, 20):
        part = ids(400)[first : first + 20]
        assert index.upsert(rows(part, vectors=vectors[first : first + 20])) == 20
        for candidate_id, vector in zip(part, vectors[first : first + 20], strict=True):
            assert index.search(vector, 1).candidate_ids == [candidate_id]
        settle(index)
    assert len(index) == 400


def test_every_row_of_a_settled_index_is_found_by_its_own_vector(index: CandidateIndex) -> None:
    """Settling, building and compacting move rows between tiers; none may fall between."""
    vectors = random_vectors(500)
    index.upsert(rows(ids(500), vectors=vectors))
    settle(index)
    again = random_vectors(500, seed=4)
    index.upsert(rows(ids(500), vectors=again, time_ms=2_000))
    settle(index)
    for candidate_id, vector in zip(ids(500), again, strict=True):
        assert index.search(vector, 1).candidate_ids == [candidate_id]


def test_scores_are_cosines_in_descending_order_whatever_the_vectors_length(index: CandidateIndex) -> None:
    """Towers need not normalise; a long vector must not outrank a near one."""
    vectors = random_vectors(200) * np.linspace(0.01, 900, 200, dtype=np.float32)[:, None]
    index.upsert(rows(ids(200), vectors=vectors))
    settle(index)
    query = random_vectors(1, seed=9)[0]
    hits = index.search(query, 10)
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    truth = unit @ (query / np.linalg.norm(query))
    assert hits.scores.dtype == np.float32
    assert (np.diff(hits.scores) <= 0).all()
    np.testing.assert_allclose(hits.scores, [truth[int(i[2:])] for i in hits.candidate_ids], atol=1e-5)


def test_a_hit_carries_its_version_attributes_and_payload_unchanged(index: CandidateIndex) -> None:
    """The payload is the feature snapshot of invariant 4; a stripped zero byte would make it undecodable."""
    given = Rows(
        candidate_ids=["t:ünïcode"],
        vectors=random_vectors(1),
        versions=np.array([[123, 456]]),
        created_ms=np.array([99]),
        languages=["日本語"],
        author_ids=["a:é"],
        payloads=[b"\x00ends in zero\x00"],
    )
    index.upsert(given)
    hits = index.search(given.vectors[0], 5)
    assert hits.candidate_ids == ["t:ünïcode"]
    assert hits.versions.tolist() == [[123, 456]]
    assert (hits.created_ms.tolist(), hits.languages, hits.author_ids) == ([99], ["日本語"], ["a:é"])
    assert hits.payloads == [b"\x00ends in zero\x00"]
    held = index.get("t:ünïcode")
    assert held is not None
    assert (held.version, held.created_ms, held.language, held.author_id) == ((123, 456), 99, "日本語", "a:é")
    assert held.payload == b"\x00ends in zero\x00"


def test_k_above_the_live_count_gives_what_there_is(index: CandidateIndex) -> None:
    """The graph library raises and leaks here; a young index must answer."""
    assert len(index.search(random_vectors(1)[0], 10)) == 0
    index.upsert(rows(ids(150)))
    settle(index)
    assert len(index.search(random_vectors(1)[0], 10_000)) == 150
    assert len(index.search(random_vectors(1)[0], 0)) == 0


def test_the_highest_version_wins_in_any_order(index: CandidateIndex) -> None:
    """Kafka redelivers: a late event never overwrites a newer one."""
    old, new = random_vectors(2)
    assert index.upsert(rows(["t:1"], vectors=new[None], time_ms=200)) == 1
    assert index.upsert(rows(["t:1"], vectors=old[None], time_ms=100)) == 0
    held = index.get("t:1")
    assert held is not None
    assert held.version == (200, 0)
    assert len(index) == 1


def test_an_equal_version_applies_again_as_a_refresh(index: CandidateIndex) -> None:
    """Engagements re-embed a candidate without raising its version."""
    index.upsert(rows(["t:1"], vectors=random_vectors(1, seed=1), payload=b"before"))
    assert index.upsert(rows(["t:1"], vectors=random_vectors(1, seed=2), payload=b"after")) == 1
    hits = index.search(random_vectors(1)[0], 5)
    assert hits.payloads == [b"after"]


def test_of_an_id_twice_in_a_batch_the_highest_version_counts_and_the_later_on_a_tie(index: CandidateIndex) -> None:
    """A coalesced poll holds several versions of one candidate; the answer holds one."""
    batch = rows(["t:1", "t:2", "t:1", "t:2"], time_ms=[300, 100, 200, 100])
    assert index.upsert(batch) == 2
    first, second = index.get("t:1"), index.get("t:2")
    assert first is not None
    assert second is not None
    assert first.version == (300, 0)
    unit = batch.vectors[3] / np.linalg.norm(batch.vectors[3])
    np.testing.assert_allclose(second.vector, unit, atol=1e-6)
    assert len(index) == 2


def test_a_delete_holds_at_once_in_every_tier(index: CandidateIndex) -> None:
    """A takedown may not wait for a merge."""
    vectors = random_vectors(300)
    index.upsert(rows(ids(300), vectors=vectors))
    settle(index)
    index.upsert(rows([f"t:fresh{i}" for i in range(10)], vectors=random_vectors(10, seed=5)))
    doomed = [*ids(300)[::3], "t:fresh1"]
    assert index.delete(doomed, at(2_000, len(doomed))) == 101
    for vector in vectors[::30]:
        assert not set(index.search(vector, 300).candidate_ids) & set(doomed)
    settle(index)
    assert set(index.search(vectors[0], 1_000).candidate_ids).isdisjoint(doomed)
    assert len(index) == 310 - 101


def test_a_delete_beats_an_update_of_the_same_version_and_older_ones_cannot_resurrect(index: CandidateIndex) -> None:
    """The version rule of the contracts, also for ids never seen."""
    assert index.delete(["t:1"], at(500)) == 0
    assert index.upsert(rows(["t:1"], time_ms=500)) == 0
    assert index.upsert(rows(["t:1"], time_ms=499)) == 0
    assert index.upsert(rows(["t:1"], time_ms=501)) == 1
    assert index.delete(["t:1"], at(500)) == 0
    assert "t:1" in index
    assert index.delete(["t:1"], at(501)) == 1
    assert index.get("t:1") is None
    assert "t:1" not in index


def test_a_lower_delete_does_not_lift_a_higher_one(index: CandidateIndex) -> None:
    """Deletes arrive out of order too."""
    index.delete(["t:1", "t:1"], np.array([[900, 0], [300, 0]]))
    index.delete(["t:1"], at(500))
    assert index.upsert(rows(["t:1"], time_ms=800)) == 0


def test_a_delete_that_is_forgotten_hides_nothing_and_what_is_live_stays(index: CandidateIndex) -> None:
    """Deletes are remembered for a time; after it any life of the id may come, and none that came since may go."""
    index.upsert(rows(["t:live"], vectors=random_vectors(1, seed=3), time_ms=900))
    index.delete(["t:1", "t:2", "t:live"], at(500, 3))
    index.forget_deletes(["t:1", "t:live", "t:unknown"])
    assert index.upsert(rows(["t:1"], time_ms=400)) == 1
    assert index.upsert(rows(["t:2"], time_ms=400)) == 0
    assert index.get("t:live") is not None
    assert list(index.contents().deleted) == ["t:2"]


def test_expiry_drops_rows_for_good(index: CandidateIndex) -> None:
    """A recency window that a redelivery could reopen is not a window."""
    index.upsert(rows(ids(100), created_ms=1_000))
    index.upsert(rows([f"t:new{i}" for i in range(50)], created_ms=5_000, time_ms=5_000))
    settle(index)
    assert sorted(index.expire(2_000)) == sorted(ids(100))
    assert len(index) == 50
    assert index.upsert(rows(ids(100), created_ms=1_000, time_ms=9_000)) == 0
    assert index.expire(1_500) == []
    assert index.upsert(rows(ids(1), created_ms=1_700, time_ms=9_000)) == 0
    assert all(i.startswith("t:new") for i in index.search(random_vectors(1)[0], 100).candidate_ids)


@pytest.mark.parametrize("share", [2, 20, 150])
def test_a_filter_returns_k_whenever_k_match_at_any_selectivity(index: CandidateIndex, share: int) -> None:
    """Post-filtering a fixed candidate list starves rare languages: here 1 row in `share` matches."""
    languages = ["xx" if i % share == 0 else "en" for i in range(600)]
    index.upsert(rows(ids(600), vectors=random_vectors(600), languages=languages))
    settle(index)
    matching = {f"t:{i}" for i in range(0, 600, share)}
    hits = index.search(random_vectors(1, seed=8)[0], 30, Filter(languages=frozenset({"xx"})))
    assert len(hits) == min(30, len(matching))
    assert set(hits.candidate_ids) <= matching
    assert set(hits.languages) == {"xx"}


def test_each_filter_condition_is_kept(index: CandidateIndex) -> None:
    """One wrong row is a blocked author or a seen tweet shown again."""
    authors = [f"a:{i % 7}" for i in range(300)]
    index.upsert(rows(ids(200), vectors=random_vectors(200), authors=authors[:200], created_ms=1_000))
    index.upsert(rows(ids(300)[200:], vectors=random_vectors(100, seed=6), authors=authors[200:], created_ms=3_000))
    settle(index)
    query = random_vectors(1, seed=8)[0]
    seen = frozenset(ids(300)[:290])
    assert sorted(index.search(query, 50, Filter(exclude_ids=seen)).candidate_ids) == sorted(ids(300)[290:])
    assert index.search(query, 300, Filter(created_from_ms=3_000)).created_ms.tolist() == [3_000] * 100
    assert set(index.search(query, 300, Filter(authors=frozenset({"a:1", "a:2"}))).author_ids) == {"a:1", "a:2"}
    assert "a:3" not in index.search(query, 300, Filter(exclude_authors=frozenset({"a:3"}))).author_ids
    both = Filter(authors=frozenset({"a:1", "a:2"}), exclude_authors=frozenset({"a:2", "a:9"}))
    assert set(index.search(query, 300, both).author_ids) == {"a:1"}
    capped = index.search(query, 14, Filter(per_author_cap=2)).author_ids
    assert len(capped) == 14
    assert max(map(capped.count, capped)) == 2
    assert len(index.search(query, 100, Filter(per_author_cap=3))) == 21
    assert len(index.search(query, 10, Filter(languages=frozenset({"never seen"})))) == 0


def test_an_exact_search_is_the_true_order(index: CandidateIndex) -> None:
    """Audits compare against it, so it may not approximate."""
    vectors = random_vectors(300)
    index.upsert(rows(ids(300), vectors=vectors))
    settle(index)
    query = random_vectors(1, seed=8)[0]
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    truth = [f"t:{i}" for i in np.argsort(-(unit @ query))[:50]]
    assert index.search_exact(query, 50).candidate_ids == truth


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 0.0])
def test_a_vector_without_a_direction_refuses_the_batch_and_names_the_row(index: CandidateIndex, bad: float) -> None:
    """The graph library accepts NaN in silence and answers wrongly ever after."""
    vectors = random_vectors(3)
    vectors[1] = bad
    with pytest.raises(UnusableVectors, match="t:1") as refused:
        index.upsert(rows(ids(3), vectors=vectors))
    assert (refused.value.positions, refused.value.candidate_ids) == ((1,), ("t:1",))
    assert len(index) == 0
    with pytest.raises(InvalidQuery):
        index.search(np.full(DIM, bad, dtype=np.float32), 5)


def test_wrong_shapes_are_refused_before_anything_is_stored(index: CandidateIndex) -> None:
    """Another bundle's dimension must never half-enter an index."""
    with pytest.raises(WrongDimension):
        index.upsert(rows(ids(2), vectors=np.ones((2, DIM + 1), dtype=np.float32)))
    with pytest.raises(MisalignedRows):
        index.upsert(rows(ids(3), vectors=random_vectors(2)))
    with pytest.raises(MisalignedRows):
        index.delete(ids(3), at(1, 2))
    with pytest.raises(InvalidQuery):
        index.search(np.ones(DIM + 1, dtype=np.float32), 5)
    with pytest.raises(InvalidQuery):
        index.search(np.ones(DIM, dtype=np.float32), -1)
    with pytest.raises(InvalidQuery):
        index.search(np.ones(DIM, dtype=np.float32), 1, Filter(per_author_cap=0))
    assert len(index) == 0


def test_an_empty_batch_changes_nothing(index: CandidateIndex) -> None:
    """A poll that returned only deletes still calls upsert."""
    assert index.upsert(rows([], vectors=np.empty((0, DIM), dtype=np.float32))) == 0
    assert index.delete([], np.empty((0, 2), dtype=np.int64)) == 0
    assert index.expire(0) == []


def test_the_contents_rebuild_an_equal_index(index: CandidateIndex) -> None:
    """Snapshots and shadow indexes are filled from it: rows, remembered deletes and horizon."""
    index.upsert(rows(ids(200), vectors=random_vectors(200), time_ms=3_000, created_ms=3_000))
    index.delete(["t:5", "t:unknown"], at(4_000, 2))
    index.expire(2_500)
    settle(index)
    held = index.contents()
    copy = ExactIndex(DIM)
    copy.expire(held.expired_before_ms)
    copy.delete(list(held.deleted), np.array(list(held.deleted.values())))
    copy.upsert(held.rows)
    query = random_vectors(1, seed=8)[0]
    assert copy.search(query, 500).candidate_ids == index.search_exact(query, 500).candidate_ids
    assert copy.upsert(rows(["t:5"], time_ms=4_000, created_ms=4_000)) == 0


@pytest.mark.parametrize("known", [False, True])
def test_an_index_restored_from_contents_answers_and_refuses_as_before(index: CandidateIndex, *, known: bool) -> None:
    """A snapshot that forgot a takedown, or met one and ignored it, would bring the candidate back."""
    index.upsert(rows(ids(200), vectors=random_vectors(200), time_ms=3_000, created_ms=3_000))
    index.upsert(rows(["t:late"], vectors=random_vectors(1, seed=9), time_ms=2_100, created_ms=3_000))
    index.delete(["t:5", "t:unknown"], at(4_000, 2))
    settle(index)
    index.expire(2_500)
    held = index.contents()
    query = random_vectors(1, seed=8)[0]
    before = index.search_exact(query, 500)
    for make in INDEXES.values():
        copy = make()
        if known:
            copy.delete(["t:7"], at(9_000))
        copy.restore(held)
        settle(copy)
        expected = [i for i in before.candidate_ids if not (known and i == "t:7")]
        assert copy.search_exact(query, 500).candidate_ids == expected
        assert set(copy.search(query, 500).candidate_ids) == set(expected)
        assert copy.upsert(rows(["t:5", "t:unknown"], time_ms=4_000, created_ms=4_000)) == 0
        assert copy.upsert(rows(["t:new"], time_ms=2_400, created_ms=2_400)) == 0
        assert copy.upsert(rows(["t:5"], time_ms=4_001, created_ms=4_000)) == 1
        copy.close()


def test_a_codebook_of_another_dimension_is_refused() -> None:
    """Codes that stand for other values would rank at random, and re-ranking would only hide it."""
    index = LiveIndex(DIM)
    with pytest.raises(WrongDimension, match="learn one anew"):
        index.restore(replace(index.contents(), codebook=np.zeros((DIM * 2, 16), np.float32)))
    index.close()


def test_a_restored_index_uses_the_codebook_it_was_given() -> None:
    """Learning one takes a second that a node which starts does not have."""
    index = LiveIndex(DIM, small(SMALL_COMPRESSED, None))
    index.upsert(rows(ids(300), vectors=random_vectors(300)))
    settle(index)
    held = index.contents()
    assert held.codebook is not None
    copy = LiveIndex(DIM, small(SMALL_COMPRESSED, None))
    copy.restore(held)
    again = copy.contents().codebook
    assert again is not None
    np.testing.assert_array_equal(again, held.codebook)
    query = random_vectors(1, seed=3)[0]
    assert copy.stats().compressed_rows > 0
    assert copy.search(query, 10).candidate_ids == index.search_exact(query, 10).candidate_ids
    index.close()
    copy.close()


def test_a_closed_index_refuses_reads_and_writes() -> None:
    """An epoch that was swapped out must fail loudly, not answer from a dead index."""
    for make in INDEXES.values():
        index = make()
        index.close()
        index.close()
        with pytest.raises(IndexClosed):
            index.search(random_vectors(1)[0], 1)
        with pytest.raises(IndexClosed):
            index.upsert(rows(ids(1)))


def test_a_census_counts_what_is_live_by_language_and_age_in_every_tier(index: CandidateIndex) -> None:
    """What operators see of the corpus must be what can be returned: no dead row, no deleted one, no old version."""
    assert index.census([10]).ages == [0, 0]
    index.upsert(rows(ids(100), languages=["en", "ja"] * 50, created_ms=2_000))
    settle(index)
    index.upsert(rows(["t:0"], languages=["de"], time_ms=1_500, created_ms=5_000))
    index.delete(["t:1"], at(2_000))
    census = index.census([2_000, 2_001, 5_001])
    assert census.live == len(index) == 99
    assert dict(census.languages) == {"en": 49, "ja": 49, "de": 1}
    assert list(census.ages) == [0, 98, 1, 0]
