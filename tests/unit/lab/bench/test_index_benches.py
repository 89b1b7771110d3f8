"""The index benchmarks at toy size: their figures exist, are finite, and rise and fall with what they measure."""

import json

import numpy as np
import pytest

from lab.bench import ingest, query, recall, restore, soak
from lab.bench.baselines import FaissWindow, windows
from lab.bench.churn import fill, without_thread
from lab.bench.stream import DriftingStream, StreamShape
from serving.index import LiveIndex


def test_the_recall_bench_gives_its_figures_for_every_scenario() -> None:
    """A figure missing from one scenario would make the minimum look better than it is."""
    report = recall.run(live=600, turnovers=1.0, seeds=(1,), checkpoints=2, queries=10)
    figures = {"live", "turnovers", "seeds", "recall_ratio_mean", "recall_ratio_min", "recall10_ratio_min"}
    assert figures | {"refresh80_ratio_min", "worst_group_ratio", "machine", "commit", "config", "seed_list"} <= report.keys()
    assert len(report["rows"]) == len(recall.SCENARIOS) * 2  # type: ignore[arg-type]
    # so small a corpus is scanned exactly
    assert report["recall_ratio_min"] >= 1.0  # type: ignore[operator]
    json.dumps(report)


def test_the_ingest_bench_counts_upkeep_and_every_baseline() -> None:
    """A rate without its baselines in the same run says nothing about another machine."""
    report = ingest.run(live=600, turnovers=1.0, baseline_writes=60)
    row = report["rows"][0]  # type: ignore[index]
    us = row["us_per_upsert"]
    assert set(us) == {"ours", *ingest.RATIOS.values()}
    assert all(report[ratio] == pytest.approx(us[name] / us["ours"], abs=0.01) for ratio, name in ingest.RATIOS.items())
    assert report["upserts_per_cpu_s"] == pytest.approx(1e6 / us["ours"], abs=1)
    assert min(us.values()) > 0
    json.dumps(report)


def test_a_baselines_window_stays_as_large_as_it_was() -> None:
    """One that kept its old rows, or lost new ones, would be another index than the one whose writes are compared."""
    vectors = np.random.default_rng(1).normal(size=(500, 8)).astype(np.float32)
    held = {window.name: window for window in windows(vectors, 1)}
    for window in held.values():
        window.write(-vectors[:100])
        window.write(-vectors[100:150])
    rows = {name: len(window) for name, window in held.items() if isinstance(window, FaissWindow)}
    assert rows == {"faiss HNSW": 650, "int8 flat": 500, "IVF flat": 500}, "faiss's HNSW alone cannot delete"


def test_the_restore_bench_brings_back_every_row_and_finds_as_before() -> None:
    """A restart that is soon over and lost rows is none."""
    report = restore.run(live=1_000, rounds=2)
    assert report["lost"] == 0
    assert report["restore_s_most"] >= report["restore_s_median"]  # type: ignore[operator]
    assert report["recall_at_200"] == 1.0, "so small a corpus is scanned exactly"
    assert report["disk_mb"] > 1_000 * (64 * 4 + 450) / 2**20 * 0.9  # type: ignore[operator]
    json.dumps(report)


def test_the_query_bench_compares_at_equal_recall_and_measures_waits() -> None:
    """A faster answer with fewer true neighbours is no faster answer."""
    report = query.run(live=600, turnovers=0.5, queries=10, latency_s=0.8, writes_per_s=500)
    row = report["rows"][0]  # type: ignore[index]
    single = next(name for name in row["recall"] if name.startswith("rebuilt"))
    assert row["recall"][single] >= row["recall"]["ours"] - 0.01
    assert min(report["latency"][f"{spell}_p99_ms"] for spell in ("idle", "writing", "beside")) > 0  # type: ignore[index]
    assert {"newest 0.5%", "language en", "one an author", "its own best 150 excluded"} <= row["filters"].keys()
    assert all(found["worst_query"] >= 0.9 for found in row["filters"].values())
    json.dumps(report)


