"""One candidate's way through the topics: published, folded, embedded by each bundle. Reads a partition of each; judges nothing."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Literal

from schemas.codec import SchemaLookup, decode, decode_embedding
from schemas.errors import InvalidInput, TopicMismatch
from schemas.progress import OnProgress, untold
from schemas.records.candidates import Candidate
from schemas.surfaces import Surface
from schemas.topics import CANDIDATES, PUBLICATIONS, embeddings_topic_name
from schemas.wire.admin import make_admin, partition_counts
from schemas.wire.inbound import InboundRecord
from schemas.wire.partition import partition_of
from schemas.wire.tail import TailReader

What = Literal["published", "deleted", "stub", "folded", "embedded", "embedding deleted", "forgotten", "unreadable"]


@dataclass(frozen=True, slots=True)
class Step:
    """One record about the candidate.

    Attributes:
        at_ms: the broker's append time, Unix milliseconds.
        bundle: of an embedding; None elsewhere.
        version: (event time ms, sequence); None where the record has none.
        created_ms: the candidate's creation, where the record tells.
    """

    at_ms: int
    what: What
    topic: str
    partition: int
    offset: int
    bundle: str | None = None
    version: tuple[int, int] | None = None
    created_ms: int | None = None


@dataclass(frozen=True, slots=True)
class Timeline:
    """Every record of a candidate that topics still hold, oldest first, and the bundles whose topics are gone."""

    steps: tuple[Step, ...]
    gone: frozenset[str] = frozenset()

    def until(self, at_ms: int) -> "Timeline":
        """Return what was in the topics at a time, as far as they still hold it."""
        return Timeline(tuple(step for step in self.steps if step.at_ms <= at_ms), self.gone)


def read_timeline(
    bootstrap: str,
    surface: Surface,
    candidate_id: str,
    bundles: Iterable[str],
    *,
    lookup: SchemaLookup | None = None,
    on_progress: OnProgress = untold,
) -> Timeline:
    """Return the candidate's way; of each topic compaction keeps the newest record.

    Args:
        lookup: for records under a schema registry's ids; see `schemas.codec.decode_mapping`.
        on_progress: as of `TailReader.to_end`.

    Raises:
        RegistryUnavailable: as `lookup` does.
        BrokerUnavailable: no broker answered, or a bundle's topic was deleted while it was read.
        TopicMismatch: there is no topic of the surface's candidates.
    """
    key = candidate_id.encode()
    counts = partition_counts(make_admin(bootstrap))
    if surface.candidate_topic not in counts:
        raise TopicMismatch(f"topic {surface.candidate_topic} does not exist at {bootstrap}; `roost topics create` creates it")
    # all topics keyed by candidate have as many
    partition = partition_of(key, counts[surface.candidate_topic])
    steps_of = partial(_of, bootstrap, partition, key, on_progress=on_progress)
    steps = steps_of(surface.candidate_topic, partial(source_step, lookup=lookup))
    steps += steps_of(CANDIDATES, folded_step)
    topics = {bundle: embeddings_topic_name(bundle) for bundle in bundles}
    gone = frozenset(bundle for bundle, topic in topics.items() if topic not in counts)
    for bundle in topics.keys() - gone:
        steps += steps_of(topics[bundle], partial(embedded_step, bundle=bundle, dim=surface.dim))
    return Timeline(tuple(sorted(steps, key=lambda step: step.at_ms)), gone)


def _of(
    bootstrap: str,
    partition: int,
    key: bytes,
    topic: str,
    step: Callable[[InboundRecord], Step],
    *,
    on_progress: OnProgress,
) -> list[Step]:
    with TailReader(bootstrap, topic, [partition], once=True) as reader:
        return [_guarded(record, step) for record in reader.to_end(on_progress=on_progress) if record.key == key]


def _guarded(record: InboundRecord, step: Callable[[InboundRecord], Step]) -> Step:
    try:
        return step(record)
    except InvalidInput:
        return Step(record.timestamp_ms, "unreadable", record.topic, record.partition, record.offset)


def source_step(record: InboundRecord, *, lookup: SchemaLookup | None = None) -> Step:
    """Return what a record of a candidate topic says."""
    if record.value is None:
        return _step(record, "deleted")
    told = decode(PUBLICATIONS[record.topic], record.value, lookup)
    what: What = "deleted" if told.deleted else "published"
    return _step(record, what, version=told.version, created_ms=None if told.deleted else told.created_ms)


def folded_step(record: InboundRecord) -> Step:
    """Return what a record of `candidates` says."""
    if record.value is None:
        return _step(record, "forgotten")
    candidate = decode(Candidate, record.value)
    what: What = "deleted" if candidate.deleted else "stub" if candidate.is_stub else "folded"
    created_ms = None if candidate.attributes is None else candidate.attributes.created_ms
    return _step(record, what, version=candidate.version, created_ms=created_ms)


def embedded_step(record: InboundRecord, bundle: str, dim: int) -> Step:
    """Return what a record of a bundle's embeddings says."""
    if record.value is None:
        return _step(record, "forgotten", bundle=bundle)
    embedding = decode_embedding(dim, record.value)
    what: What = "embedding deleted" if embedding.deleted else "embedded"
    created_ms = None if embedding.deleted else embedding.created_ms
    return _step(record, what, bundle=bundle, version=embedding.version, created_ms=created_ms)


def _step(
    record: InboundRecord,
    what: What,
    *,
    bundle: str | None = None,
    version: tuple[int, int] | None = None,
    created_ms: int | None = None,
) -> Step:
    held = None if version is None else (version[0], version[1])
    return Step(record.timestamp_ms, what, record.topic, record.partition, record.offset, bundle, held, created_ms)
