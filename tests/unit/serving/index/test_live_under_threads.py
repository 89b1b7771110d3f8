"""The live index with a writer, a builder and readers on real threads: what one thread promises, no other may break."""

import threading
import time
from collections.abc import Callable
from typing import Self

import numpy as np
import pytest

from serving.index import CellsConfig, CompressedConfig, Filter, GraphConfig, IndexConfig, LiveIndex, Rows

DIM = 16
WRITES = 120
BATCH = 48
KEPT = 1_000
QUICK_TIERS = {
    "codes and graph, walked": (
        CompressedConfig(train_from_rows=400, scan_us_per_row=1e6),
        GraphConfig(build_from_rows=300, pays_from_hits=0, rebuild_share=0.3, chunk_rows=64, links=8),
    ),
    "codes and graph, scanned": (
        CompressedConfig(train_from_rows=400, scan_us_per_row=0.0),
        GraphConfig(build_from_rows=300, pays_from_hits=0, rebuild_share=0.3, chunk_rows=64, links=8),
    ),
    "codes in cells": (
        CompressedConfig(
            train_from_rows=400,
            cells=CellsConfig(group_from_rows=600, rows_per_cell=20, regroup_share=0.3, chunk_rows=64, first_cells=4),
        ),
        None,
    ),
    "graph only": (None, GraphConfig(build_from_rows=300, pays_from_hits=0, rebuild_share=0.3, chunk_rows=64, links=8)),
}


def vector_of(number: int, version: int) -> np.ndarray:
    """The one vector of a candidate at a version, so that any thread can check a score."""
    raw = np.random.default_rng((number, version)).normal(size=DIM)
    return (raw / np.linalg.norm(raw)).astype(np.float32)


def batch_of(numbers: list[int], version: int) -> Rows:
    """The candidates of these numbers, all at one version."""
    count = len(numbers)
    return Rows(
        candidate_ids=[f"t:{number}" for number in numbers],
        vectors=np.stack([vector_of(number, version) for number in numbers]),
        versions=np.array([[1_000_000 + version, 0]] * count),
        created_ms=np.array(numbers) + 1_000,
        languages=["en" if number % 2 else "ja" for number in numbers],
        author_ids=[f"a:{number % 11}" for number in numbers],
        payloads=[f"{number}@{version}".encode() for number in numbers],
    )


class Readers:
    """Threads that search until stopped, and keep the first thing that went wrong."""

    def __init__(self, index: LiveIndex, gone: set[str]) -> None:
        self.index, self.gone = index, gone
        self.answers = 0
        self.faults: list[Exception] = []
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._guarded, args=(seed,), daemon=True) for seed in range(2)]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _guarded(self, seed: int) -> None:
        random = np.random.default_rng(seed)
        try:
            while not self._stop.is_set():
                self._one(random)
        # kept for the test's own thread, which fails with it
        except (AssertionError, RuntimeError, LookupError, TypeError, ValueError, AttributeError) as fault:
            self.faults.append(fault)

    def _one(self, random: np.random.Generator) -> None:
        query = random.normal(size=DIM).astype(np.float32)
        unit = query / np.linalg.norm(query)
        where = Filter(languages=frozenset({"ja"})) if random.random() < 0.3 else Filter()
        # taken before the search: what was deleted by now may not come back
        deleted = frozenset(self.gone)
        hits = self.index.search(query, 20, where)
        self.answers += 1
        assert not deleted & set(hits.candidate_ids)
        assert len(set(hits.candidate_ids)) == len(hits)
        for at, candidate_id in enumerate(hits.candidate_ids):
            number, version = hits.payloads[at].decode().split("@")
            assert candidate_id == f"t:{number}"
            assert hits.versions[at, 0] == 1_000_000 + int(version)
            assert hits.scores[at] == pytest.approx(float(vector_of(int(number), int(version)) @ unit), abs=1e-5)
            assert hits.languages[at] == ("en" if int(number) % 2 else "ja")
        assert where.languages is None or set(hits.languages) <= {"ja"}


