"""How soon a restarted node holds its candidates again: an index written to disk as a node does it, and read back. No broker.

Reading checks each byte against the manifest and settles every row, so that the first query is answered as those of before.
"""

import tempfile
import time
from pathlib import Path

import numpy as np

from lab.bench.churn import fill, without_thread
from lab.bench.machine import commit, machine
from lab.bench.progress import OnProgress, untold
from lab.bench.stream import DriftingStream, StreamShape
from serving.filling.filled import FilledIndex
from serving.filling.masks import Masks
from serving.index import TIERS, LiveIndex
from serving.snapshots.keeping import BundleSnapshots
from serving.snapshots.store import SnapshotStore

K = 200
QUERIES = 100
NONE = ("lost",)
LEAST = {"recall_at_200": 0.98}
"""An index that is back soon and holds or finds less is not back."""
_TOPIC = "bench"
_BUNDLE = "be" * 8


def run(
    *, live: int = 100_000, payload_bytes: int = 450, rounds: int = 5, seed: int = 1, on_progress: OnProgress = untold
) -> dict[str, object]:
    """Write one index of `live` rows and restore it `rounds` times into an empty one, files in the page cache.

    Args:
        payload_bytes: what a row carries beside its vector; a node's token and text are about as long as the default.
    """
    stream = DriftingStream(StreamShape(window_rows=live, payload_bytes=payload_bytes), seed)
    with tempfile.TemporaryDirectory(prefix="roost-restore-") as folder:
        store = SnapshotStore(Path(folder), keep=1)
        write_s = _written_s(store, stream, live)
        on_progress(1, 1 + rounds)
        queries = stream.queries(QUERIES)
        restored = []
        for _ in range(rounds):
            restored.append(_restored(store, stream.shape.dim, queries))
            on_progress(1 + len(restored), 1 + rounds)
        disk_bytes = sum(path.stat().st_size for path in Path(folder).rglob("*") if path.is_file())
    took_s, cpu_s, rows, recalls = zip(*restored, strict=True)
    return {
        "bench": "restore",
        "machine": machine(),
        "commit": commit(),
        "config": {"payload_bytes": payload_bytes, "rounds": rounds, "index": "all"},
        "seed_list": [seed],
        "live": live,
        "lost": live - min(rows),
        "restore_s_median": round(float(np.median(took_s)), 2),
        "restore_s_most": round(max(took_s), 2),
        "restore_cpu_s_median": round(float(np.median(cpu_s)), 2),
        "recall_at_200": round(min(recalls), 4),
        "write_s": round(write_s, 2),
        "disk_mb": round(disk_bytes / 2**20, 1),
        "rows": [round(one_s, 3) for one_s in took_s],
    }


def _written_s(store: SnapshotStore, stream: DriftingStream, live: int) -> float:
    index = LiveIndex(stream.shape.dim, without_thread("all"))
    try:
        fill(index, stream, live)
        index.maintain()
        began_s = time.perf_counter()
        _snapshots(store).save(FilledIndex(index, Masks(), id_prefix="t:"), _TOPIC, {0: live}, still=lambda: True)
        return time.perf_counter() - began_s
    finally:
        index.close()


def _restored(store: SnapshotStore, dim: int, queries: np.ndarray) -> tuple[float, float, int, float]:
    """Restore into an empty index on this thread; returns seconds, its processor seconds, rows held, and recall@200 then."""
    index = LiveIndex(dim, TIERS["all"])
    try:
        began_s, cpu_began_s = time.perf_counter(), time.thread_time()
        _snapshots(store).restore(FilledIndex(index, Masks(), id_prefix="t:"), _TOPIC)
        took_s, cpu_s = time.perf_counter() - began_s, time.thread_time() - cpu_began_s
        exact = [set(index.search_exact(query, K).candidate_ids) for query in queries]
        shares = [
            len(ids.intersection(index.search(query, K).candidate_ids)) / K for ids, query in zip(exact, queries, strict=True)
        ]
        return took_s, cpu_s, len(index), float(np.mean(shares))
    finally:
        index.close()


def _snapshots(store: SnapshotStore) -> BundleSnapshots:
    return BundleSnapshots(_BUNDLE, store, now_ms=lambda: time.time_ns() // 1_000_000)