def test_queries_come_at_any_moment_between_two_batches() -> None:
    """In step with them each query came as a batch began, and waited for it: p99 was 1.5 to 1.7 times idle, and is 1.2 to 1.4."""
    due_s = query.arrivals(2.0, np.random.default_rng(1))
    np.testing.assert_array_equal(np.floor(due_s * query.QUERIES_PER_S), np.arange(200))
    counts, _ = np.histogram(due_s * query.QUERIES_PER_S % 1, bins=4, range=(0, 1))
    assert counts.min() > 30


def test_an_index_is_filled_with_as_many_rows_as_are_asked_for() -> None:
    """Idle queries were timed on whole thousands, and those while writing on all: of 1,900 rows on half as many."""
    index = LiveIndex(8, without_thread("all"))
    fill(index, DriftingStream(StreamShape(dim=8, clusters=4), 1), 1_900)
    assert len(index) == 1_900


def test_the_stream_drifts_and_is_the_same_for_the_same_seed() -> None:
    """Still data would hide what churn does; different data would hide what a change does."""
    shape = StreamShape(dim=16, window_rows=500, clusters=20)
    one, two = DriftingStream(shape, 3), DriftingStream(shape, 3)
    first = one.create(500)
    np.testing.assert_array_equal(first.vectors, two.create(500).vectors)
    asked_then = two.queries(200)
    one.create(5_000)
    asked_now = one.queries(200)
    unit = first.vectors / np.linalg.norm(first.vectors, axis=1, keepdims=True)
    assert (asked_now @ unit.T).max(axis=1).mean() < (asked_then @ unit.T).max(axis=1).mean() - 0.05


def test_a_cluster_turns_as_fast_in_the_last_window_as_in_the_first() -> None:
    """Turned towards a point it slowed down as it came near: of .6 a window in the first .08 were left in the fifth."""
    stream = DriftingStream(StreamShape(dim=16, window_rows=500, clusters=20, reborn_share=0.0), 3)
    for _ in range(6):
        before = stream._centres
        for _ in range(10):
            stream.create(50)
        turned = np.arccos((before * stream._centres).sum(axis=1))
        np.testing.assert_allclose(turned, 0.6, atol=1e-3)


def test_the_soak_bench_tells_what_a_million_vectors_take() -> None:
    """An operator sizes a node by it."""
    report = soak.run(live=1_000, seconds=1.0, upserts_per_s=2_000)
    assert 300 < report["held_mb_per_million"] < 100_000  # type: ignore[operator]
    assert report["resident_mb_end"] > 10  # type: ignore[operator]
    json.dumps(report)


def test_growth_is_the_slope_after_the_tiers_were_filled_for_the_first_time() -> None:
    """What every index takes at first would hide a leak, or look like one."""
    samples = [soak.Sample(60.0 * n, 1_000 * n, 900.0 + 3 * n if n > 1 else 50.0 * n, 0.0) for n in range(8)]
    warm = soak.after_warm_up(samples, live=1_000)
    assert [sample.created for sample in warm] == [2_000, 3_000, 4_000, 5_000, 6_000, 7_000]
    assert soak.growth_mb_per_minute(warm) == pytest.approx(3.0)
    assert soak.growth_mb_per_minute(warm[:1]) is None, "a slope of one point is no number, and JSON has no NaN"


def test_a_writer_or_reader_that_fails_ends_the_bench(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without its writer the spells of writing were idle ones, without its reader memory grew in an index that nobody asked."""

    def fail(*_: object) -> None:
        raise MemoryError("no more rows")

    monkeypatch.setattr(query, "_paced", fail)
    with pytest.raises(MemoryError, match="no more rows"):
        query._latency(500, 1, "all", seconds=0.4, writes_per_s=580)
    monkeypatch.setattr(soak, "_read", fail)
    with pytest.raises(MemoryError, match="no more rows"):
        soak.run(live=500, seconds=0.2, upserts_per_s=500)