@pytest.mark.parametrize("tiers", QUICK_TIERS.keys())
def test_answers_stay_fresh_whole_and_true_while_rows_churn_and_tiers_are_rebuilt(tiers: str) -> None:
    """Freshness on return, no deleted id, no wrong score, no duplicate: with hnswlib used naively each of these broke."""
    compressed, graph = QUICK_TIERS[tiers]
    config = IndexConfig(
        fresh_rows=100,
        fresh_rows_at_most=400,
        compressed=compressed,
        graph=graph,
        compact_from_rows=1_500,
        exact_us_per_row=1e6,
        builder_pause_s=0.001,
        # on a loaded machine an idle-only builder would finish no graph within a test
        builder_yields=False,
    )
    index = LiveIndex(DIM, config)
    gone: set[str] = set()
    random = np.random.default_rng(5)
    newest: dict[int, int] = {}
    next_number = 0
    with Readers(index, gone) as readers:
        for write in range(WRITES):
            fresh = list(range(next_number, next_number + BATCH // 2))
            next_number += len(fresh)
            known = sorted(newest)
            refreshed = (
                [known[i] for i in random.choice(len(known), size=min(len(known), BATCH // 2), replace=False)] if known else []
            )
            index.upsert(batch_of(fresh + refreshed, write))
            newest.update(dict.fromkeys(fresh + refreshed, write))
            for number in (fresh + refreshed)[::9]:
                best = index.search(vector_of(number, write), 1)
                assert best.candidate_ids == [f"t:{number}"]
                assert best.payloads == [f"{number}@{write}".encode()]
            doomed = [int(number) for number in random.choice(sorted(newest), size=3, replace=False)]
            index.delete([f"t:{number}" for number in doomed], np.array([[1_000_000 + write, 0]] * 3))
            gone.update(f"t:{number}" for number in doomed)
            for number in doomed:
                del newest[number]
                assert index.search(vector_of(number, write), 1).candidate_ids != [f"t:{number}"]
            if next_number > KEPT:
                index.expire(1_000 + next_number - KEPT)
                newest = {number: version for number, version in newest.items() if number >= next_number - KEPT}
            assert len(index) == len(newest)
    wait_until(lambda: index.stats().merge_debt_rows == 0, "the builder never caught up")
    stats = index.stats()
    own = [index.search(vector_of(number, version), 1).candidate_ids == [f"t:{number}"] for number, version in newest.items()]
    index.close()
    # a settled row is found through a graph or codes, which may miss one in hundreds
    assert np.mean(own) >= 0.99
    assert readers.faults == []
    assert readers.answers > 20
    assert stats.counters["cells_published" if graph is None else "graphs_published"] > 1
    assert stats.counters["compactions"] > 0
    assert stats.builder_fault is None


def wait_until(reached: Callable[[], bool], otherwise: str) -> None:
    """Poll for a state another thread brings about."""
    deadline = time.monotonic() + 30
    while not reached():
        assert time.monotonic() < deadline, otherwise
        time.sleep(0.01)


def test_a_builder_that_fails_says_so_and_goes_on_when_it_can(monkeypatch: pytest.MonkeyPatch) -> None:
    """A prototype's builder died in silence and its queries grew to 23 seconds."""
    index = LiveIndex(DIM, IndexConfig(fresh_rows=50, builder_pause_s=0.001))
    upkeep = index._upkeep
    step = upkeep.step
    broken = threading.Event()
    broken.set()

    def failing() -> bool:
        if broken.is_set():
            raise MemoryError("no room for codes")
        return step()

    monkeypatch.setattr(upkeep, "step", failing)
    monkeypatch.setattr("serving.index.keeping.builder.PAUSE_AFTER_FAULT_S", 0.01)
    wait_until(lambda: index.stats().builder_fault is not None, "the fault was never shown")
    assert index.stats().builder_fault == "MemoryError: no room for codes"
    index.upsert(batch_of(list(range(100)), 1))
    assert len(index.search(vector_of(3, 1), 10)) == 10
    broken.clear()
    wait_until(lambda: index.stats().builder_fault is None, "the builder never recovered")
    assert index.stats().builder_running
    assert index.stats().builder_heartbeat_age_s < 30
    index.close()
    wait_until(lambda: not index.stats().builder_running, "the builder outlived its index")


def test_a_builder_that_fails_rests_however_often_a_writer_wakes_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """While rows wait every batch wakes it, and no fault took a wake back: it tried, and logged a trace, as fast as a core goes."""
    monkeypatch.setattr("serving.index.keeping.builder.PAUSE_AFTER_FAULT_S", 0.2)
    tried_s: list[float] = []
    thrice = threading.Event()
    index = LiveIndex(DIM, IndexConfig(builder_pause_s=60.0))
    builder = index._builder
    assert builder is not None

    def failing() -> bool:
        tried_s.append(time.monotonic())
        # what a writer does with every batch while rows wait
        builder.wake()
        if len(tried_s) >= 3:
            thrice.set()
        raise MemoryError("no room for codes")

    monkeypatch.setattr(index._upkeep, "step", failing)
    builder.wake()
    assert thrice.wait(30)
    index.close()
    assert np.diff(tried_s[:3]).min() > 0.15


def test_fresh_rows_stay_bounded_even_when_no_builder_runs() -> None:
    """The exact scan grows with them: the writer pays before the queries do."""
    config = IndexConfig(
        fresh_rows=64, fresh_rows_at_most=128, compressed=CompressedConfig(train_from_rows=64), graph=None, background=False
    )
    index = LiveIndex(DIM, config)
    for write in range(40):
        index.upsert(batch_of(list(range(write * 32, write * 32 + 32)), 1))
        assert index.stats().fresh_rows <= 128 + 32
    assert index.stats().counters["settled_by_writer"] > 0
    index.close()
