"""One candidate's way through the topics: published, folded, embedded by each bundle. Reads a partition of each; judges nothing."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

from schemas.codec import SchemaLookup, decode, decode_embedding
from schemas.errors import BrokerUnavailable, InvalidInput
from schemas.records.candidates import Candidate
from schemas.surfaces import Surface
from schemas.topics import CANDIDATES, PUBLICATIONS, embeddings_topic_name
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


def read_timeline(
    bootstrap: str,
    surface: Surface,
    candidate_id: str,
    bundles: Iterable[str],
    *,
    partitions: int,
    lookup: SchemaLookup | None = None,
) -> tuple[Step, ...]:
    """Return every record of the candidate that the topics still hold, oldest first; compaction keeps the newest of each.

    Args:
        lookup: for records under a schema registry's ids; see `schemas.codec.decode_mapping`.

    Raises:
        RegistryUnavailable: as `lookup` does.
        BrokerUnavailable: no broker answered; a bundle's topic that is gone is passed over.
    """
    key = candidate_id.encode()
    partition = partition_of(key, partitions)
    steps = _of(bootstrap, surface.candidate_topic, partition, key, partial(source_step, lookup=lookup))
    steps += _of(bootstrap, CANDIDATES, partition, key, folded_step)
    for bundle in bundles:
        try:
            of_bundle = partial(embedded_step, bundle=bundle, dim=surface.dim)
            steps += _of(bootstrap, embeddings_topic_name(bundle), partition, key, of_bundle)
        except BrokerUnavailable:
            # deleted with its bundle between two looks; the other topics answered
            continue
    return tuple(sorted(steps, key=lambda step: step.at_ms))


def _of(bootstrap: str, topic: str, partition: int, key: bytes, step: Callable[[InboundRecord], Step]) -> list[Step]:
    with TailReader(bootstrap, topic, [partition], once=True) as reader:
        return [_guarded(record, step) for record in reader.to_end() if record.key == key]


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


def until(steps: Sequence[Step], at_ms: int) -> tuple[Step, ...]:
    """Return what was in the topics at a time, as far as they still hold it."""
    return tuple(step for step in steps if step.at_ms <= at_ms)
