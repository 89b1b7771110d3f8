"""When codes are put into cells, when anew, and when no more; and that no row is lost on the way."""

import dataclasses

import numpy as np
import pytest

from serving.index import CellsConfig, CompressedConfig, GraphConfig, IndexConfig, LiveIndex
from serving.index.tiers.cells import CelledTier
from serving.index.tiers.compressed import CompressedTier
from tests.numbered_rows import numbered_rows

DIM = 16
CELLS = CellsConfig(group_from_rows=2_000, rows_per_cell=40, chunk_rows=256, first_cells=4)
CONFIG = IndexConfig(
    fresh_rows=64,
    fresh_rows_at_most=512,
    compressed=CompressedConfig(train_from_rows=256, cells=CELLS),
    graph=None,
    compact_from_rows=512,
    background=False,
)


def vectors_of(numbers: np.ndarray, centre: int) -> np.ndarray:
    """[n, DIM] float32 of length 1, around one of many centres."""
    middle = np.random.default_rng(centre).normal(size=DIM)
    noise = np.stack([np.random.default_rng((7, int(number))).normal(size=DIM) for number in numbers])
    return unit(middle + noise)


def unit(raw: np.ndarray) -> np.ndarray:
    """Rows [n, dim] as float32 of length 1."""
    scaled: np.ndarray = (raw / np.linalg.norm(raw, axis=1, keepdims=True)).astype(np.float32)
    return scaled


def write(index: LiveIndex, first: int, count: int, *, centre: int = 0) -> None:
    """Candidates first, first + 1, ..., each created at its number."""
    index.upsert(numbered_rows(vectors_of(np.arange(first, first + count), centre), first))


def cells_of(index: LiveIndex) -> CelledTier:
    """The tier of codes, in cells."""
    tier = index.view.compressed
    assert isinstance(tier, CelledTier)
    return tier


def own_found(index: LiveIndex, first: int, count: int, centre: int = 0) -> float:
    """The share of candidates that their own vector finds."""
    numbers = np.arange(first, first + count)
    own = zip(numbers.tolist(), vectors_of(numbers, centre), strict=True)
    return float(np.mean([index.search(vector, 1).candidate_ids == [f"t:{number}"] for number, vector in own]))


def found(index: LiveIndex, query: np.ndarray, k: int) -> dict[str, bool]:
    """Of the true k nearest whether the answer holds each."""
    answer = frozenset(index.search(query, k).candidate_ids)
    return {candidate_id: candidate_id in answer for candidate_id in index.search_exact(query, k).candidate_ids}


def test_codes_are_grouped_from_so_many_rows_on_and_not_before() -> None:
    """Of few rows scanning all codes costs less than choosing cells."""
    index = LiveIndex(DIM, CONFIG)
    write(index, 0, 1_990)
    index.maintain()
    assert isinstance(index.view.compressed, CompressedTier)
    index.search(np.ones(DIM, np.float32), 10)
    write(index, 1_990, 200)
    index.maintain()
    assert len(cells_of(index).centroids) == pytest.approx(2_190 / 40, abs=2)
    index.search(np.ones(DIM, np.float32), 10)
    assert index.stats().counters["searches_codes"] == 1
    assert index.stats().counters["searches_cells"] == 1
    assert own_found(index, 0, 2_190) > 0.99


def test_rows_that_settle_while_codes_are_grouped_are_in_the_cells() -> None:
    """A grouping is begun with what is settled, and takes chunks for a while."""
    index = LiveIndex(DIM, CONFIG)
    write(index, 0, 3_000)
    done = 3_000
    while not isinstance(index.view.compressed, CelledTier):
        assert done < 9_000
        write(index, done, 70)
        done += 70
        index.maintain(at_most_steps=2)
    view = index.view
    assert set(range(1, view.fresh_from)) <= set(cells_of(index).slots.tolist())
    assert own_found(index, 2_900, done - 2_900) > 0.99


def test_cells_follow_the_data() -> None:
    """Grouped once, all that comes after a drift lies in a few cells of old, and a query scans those whole or misses."""
    index = LiveIndex(DIM, CONFIG)
    write(index, 0, 3_000, centre=1)
    index.maintain()
    before = cells_of(index).centroids.vectors
    for step in range(45):
        write(index, 3_000 + step * 100, 100, centre=2)
        index.expire(step * 100)
        index.maintain()
    after = cells_of(index).centroids.vectors
    middle = np.random.default_rng(2).normal(size=DIM)
    middle /= np.linalg.norm(middle)
    assert np.mean(after @ middle) > np.mean(before @ middle) + 0.3
    assert index.stats().counters["cells_published"] >= 2
    assert index.stats().merge_debt_rows == 0
    assert own_found(index, 6_500, 1_000, centre=2) > 0.99


