"""Which way a search takes: exact, codes or graph, by cost; and what happens when the cheap way finds too little."""

import dataclasses

import numpy as np
import pytest

from serving.index import CellsConfig, CompressedConfig, Filter, GraphConfig, IndexConfig, LiveIndex, Rows
from tests.numbered_rows import numbered_rows

DIM = 16
COUNT = 3_000


@pytest.fixture(scope="module")
def vectors() -> np.ndarray:
    """[COUNT, DIM] float32 of length 1."""
    raw = np.random.default_rng(1).normal(size=(COUNT, DIM)).astype(np.float32)
    unit: np.ndarray = raw / np.linalg.norm(raw, axis=1, keepdims=True)
    return unit


def rows_of(vectors: np.ndarray, first: int, languages: list[str]) -> Rows:
    """Candidates first, first + 1, ..., every other one of a loud author."""
    numbers = range(first, first + len(vectors))
    authors = ["a:loud" if number % 2 else f"a:{number}" for number in numbers]
    return numbered_rows(vectors, first, languages=languages, author_ids=authors)


def filled(vectors: np.ndarray, compressed: CompressedConfig | None, graph: GraphConfig | None, **others: float) -> LiveIndex:
    """All rows settled, a third of them Japanese, one in five hundred Finnish."""
    config = IndexConfig(fresh_rows=256, compressed=compressed, graph=graph, background=False)
    index = LiveIndex(DIM, dataclasses.replace(config, **others))  # type: ignore[arg-type]
    languages = ["fi" if number % 500 == 0 else "ja" if number % 3 == 0 else "en" for number in range(COUNT)]
    index.upsert(rows_of(vectors, 0, languages))
    index.maintain()
    return index


def plans(index: LiveIndex) -> dict[str, int]:
    """How often each way was taken."""
    return {name: count for name, count in index.stats().counters.items() if name.startswith("searches_")}


CODES = CompressedConfig(train_from_rows=500)
GRAPH = GraphConfig(build_from_rows=500, pays_from_hits=0)


def test_the_graph_is_walked_when_scanning_costs_more_and_codes_are_scanned_otherwise(vectors: np.ndarray) -> None:
    """Neither is cheaper for every k and size: a scan grows with the rows, a walk with the hits wanted."""
    dear_scan = dataclasses.replace(CODES, scan_us_per_row=1.0)
    walked, scanned = filled(vectors, dear_scan, GRAPH), filled(vectors, CODES, GRAPH)
    query = vectors[17]
    truth = set(walked.search_exact(query, 20).candidate_ids)
    assert len(truth & set(walked.search(query, 20).candidate_ids)) >= 19
    assert len(truth & set(scanned.search(query, 20).candidate_ids)) >= 19
    assert plans(walked) == {"searches_graph": 1}
    assert plans(scanned) == {"searches_codes": 1}


def test_a_small_corpus_without_codes_is_scanned_exactly_unless_the_graph_is_cheaper(vectors: np.ndarray) -> None:
    """At a few thousand rows the exact scan is both right and cheap."""
    few, many = filled(vectors, None, GRAPH), filled(vectors, None, GRAPH, exact_us_per_row=10.0)
    query = vectors[17]
    assert few.search(query, 200).candidate_ids == few.search_exact(query, 200).candidate_ids
    assert plans(few) == {"searches_exact": 1}
    many.search(query, 200)
    assert plans(many) == {"searches_graph": 1}


@pytest.mark.parametrize(("languages", "matching"), [({"ja"}, 998), ({"fi"}, 6), ({"ja", "fi"}, 1_004), ({"xx"}, 0)])
def test_a_filter_gives_all_that_match_however_few(vectors: np.ndarray, languages: set[str], matching: int) -> None:
    """Over-fetching a fixed number starves rare languages."""
    index = filled(vectors, CODES, GRAPH)
    where = Filter(languages=frozenset(languages))
    assert len(index.search(vectors[5], 5_000, where)) == matching
    hits = index.search(vectors[5], 50, where)
    assert len(hits) == min(50, matching)
    assert set(hits.languages) <= languages


