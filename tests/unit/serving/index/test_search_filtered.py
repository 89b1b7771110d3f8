"""Whether filters and exclusions cost recall, on rows that lie in clusters: there a query's neighbours share language and fate."""

from collections.abc import Callable

import numpy as np
import pytest

from lab.bench.stream import DriftingStream, StreamShape
from serving.index import Filter, IndexConfig, LiveIndex
from serving.index.config import CellsConfig, CompressedConfig, GraphConfig

ROWS = 50_000
K = 200


@pytest.fixture(scope="module")
def stream() -> DriftingStream:
    """Of a seed with several large languages that some queries lie far from."""
    return DriftingStream(StreamShape(window_rows=ROWS), 2)


CONFIGS = {
    "codes": IndexConfig(background=False),
    "codes in cells": IndexConfig(
        background=False, compressed=CompressedConfig(cells=CellsConfig(group_from_rows=20_000, rows_per_cell=100))
    ),
    # a graph is built, and walked, whatever it costs
    "a graph and codes": IndexConfig(
        background=False, compressed=CompressedConfig(scan_us_per_row=1.0), graph=GraphConfig(pays_from_hits=0)
    ),
}


@pytest.fixture(scope="module", params=CONFIGS)
def index(stream: DriftingStream, request: pytest.FixtureRequest) -> LiveIndex:
    """Rows in codes, whole or in cells, or the older ones in a graph, and the newest fresh."""
    index = LiveIndex(64, CONFIGS[request.param])
    for _ in range(ROWS // 1_000):
        index.upsert(stream.create(1_000))
        index.maintain(2)
    return index


@pytest.fixture(scope="module")
def queries(stream: DriftingStream, index: LiveIndex) -> np.ndarray:
    """[60, 64] float32 of length 1, drawn once the index is filled."""
    drawn: np.ndarray = stream.queries(60)
    return drawn


def recalls(index: LiveIndex, queries: np.ndarray, where: Callable[[np.ndarray], Filter]) -> np.ndarray:
    """Recall@200 of each query against the exact answer under the same filter."""
    found = []
    for query in queries:
        truth = set(index.search_exact(query, K, where(query)).candidate_ids)
        found.append(len(truth & set(index.search(query, K, where(query)).candidate_ids)) / len(truth))
    return np.array(found)


@pytest.mark.parametrize("seen", [300, 700, 3_000])
def test_whoever_has_seen_the_best_gets_the_best_of_the_rest(index: LiveIndex, queries: np.ndarray, seen: int) -> None:
    """What is fetched beyond the best is patchy: to fill an answer from it gave users with a long history rows from far away."""

    def unseen(query: np.ndarray) -> Filter:
        return Filter(exclude_ids=frozenset(index.search_exact(query, seen).candidate_ids))

    assert recalls(index, queries[:30], unseen).min() >= 0.95


def test_an_author_cap_costs_no_recall(index: LiveIndex, queries: np.ndarray) -> None:
    """As above: what the cap takes away must not be made up for by what happened to be fetched."""
    assert recalls(index, queries, lambda _: Filter(per_author_cap=1)).min() >= 0.98


@pytest.mark.parametrize("language", ["en", "ja", "es"])
def test_a_language_that_is_rare_around_the_query_is_found_where_it_lies(
    index: LiveIndex, queries: np.ndarray, language: str
) -> None:
    """Around a query of another language few codes match: that none of a few enters says nothing of those farther out."""
    assert recalls(index, queries, lambda _: Filter(languages=frozenset({language}))).min() >= 0.95