def scattered(clusters: int = 100, live: int = 3_000) -> tuple[LiveIndex, np.ndarray, list[str]]:
    """An index of more clusters than cells, which came and went for two windows; queries [200, DIM]; the language of each row."""
    random = np.random.default_rng(1)
    # the first cells hold a small part of the rows, as in a large corpus
    cells = dataclasses.replace(CELLS, rows_per_hit=4.0)
    index = LiveIndex(DIM, dataclasses.replace(CONFIG, compressed=CompressedConfig(train_from_rows=256, cells=cells)))
    centres, languages = unit(random.normal(size=(clusters, DIM))), list[str]()
    for _ in range(2 * live // 100):
        reborn = random.integers(0, clusters, clusters // 40)
        centres[reborn] = unit(random.normal(size=(len(reborn), DIM)))
        of = random.integers(0, clusters, 100)
        near = unit(centres[of] + 0.5 * unit(random.normal(size=(100, DIM))))
        index.upsert(numbered_rows(near, len(languages), languages=(own := [str(cluster % 10) for cluster in of])))
        languages += own
        index.expire(len(languages) - live)
        index.maintain()
    asked = centres[random.integers(0, clusters, 200)] + 0.5 * unit(random.normal(size=(200, DIM)))
    return index, unit(asked), languages


def test_every_language_is_found_though_its_clusters_are_smaller_than_cells() -> None:
    """A cluster born since the grouping, or too small for a cell, lies in cells of others: few of the best come from each round."""
    index, queries, languages = scattered()
    assert cells_of(index)
    for k in (10, 50):
        hits = [list(found(index, query, k).items()) for query in queries]
        assert np.mean([hit for pairs in hits for _, hit in pairs]) > 0.99
    by_language: dict[str, list[bool]] = {}
    for candidate_id, hit in (pair for pairs in hits for pair in pairs):
        by_language.setdefault(languages[int(candidate_id.removeprefix("t:"))], []).append(hit)
    assert len(by_language) == 10
    assert min(float(np.mean(own)) for own in by_language.values()) > 0.98


def test_rows_that_died_leave_the_cells() -> None:
    """A takedown of half the corpus would be scanned for ever."""
    index = LiveIndex(DIM, CONFIG)
    write(index, 0, 6_000)
    index.maintain()
    held = len(cells_of(index))
    gone = np.arange(0, 6_000, 3).tolist() + np.arange(1, 6_000, 3).tolist()
    index.delete([f"t:{number}" for number in gone], np.array([[10_000, 0]] * len(gone)))
    write(index, 6_000, 600)
    index.maintain()
    assert index.stats().compressed_dead < 100
    assert len(cells_of(index)) < held / 2
    assert index.search(vectors_of(np.array([3]), 0)[0], 3_000).candidate_ids
    assert own_found(index, 6_000, 600) > 0.99


def test_a_corpus_that_shrinks_is_scanned_whole_again() -> None:
    """What a few rows would hold of hundreds of cells costs more than it saves."""
    index = LiveIndex(DIM, CONFIG)
    write(index, 0, 3_000)
    index.maintain()
    assert cells_of(index)
    index.expire(2_100)
    write(index, 3_000, 70)
    index.maintain()
    assert isinstance(index.view.compressed, CompressedTier)
    assert index.stats().counters["cells_dropped"] == 1
    assert own_found(index, 2_100, 970) > 0.99
    assert len(index.search(np.ones(DIM, np.float32), 5_000)) == 970


def test_a_compaction_between_two_chunks_moves_the_rows_of_both() -> None:
    """Slots get other numbers while half of a grouping is done."""
    index = LiveIndex(DIM, CONFIG)
    write(index, 0, 4_000)
    # the settling, the centroids, and some of sixteen chunks
    index.maintain(at_most_steps=6)
    assert isinstance(index.view.compressed, CompressedTier)
    index.expire(2_500)
    write(index, 4_000, 700)
    index.maintain()
    assert index.stats().counters["compactions"] >= 1
    assert cells_of(index)
    assert own_found(index, 2_500, 2_200) > 0.99
    assert len(index.search(np.ones(DIM, np.float32), 5_000)) == 2_200


def test_cells_that_an_audit_finds_wanting_are_let_go_and_made_anew() -> None:
    """With the codebook they were made of; also what was under way."""
    index = LiveIndex(DIM, CONFIG)
    write(index, 0, 3_000)
    index.maintain()
    old = cells_of(index)
    index.distrust("codes")
    assert index.view.compressed is None
    assert own_found(index, 0, 50) == 1.0
    index.maintain()
    assert cells_of(index) is not old
    assert own_found(index, 0, 3_000) > 0.99


def test_a_graph_gives_way_to_cells() -> None:
    """It would be built over and over, and never walked."""
    graph = GraphConfig(build_from_rows=128, pays_from_hits=0, chunk_rows=500)
    index = LiveIndex(DIM, dataclasses.replace(CONFIG, graph=graph))
    write(index, 0, 1_900)
    index.maintain()
    assert index.stats().graph_rows > 0
    write(index, 1_900, 400)
    index.maintain()
    assert cells_of(index)
    write(index, 2_300, 2_000)
    index.maintain()
    assert index.stats().graph_rows == 0
    assert index.view.beside_graph is None
    assert own_found(index, 0, 4_300) > 0.99


def test_cells_of_the_same_rows_are_the_same() -> None:
    """A benchmark, and whoever looks for a fault, wants it again."""
    found = []
    for _ in range(2):
        index = LiveIndex(DIM, CONFIG)
        write(index, 0, 3_000)
        index.maintain()
        found.append(cells_of(index).centroids.vectors)
    np.testing.assert_array_equal(found[0], found[1])
