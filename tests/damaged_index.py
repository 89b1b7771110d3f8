"""An index with settled tiers, and the damage that only a fault does to one. Holds no test."""

from dataclasses import replace

import numpy as np

from serving.index import CompressedConfig, GraphConfig, IndexConfig, LiveIndex, Rows
from serving.index.tiers.arena import GRAVE

DIM = 16
CODED_EARLY = CompressedConfig(train_from_rows=256)
CODES = IndexConfig(fresh_rows=64, compressed=CODED_EARLY, graph=None, background=False)
WALKED = replace(
    CODES,
    compressed=replace(CODED_EARLY, scan_us_per_row=1e6),
    graph=GraphConfig(build_from_rows=256, pays_from_hits=0, leave_oldest_share=0.1),
)
"""Scanning codes is said to be dear, so every search walks the graph."""


def settled(config: IndexConfig, *, count: int) -> LiveIndex:
    """Return an index whose upkeep is done."""
    index = LiveIndex(DIM, config)
    index.upsert(rows(count))
    index.maintain()
    return index


def rows(count: int, *, first: int = 0) -> Rows:
    """Return rows in two languages, one a second."""
    vectors = np.random.default_rng(first + 1).normal(size=(count, DIM)).astype(np.float32)
    return Rows(
        candidate_ids=[f"t:{n}" for n in range(first, first + count)],
        vectors=vectors,
        versions=np.stack([np.arange(count) + 1_000, np.zeros(count, int)], axis=1),
        created_ms=np.arange(count, dtype=np.int64) * 1_000,
        languages=["en" if n % 3 else "ja" for n in range(count)],
        author_ids=["a:1"] * count,
        payloads=[b""] * count,
    )


def queries(count: int, dim: int = DIM) -> np.ndarray:
    """Return query vectors."""
    return np.random.default_rng(99).normal(size=(count, dim)).astype(np.float32)


def shuffle_codes(index: LiveIndex) -> None:
    """Let every code name another row, as a wrong file or a slot renumbered badly would in silence."""
    view = index.view
    assert view.compressed is not None
    shuffled = np.random.default_rng(4).permutation(view.compressed.slots)
    index._state.view = replace(view, compressed=replace(view.compressed, slots=shuffled))


def shuffle_graph(index: LiveIndex) -> None:
    """The same of the graph's labels."""
    view = index.view
    assert view.graph is not None
    shuffled = np.random.default_rng(4).permutation(view.graph.slots)
    index._state.view = replace(view, graph=replace(view.graph, slots=shuffled))


def lose(index: LiveIndex, candidate_id: str) -> None:
    """Let one live row be in no tier."""
    view = index.view
    slot = index._state.ledger.slot_of(candidate_id)
    assert view.compressed is not None
    slots = np.where(view.compressed.slots == slot, GRAVE, view.compressed.slots)
    index._state.view = replace(view, compressed=replace(view.compressed, slots=slots))
