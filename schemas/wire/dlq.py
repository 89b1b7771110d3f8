"""The dead-letter envelope: a record that could not be processed, whole, under a key that makes a redelivery the same entry.

A letter that is sent again carries its attempts in a header of ours, which no envelope keeps: what is sent again is always the
record as its producer sent it, and the count goes on.

Brokers measure records as their producers compressed them, so one may be larger than any letter. Its letter says where it is, and
holds nothing of it.
"""

import logging
from dataclasses import dataclass, replace
from typing import ClassVar

from confluent_kafka import Producer

from schemas.codec import encode, frame_id
from schemas.errors import InvalidInput, UndecodableRecord
from schemas.records.base import Message, Record, sequence_of
from schemas.topics import MAX_DEAD_LETTER_BYTES, dlq
from schemas.wire.inbound import InboundRecord

log = logging.getLogger(__name__)

ATTEMPTS_HEADER = "roost-attempts"
PRODUCER_HEADER = "roost-producer"
"""Of whoever wrote a record, where it says so: a broker keeps no client's name."""
_LEFT_OUT = "RecordTooLarge"
# beside the letter, its key and what the protocol adds
_MOST_BYTES = MAX_DEAD_LETTER_BYTES - 4_096


@dataclass(frozen=True, slots=True)
class Header(Record):
    """A record header."""

    key: str
    value: bytes | None


@dataclass(frozen=True, slots=True)
class DeadLetter(Message):
    """The envelope. Its key on the topic is `topic/partition/offset`."""

    SUBJECT: ClassVar[str] = "dead-letter"

    topic: str
    partition: int
    offset: int
    timestamp_ms: int
    key: bytes | None
    value: bytes | None
    error_kind: str
    error: str
    role: str
    headers: tuple[Header, ...] = sequence_of(Header)
    schema_id: int | None = None
    attempts: int = 1

    @property
    def record_key(self) -> bytes:
        """The key of the entry: the record's place, so that a redelivery overwrites it."""
        return f"{self.topic}/{self.partition}/{self.offset}".encode()

    @property
    def producer(self) -> str | None:
        """The name that the record's producer gave itself; None where it gave none. Of another's bytes what is UTF-8 is shown."""
        said = next((header.value for header in self.headers if header.key == PRODUCER_HEADER), None)
        return said.decode(errors="replace") if said else None

    @property
    def left_out(self) -> bool:
        """Whether the record was too large for its letter, which holds neither key, value nor headers: it cannot be sent again."""
        return self.error_kind == _LEFT_OUT


def resent_headers(letter: DeadLetter) -> list[tuple[str, bytes | None]]:
    """Return the headers a letter is sent again with: its record's own, and how often it was tried."""
    return [*((header.key, header.value) for header in letter.headers), (ATTEMPTS_HEADER, str(letter.attempts).encode())]


def dead_letter(record: InboundRecord, error: InvalidInput, *, role: str) -> DeadLetter:
    """Return the envelope of a consumed record that can never be processed."""
    try:
        schema_id = frame_id(record.value) if record.value is not None else None
    except UndecodableRecord:
        schema_id = None
    return DeadLetter(
        topic=record.topic,
        partition=record.partition,
        offset=record.offset,
        timestamp_ms=record.timestamp_ms,
        key=record.key,
        value=record.value,
        error_kind=type(error).__name__,
        error=str(error),
        role=role,
        headers=tuple(Header(name, content) for name, content in record.headers if name != ATTEMPTS_HEADER),
        schema_id=schema_id,
        attempts=1 + _tried(record),
    )


def _tried(record: InboundRecord) -> int:
    """Return how often a record was tried before it was sent again."""
    said = dict(record.headers).get(ATTEMPTS_HEADER) or b""
    # anybody may write a header: what is no count of ours, or too large for the envelope's, counts as none
    return int(said) if said.isdigit() and len(said) <= 9 else 0


class DeadLetterWriter:
    """Writes envelopes with the role's own producer: whoever flushes that producer before committing loses none."""

    def __init__(self, producer: Producer, *, role: str) -> None:
        self._producer = producer
        self._role = role
        self.written = 0

    def write(self, record: InboundRecord, error: InvalidInput) -> None:
        """Queue the envelope of `record` for its topic's dead-letter topic, and say so in the log."""
        log.warning("dead-lettered %s/%d/%d: %s", record.topic, record.partition, record.offset, error, extra=record.place)
        entry = dead_letter(record, error, role=self._role)
        value = encode(entry)
        if len(value) > _MOST_BYTES:
            value = encode(_without_record(entry))
        self._producer.produce(dlq(entry.topic), value, entry.record_key)
        self.written += 1


def _without_record(letter: DeadLetter) -> DeadLetter:
    place = f"{letter.topic}/{letter.partition} at offset {letter.offset}"
    sentence = f"{letter.error}; too large for a dead letter, the record is in {place} alone, and its producer must send it anew"
    return replace(letter, key=None, value=None, headers=(), error_kind=_LEFT_OUT, error=sentence)