def test_an_author_cap_fills_k_past_one_loud_author(vectors: np.ndarray) -> None:
    """Half of all rows are one author's: two may stay, and the answer is still full and in order."""
    index = filled(vectors, CODES, None)
    hits = index.search(vectors[5], 300, Filter(per_author_cap=2))
    assert len(hits) == 300
    assert hits.author_ids.count("a:loud") == 2
    truth = index.search_exact(vectors[5], 300, Filter(per_author_cap=2)).candidate_ids
    assert len(set(truth) & set(hits.candidate_ids)) >= 290


def test_thousands_of_seen_ids_leave_k_others(vectors: np.ndarray) -> None:
    """A heavy reader has seen exactly what is nearest."""
    index = filled(vectors, CODES, GRAPH)
    seen = frozenset(index.search_exact(vectors[5], 2_000).candidate_ids)
    hits = index.search(vectors[5], 200, Filter(exclude_ids=seen))
    assert len(hits) == 200
    assert not seen & set(hits.candidate_ids)
    assert hits.candidate_ids == index.search_exact(vectors[5], 200, Filter(exclude_ids=seen)).candidate_ids


def test_an_answer_reads_as_of_its_search_however_the_index_changes_after(vectors: np.ndarray) -> None:
    """Columns are read when asked for: a compaction in between may not mix another row's payload in."""
    index = filled(vectors, CODES, GRAPH)
    hits = index.search(vectors[5], 100)
    scores = dict(zip(range(100), hits.scores.tolist(), strict=True))
    index.delete([f"t:{number}" for number in range(0, COUNT, 2)], np.full((COUNT // 2, 2), 10**6))
    index.expire(2_500)
    index.maintain()
    for at, candidate_id in enumerate(hits.candidate_ids):
        assert vectors[int(candidate_id[2:])] @ vectors[5] == pytest.approx(scores[at], abs=1e-5)
    assert hits.versions[:, 0].tolist() == [int(candidate_id[2:]) for candidate_id in hits.candidate_ids]


@pytest.mark.parametrize("cells", [None, CellsConfig(group_from_rows=1_000, rows_per_cell=1_000, first_cells=2)])
def test_a_language_behind_thousands_of_another_is_found_though_far_rows_of_it_are_fresh(cells: CellsConfig | None) -> None:
    """Codes were fetched until few were left to ask for; then fresh rows from the other end of the space filled the answer."""
    random = np.random.default_rng(5)
    near, aside = np.eye(DIM)[:2]

    def around(middle: np.ndarray, count: int) -> np.ndarray:
        raw = middle + 0.1 * random.normal(size=(count, DIM))
        unit: np.ndarray = (raw / np.linalg.norm(raw, axis=1, keepdims=True)).astype(np.float32)
        return unit

    codes = CompressedConfig(train_from_rows=500, fetch_at_least=8, fetch_per_hit=1.0, cells=cells)
    index = LiveIndex(DIM, IndexConfig(fresh_rows=256, compressed=codes, graph=None, background=False))
    begin = 0
    for language, vectors in (("en", around(near, 4_000)), ("ja", around(near + 2 * aside, 1_000)), ("ja", around(-near, 100))):
        index.upsert(rows_of(vectors, begin, [language] * len(vectors)))
        begin += len(vectors)
        index.maintain()
    assert index.stats().fresh_rows == 100
    query, where = near.astype(np.float32), Filter(languages=frozenset({"ja"}))
    truth = set(index.search_exact(query, 10, where).candidate_ids)
    assert len(truth & set(index.search(query, 10, where).candidate_ids)) >= 9


def test_a_query_into_a_dense_cluster_still_finds_its_true_neighbours() -> None:
    """Hundreds of near-equal rows lie within one quantisation error: a fixed fetch lost a quarter of them."""
    random = np.random.default_rng(3)
    centre = random.normal(size=DIM)
    dense = (centre + 0.02 * random.normal(size=(COUNT, DIM))).astype(np.float32)
    spread = random.normal(size=(COUNT, DIM)).astype(np.float32)
    index = filled(np.where(np.arange(COUNT)[:, None] % 2, dense, spread), CODES, None)
    query = dense[1]
    truth = set(index.search_exact(query, 100).candidate_ids)
    assert len(truth & set(index.search(query, 100).candidate_ids)) >= 95
    assert plans(index) == {"searches_codes": 1}


COPIES = {
    "codes": (CODES, None),
    "cells": (dataclasses.replace(CODES, cells=CellsConfig(group_from_rows=1_000, rows_per_cell=500, first_cells=8)), None),
    "graph": (None, GRAPH),
}


@pytest.mark.parametrize("plan", list(COPIES))
@pytest.mark.parametrize("k", [10, 100])
def test_rows_of_many_copies_do_not_hide_better_ones(k: int, plan: str) -> None:
    """The codes fetched were of a handful of different rows: where none of the best was among them, all of the best were missed.

    And a graph linked copies to each other, so that hardly a way led on from them.
    """
    random = np.random.default_rng(8)
    different = random.normal(size=(400, DIM)) * 0.3 + random.normal(size=DIM)
    unit: np.ndarray = (different / np.linalg.norm(different, axis=1, keepdims=True)).astype(np.float32)
    vectors = np.repeat(unit, 60, axis=0)[random.permutation(60 * len(unit))]
    compressed, graph = COPIES[plan]
    config = IndexConfig(fresh_rows=256, compressed=compressed, graph=graph, exact_us_per_row=1.0, background=False)
    index = LiveIndex(DIM, config)
    index.upsert(rows_of(vectors, 0, ["en"] * len(vectors)))
    index.maintain()
    for query in unit[:40] + 0.2 * random.normal(size=(40, DIM)).astype(np.float32):
        best = index.search_exact(query, k).scores
        found = index.search(query, k)
        # any copy of a row is as good as another
        assert found.scores == pytest.approx(best, abs=1e-5)
        assert len(set(found.candidate_ids)) == k
    assert plans(index) == {f"searches_{plan}": 40}


RARE: list[tuple[Filter, set[int]]] = [
    (Filter(languages=frozenset({"fi"})), set(range(0, COUNT, 500))),
    (Filter(languages=frozenset({"fi", "unheard of"})), set(range(0, COUNT, 500))),
    (Filter(languages=frozenset({"fi", "ja"})), set(range(0, COUNT, 3)) | set(range(0, COUNT, 500))),
    (Filter(languages=frozenset({"unheard of"})), set()),
    (Filter(authors=frozenset({"a:4", "a:2000", "a:8"})), {4, 8, 2000}),
    (Filter(authors=frozenset({"a:4", "a:2000", "a:8"}), exclude_authors=frozenset({"a:8"})), {4, 2000}),
    (Filter(authors=frozenset({"a:4", "a:3000"}), languages=frozenset({"fi"})), set()),
    (Filter(created_from_ms=COUNT - 40), set(range(COUNT - 40, COUNT))),
    (Filter(languages=frozenset({"fi"}), created_from_ms=1_000), set(range(1_000, COUNT, 500))),
    (Filter(languages=frozenset({"fi", "ja", "en", "de", "fr"}), created_from_ms=COUNT - 5), set(range(COUNT - 5, COUNT))),
]


@pytest.mark.parametrize(("where", "matching"), RARE)
def test_what_rarely_matches_is_found_to_the_last_and_no_dead_row(vectors: np.ndarray, where: Filter, matching: set[int]) -> None:
    """Of a rare condition only the rows that meet it are looked at again; the others, and which of them died, still count."""
    index = filled(vectors, CODES, None)
    dead = sorted(matching)[::2]
    index.delete([f"t:{number}" for number in dead], np.full((len(dead), 2), 10**6))
    expected = {f"t:{number}" for number in matching - set(dead)}
    for search in (index.search, index.search_exact):
        assert set(search(vectors[0], COUNT, where).candidate_ids) == expected
