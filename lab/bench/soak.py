"""Whether memory grows: one index churned for minutes by a writer, its builder and readers on threads of their own."""

import os
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np

from lab.bench.churn import fill
from lab.bench.machine import commit, machine, resident_mb
from lab.bench.progress import OnProgress, untold
from lab.bench.stream import DriftingStream, StreamShape
from serving.index import TIERS, LiveIndex, Rows

BATCH_ROWS = 50
QUERIES_PER_S = 20
K = 200
EVERY_S = 5.0
# the first turnovers fill the tiers for the first time: growth is what comes after
WARM_TURNOVERS = 2.0


@dataclass(frozen=True, slots=True)
class Sample:
    """One moment: candidates created since the start, the process's resident memory, and what the index says it holds, in MB."""

    at_s: float
    created: int
    resident_mb: float
    held_mb: float


def run(
    *, live: int = 50_000, seconds: float = 600.0, upserts_per_s: int = 2_000, seed: int = 1, on_progress: OnProgress = untold
) -> dict[str, object]:
    """Churn a sliding window of `live` rows: half of the writes are new candidates, half are newer vectors of young ones.

    Growth counts after the warm-up. `rows` are (seconds, candidates created, resident MB, MB that the index says it holds).
    """
    stream = DriftingStream(StreamShape(window_rows=live), seed)
    index = LiveIndex(stream.shape.dim, TIERS["all"])
    empty_mb = resident_mb(os.getpid())
    try:
        fill(index, stream, live)
        samples = _churned(index, stream, live=live, seconds=seconds, upserts_per_s=upserts_per_s, on_progress=on_progress)
        stats = index.stats()
    finally:
        index.close()
    warm = after_warm_up(samples, live)
    growth = growth_mb_per_minute(warm)
    return {
        "bench": "soak",
        "machine": machine(),
        "commit": commit(),
        "config": {"upserts_per_s": upserts_per_s, "queries_per_s": QUERIES_PER_S, "index": "all"},
        "seed_list": [seed],
        "live": live,
        "seconds": seconds,
        "turnovers": round(samples[-1].created / live, 1),
        "held_mb_per_million": round(stats.memory_bytes / live, 1),
        "resident_mb_empty": round(empty_mb, 1),
        "resident_mb_warm": round(warm[0].resident_mb, 1),
        "resident_mb_end": round(warm[-1].resident_mb, 1),
        "resident_mb_most": round(max(sample.resident_mb for sample in warm), 1),
        "growth_mb_per_minute": None if growth is None else round(growth, 2),
        "counters": dict(stats.counters),
        "rows": [[round(s.at_s, 1), s.created, round(s.resident_mb, 1), round(s.held_mb, 1)] for s in samples],
    }


def after_warm_up(samples: Sequence[Sample], live: int) -> Sequence[Sample]:
    """Return the samples from when the window had turned over so often; the last one where it never did."""
    return [sample for sample in samples if sample.created >= WARM_TURNOVERS * live] or samples[-1:]


def growth_mb_per_minute(samples: Sequence[Sample]) -> float | None:
    """Return the slope of resident memory, by least squares; None of a single sample."""
    if len(samples) < 2:
        return None
    return float(np.polyfit([sample.at_s / 60 for sample in samples], [sample.resident_mb for sample in samples], 1)[0])


def _churned(
    index: LiveIndex, stream: DriftingStream, *, live: int, seconds: float, upserts_per_s: int, on_progress: OnProgress
) -> list[Sample]:
    stopping = threading.Event()
    queries = stream.queries(500)
    samples: list[Sample] = []
    began_s, written = time.monotonic(), 0
    with ThreadPoolExecutor(1) as pool:
        reading = pool.submit(_read, index, queries, stopping)
        try:
            while (at_s := time.monotonic() - began_s) < seconds:
                new = stream.create(BATCH_ROWS // 2)
                index.upsert(new)
                index.upsert(_renewed(stream, new))
                index.expire(stream.rows_drawn - live)
                written += 2 * len(new)
                if not samples or at_s - samples[-1].at_s >= EVERY_S:
                    samples.append(Sample(at_s, written // 2, resident_mb(os.getpid()), index.stats().memory_bytes / 2**20))
                    on_progress(int(at_s), int(seconds))
                time.sleep(max(0.0, began_s + written / upserts_per_s - time.monotonic()))
        finally:
            stopping.set()
        # one that failed has read no more: what grew would be an index that nobody asks
        reading.result()
    return samples


def _renewed(stream: DriftingStream, rows: Rows) -> Rows:
    return replace(rows, vectors=stream.moved(rows.vectors, step=0.2), versions=rows.versions + np.array([0, 1]))


def _read(index: LiveIndex, queries: np.ndarray, stopping: threading.Event) -> None:
    at = 0
    while not stopping.wait(1 / QUERIES_PER_S):
        _ = index.search(queries[at % len(queries)], K).candidate_ids
        at += 1
