"""What a write costs: upserts per processor-second of the live index, all upkeep counted, against updating one graph in place."""

import time
from collections.abc import Sequence

import numpy as np

from lab.bench.baselines import InPlaceGraph, ReplacingGraph, unit
from lab.bench.churn import Churn, ConfigName, exact_nearest
from lab.bench.machine import commit, machine
from lab.bench.stream import DriftingStream, StreamShape

K = 200
QUERIES = 200
LEAST = {"recall_at_200": 0.98}
"""Writes that end in wrong answers are not cheap."""


def run(
    *,
    live: int = 50_000,
    turnovers: float = 2.0,
    seeds: Sequence[int] = (1,),
    config: ConfigName = "all tiers",
    baseline_writes: int = 3_000,
) -> dict[str, object]:
    """Processor time per upsert over `turnovers` of a sliding window, with both baselines measured between its slices.

    The baselines hold the same rows and are timed on at most `baseline_writes` of the same stream; theirs is the cost of a full
    graph, which is where they stay. recall_at_200 is ours, after the churn, against exact search.
    """
    rows = [_one(live, turnovers, seed, config, baseline_writes) for seed in seeds]
    return {
        "bench": "ingest",
        "machine": machine(),
        "commit": commit(),
        "config": config,
        "seed_list": list(seeds),
        "live": live,
        "upserts_per_cpu_s": round(float(np.mean([row["upserts_per_cpu_s"] for row in rows]))),
        "vs_inplace_update": round(min(row["vs_inplace_update"] for row in rows), 2),
        "vs_replace_deleted": round(min(row["vs_replace_deleted"] for row in rows), 2),
        "recall_at_200": round(min(row["recall_at_200"] for row in rows), 4),
        "rows": rows,
    }


def _one(live: int, turnovers: float, seed: int, config: ConfigName, baseline_writes: int) -> dict[str, float]:
    churn = Churn(DriftingStream(StreamShape(window_rows=live), seed), live, config, seed)
    churn.create(live)
    arena, slots = churn.live_rows()
    held = arena.vectors.take(slots, axis=0)
    baselines = (InPlaceGraph(held, seed), ReplacingGraph(held, seed))
    spent = dict.fromkeys((baseline.name for baseline in baselines), 0.0)
    written = 0
    churn.cpu_s, churn.rows_written = 0.0, 0
    # in slices, so that whatever else the machine does falls on all three alike
    slices = 6
    for _ in range(slices):
        vectors = unit(churn.create(int(live * turnovers / slices)))[: baseline_writes // slices]
        for baseline in baselines:
            began = time.thread_time()
            baseline.write(vectors)
            spent[baseline.name] += time.thread_time() - began
        written += len(vectors)
    # off-phase: as many rows past the last slice as leaves tiers half full
    churn.create(live // 7 + 611)
    ours = churn.cpu_s / churn.rows_written
    in_place, replacing = (spent[baseline.name] / written for baseline in baselines)
    return {
        "seed": seed,
        "upserts_per_cpu_s": 1 / ours,
        "us_per_upsert": ours * 1e6,
        "in_place_us": in_place * 1e6,
        "replace_deleted_us": replacing * 1e6,
        "vs_inplace_update": in_place / ours,
        "vs_replace_deleted": replacing / ours,
        "recall_at_200": recall(churn, QUERIES, K),
        "memory_bytes_per_row": churn.index.stats().memory_bytes / live,
    }


def recall(churn: Churn, queries: int, k: int) -> float:
    """Mean recall@k of the index now, against an exact scan of what is live."""
    arena, slots = churn.live_rows()
    vectors = churn.stream.queries(queries)
    truth = exact_nearest(arena.vectors.take(slots, axis=0), vectors, k)
    shares = []
    for query, nearest in zip(vectors, truth, strict=True):
        found = set(churn.index.search(query, k).candidate_ids)
        shares.append(len(found.intersection(arena.ids_at(slots[nearest]))) / k)
    return float(np.mean(shares))
