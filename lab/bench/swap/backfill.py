"""The corpus re-embedded without traffic: the pipeline's pace, against embed and insert in one process. Changes no live bundle."""

import time
from dataclasses import dataclass

import numpy as np

from lab.bench.swap.operator import Operator
from lab.bench.swap.plan import Target
from schemas.bundle import read_bundle
from schemas.codec import decode
from schemas.records.candidates import Candidate, CandidateFeatures
from schemas.records.control import CommandKind
from schemas.topics import CANDIDATES, embeddings_topic_name
from schemas.towers import Towers
from schemas.wire.tail import TailReader
from serving.client import Client
from serving.index import LiveIndex, Rows

_BATCH = 500
# a look costs both sides a millisecond, on the cores that the pipeline runs on
_LOOK_S = 0.05


@dataclass(frozen=True, slots=True)
class Backfill:
    """One run.

    Attributes:
        pipeline_per_s: records a second, from the first embedding's append to all searchable.
        written_per_s: the embedder's part of it: from the first append to the last.
        in_process_per_s: records a second embedded and inserted in one process.
        first_record_ms: from the command to the first append: the topic is made, towers are loaded and checked.
    """

    live: int
    pipeline_per_s: float
    written_per_s: float
    in_process_per_s: float
    first_record_ms: float


def measure(operator: Operator, target: Target, bundle: str) -> Backfill:
    """Build `bundle` beside the live one, abort it, then embed and insert the same corpus here; one node only runs."""
    node = operator.nodes[0]
    live = searchable(node, operator.state().live or "")
    started_ms = time.time_ns() // 1_000_000
    operator.command(CommandKind.START, bundle=bundle)
    operator.await_(lambda: searchable(node, bundle) >= live, f"{live:,} candidates in {bundle}", 300.0, look_s=_LOOK_S)
    ended_ms = time.time_ns() // 1_000_000
    first_ms, last_ms = _append_ms(target, bundle)
    operator.command(CommandKind.ABORT, bundle=bundle)
    pipeline = live / max(0.001, (ended_ms - first_ms) / 1000)
    written = live / max(0.001, (last_ms - first_ms) / 1000)
    return Backfill(live, pipeline, written, in_process(target, bundle), first_ms - started_ms)


def in_process(target: Target, bundle: str) -> float:
    """Return the records a second that one process embeds and inserts, with one thread to embed; reading them is not counted."""
    towers = Towers(read_bundle(target.registry, target.surface, bundle))
    corpus = _corpus(target)
    index = LiveIndex(towers.dim)
    try:
        started_s = time.perf_counter()
        for begin in range(0, len(corpus), _BATCH):
            batch = corpus[begin : begin + _BATCH]
            vectors = towers.embed_candidates([features for _, features in batch])
            index.upsert(_rows([candidate for candidate, _ in batch], vectors))
        return len(corpus) / (time.perf_counter() - started_s)
    finally:
        index.close()


def _rows(candidates: list[Candidate], vectors: np.ndarray) -> Rows:
    known = [candidate.attributes for candidate in candidates if candidate.attributes is not None]
    return Rows(
        candidate_ids=[candidate.candidate_id for candidate in candidates],
        vectors=vectors,
        versions=np.array([(candidate.event_time_ms, candidate.sequence) for candidate in candidates], np.int64),
        created_ms=np.array([attributes.created_ms for attributes in known], np.int64),
        languages=[attributes.language for attributes in known],
        author_ids=[attributes.author_id for attributes in known],
        payloads=[attributes.text.encode() for attributes in known],
    )


def _corpus(target: Target) -> list[tuple[Candidate, CandidateFeatures]]:
    newest: dict[bytes, bytes | None] = {}
    with TailReader(target.bootstrap, CANDIDATES, range(target.partitions), read_committed=True) as reader:
        for record in reader.read_to_end():
            newest[record.key or b""] = record.value
    candidates = [decode(Candidate, value) for value in newest.values() if value is not None]
    alive = [(candidate, candidate.features()) for candidate in candidates if not candidate.deleted]
    return [(candidate, features) for candidate, features in alive if features is not None]


def searchable(node: Client, bundle: str) -> int:
    """Return how many candidates a node's index of a bundle holds; 0 while it has none."""
    found = [one["index"] for surface in node.health()["surfaces"] for one in surface["bundles"] if one["bundle"] == bundle]
    return int(found[0]["live"]) if found and found[0] else 0


def _append_ms(target: Target, bundle: str) -> tuple[int, int]:
    with TailReader(target.bootstrap, embeddings_topic_name(bundle), range(target.partitions)) as reader:
        times_ms = [record.timestamp_ms for record in reader.read_to_end()]
    return min(times_ms), max(times_ms)
