"""Drives one live index through a sliding window of a drifting stream, counting what it costs. Shared by the index benchmarks."""

import time
from dataclasses import replace

import numpy as np

from lab.bench.stream import DriftingStream, FloatArray, IntArray
from serving.index import TIERS, IndexConfig, LiveIndex, Rows
from serving.index.tiers.arena import Arena, SlotArray
from serving.settings import IndexTiers

BATCH_ROWS = 256
_FILL_ROWS = 1_000
STEPS_A_BATCH = 2
"""Upkeep steps after each batch: a graph takes as long to build as a builder beside a full stream would need."""


def without_thread(tiers: IndexTiers) -> IndexConfig:
    """A configuration whose upkeep runs on the caller's thread, so that its processor time is counted to the row."""
    return replace(TIERS[tiers], background=False)


def fill(index: LiveIndex, stream: DriftingStream, live: int) -> None:
    """Write `live` new candidates; costs are nobody's."""
    for begin in range(0, live, _FILL_ROWS):
        index.upsert(stream.create(min(_FILL_ROWS, live - begin)))


class Churn:
    """One index of `live` rows in a window that slides as rows arrive. `cpu_s` is all processor time its writes cost."""

    def __init__(self, stream: DriftingStream, live: int, tiers: IndexTiers, seed: int) -> None:
        self.stream, self.live = stream, live
        self.index = LiveIndex(stream.shape.dim, without_thread(tiers))
        self.cpu_s = 0.0
        self.rows_written = 0
        self._random = np.random.default_rng(seed)

    def create(self, rows: int) -> FloatArray:
        """Write `rows` new candidates and let as many old ones expire; returns their vectors, for a baseline's use."""
        vectors = []
        for begin in range(0, rows, BATCH_ROWS):
            batch = self.stream.create(min(BATCH_ROWS, rows - begin))
            vectors.append(batch.vectors)
            self._write(batch)
        return np.concatenate(vectors)

    def refresh(self, rows: int, *, step: float) -> None:
        """Re-embed `rows` live candidates, each moved by about `step` radians."""
        for begin in range(0, rows, BATCH_ROWS):
            arena, slots = self.live_rows()
            chosen = self._random.choice(slots, size=min(BATCH_ROWS, rows - begin), replace=False)
            held = arena.versions_at(chosen)
            self._write(
                Rows(
                    candidate_ids=arena.ids_at(chosen),
                    vectors=self.stream.moved(arena.vectors.take(chosen, axis=0), step=step),
                    versions=held + np.array([0, 1]),
                    created_ms=arena.created_ms_at(chosen),
                    languages=arena.languages_at(chosen),
                    author_ids=arena.authors_at(chosen),
                    payloads=arena.payloads_at(chosen),
                )
            )

    def live_rows(self) -> tuple[Arena, SlotArray]:
        """The arena and the slots of all live rows."""
        view = self.index.view
        return view.arena, view.arena.live_slots(view.fresh_to, view.sequence)

    def _write(self, batch: Rows) -> None:
        began = time.thread_time()
        self.index.upsert(batch)
        self.index.expire(self.stream.rows_drawn - self.live)
        self.index.maintain(at_most_steps=STEPS_A_BATCH)
        self.cpu_s += time.thread_time() - began
        self.rows_written += len(batch)


def exact_nearest(vectors: FloatArray, queries: FloatArray, k: int) -> IntArray:
    """Row numbers of the true k nearest to each unit query, best first: [queries, k]."""
    scores = queries @ vectors.T
    best = np.argpartition(-scores, k - 1, axis=1)[:, :k]
    order = np.argsort(-np.take_along_axis(scores, best, axis=1), axis=1)
    nearest: IntArray = np.take_along_axis(best, order, axis=1)
    return nearest
