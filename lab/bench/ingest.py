"""What a write costs: upserts per processor-second of the live index, all upkeep counted, against all one could pick instead."""

import time
from collections.abc import Callable, Sequence
from itertools import count
from typing import Any

import numpy as np

from lab.bench.baselines import rebuilt_graph, unit, windows
from lab.bench.churn import BATCH_ROWS, Churn, exact_nearest
from lab.bench.machine import commit, machine
from lab.bench.progress import OnProgress, untold
from lab.bench.stream import DriftingStream, FloatArray, StreamShape
from serving.settings import IndexTiers

K = 200
QUERIES = 200
LEAST = {"recall_at_200": 0.98}
"""Writes that end in wrong answers are not cheap."""
REBUILT_SHARE = 0.1
"""A graph is rebuilt when so much of the window is new: its cost is that of these rows, none of which is found before."""
SLICES = 6
"""Of the churn, the baselines between them: whatever else the machine does falls on all alike."""
RATIOS = {
    "vs_inplace_update": "hnswlib in-place update",
    "vs_replace_deleted": "hnswlib mark_deleted + replace_deleted",
    "vs_rebuild": "hnswlib rebuilt",
    "vs_faiss_hnsw": "faiss HNSW",
    "vs_int8_flat": "int8 flat",
    "vs_ivf_flat": "IVF flat",
}
"""Figures by the name of what they compare with."""


def run(
    *,
    live: int = 50_000,
    turnovers: float = 2.0,
    seeds: Sequence[int] = (1,),
    tiers: IndexTiers = "all",
    baseline_writes: int = 3_000,
    on_progress: OnProgress = untold,
) -> dict[str, object]:
    """Processor time per upsert over `turnovers` of a sliding window, with the baselines measured between its slices.

    The baselines hold the same rows and are timed on at most `baseline_writes` of the same stream, in the same batches; theirs is
    the cost of a full index, which is where they stay. recall_at_200 is ours, after the churn, against exact search; what the
    baselines find, and what an answer of theirs costs, which is where the flat ones pay, is `lab.bench.query`'s.
    """
    slices = count(1)
    rows = [
        _one(live, turnovers, seed, tiers, baseline_writes, on_slice=lambda: on_progress(next(slices), SLICES * len(seeds)))
        for seed in seeds
    ]
    return {
        "bench": "ingest",
        "machine": machine(),
        "commit": commit(),
        "config": tiers,
        "seed_list": list(seeds),
        "live": live,
        "upserts_per_cpu_s": round(float(np.mean([row["upserts_per_cpu_s"] for row in rows]))),
        **{ratio: round(min(row[ratio] for row in rows), 2) for ratio in RATIOS},
        "recall_at_200": round(min(row["recall_at_200"] for row in rows), 4),
        "rows": rows,
    }


def _one(
    live: int, turnovers: float, seed: int, tiers: IndexTiers, baseline_writes: int, *, on_slice: Callable[[], None]
) -> dict[str, Any]:
    churn = Churn(DriftingStream(StreamShape(window_rows=live), seed), live, tiers, seed)
    churn.create(live)
    arena, slots = churn.live_rows()
    held = arena.vectors.take(slots, axis=0)
    baselines = windows(held, seed)
    spent = dict.fromkeys((baseline.name for baseline in baselines), 0.0)
    written = 0
    churn.cpu_s, churn.rows_written = 0.0, 0
    for _ in range(SLICES):
        vectors = unit(churn.create(int(live * turnovers / SLICES)))[: baseline_writes // SLICES]
        for baseline in baselines:
            began = time.thread_time()
            for begin in range(0, len(vectors), BATCH_ROWS):
                baseline.write(vectors[begin : begin + BATCH_ROWS])
            spent[baseline.name] += time.thread_time() - began
        written += len(vectors)
        on_slice()
    # off-phase: as many rows past the last slice as leaves tiers half full
    churn.create(live // 7 + 611)
    ours = churn.cpu_s / churn.rows_written
    each = {name: cpu_s / written for name, cpu_s in spent.items()} | {"hnswlib rebuilt": _rebuilding_s(held, seed)}
    return {
        "seed": seed,
        "upserts_per_cpu_s": 1 / ours,
        "us_per_upsert": {"ours": ours * 1e6, **{name: cpu_s * 1e6 for name, cpu_s in each.items()}},
        **{ratio: each[name] / ours for ratio, name in RATIOS.items()},
        "recall_at_200": recall(churn, QUERIES, K),
        "memory_bytes_per_row": churn.index.stats().memory_bytes / live,
    }


def _rebuilding_s(vectors: FloatArray, seed: int) -> float:
    """Processor seconds of one rebuild over `vectors`, by row that it makes findable."""
    began = time.thread_time()
    rebuilt_graph(vectors, seed)
    return (time.thread_time() - began) / (len(vectors) * REBUILT_SHARE)


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
