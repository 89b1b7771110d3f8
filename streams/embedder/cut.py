"""Cuts what an embedding record holds of a candidate out of the candidate's own record. Judges no record; embeds nothing.

Nearly all of it is copied as it lies, for an embedding holds the same Avro bytes in another order. That takes a third of the time
of reading the candidate whole and writing the embedding value by value.
"""

import re
from dataclasses import fields
from functools import lru_cache
from operator import attrgetter
from typing import NamedTuple

from schemas.codec import HEADER_BYTES, body_writer, decode, frame_head
from schemas.plain import ASCII_TEXT, LONG, TEXT, NotPlain, array, find_text, group, long_of, optional, read_long
from schemas.records.candidates import (
    DIMENSIONS,
    MAX_TOPICS,
    Candidate,
    CandidateAttributes,
    Counters,
    Embedding,
    embedding_subject,
)
from schemas.topics import ENGAGEMENTS, PUBLICATIONS
from schemas.writing import long_bytes

_COUNTERS = [field.name for field in fields(Counters)]
_INPUTS = (*PUBLICATIONS, ENGAGEMENTS)
_GIVEN = b"\2"
# what lies before the text of a live candidate, and behind it
_FRONT = re.compile(
    # id and version; `deleted`, which is false
    group(group(TEXT), LONG, LONG, rb"\x00")
    # the attributes: author, language, region, topics
    + _GIVEN
    + group(group(TEXT), group(TEXT), group(TEXT), group(array(TEXT, MAX_TOPICS))),
    re.DOTALL,
)
_BACK = re.compile(
    # followers, when it was created, and the time in the recorded data
    group(LONG)
    + group(LONG)
    + optional(LONG)
    + group(LONG * len(_COUNTERS))
    # how far each input topic was read; the append time
    + array(ASCII_TEXT + LONG, len(_INPUTS))
    + group(LONG),
    re.DOTALL,
)
_DIM = DIMENSIONS[0]
_KEPT = 8_192

SOURCES = ("author_id", "language", "region", "topics", "author_followers", *(f"counters.{name}" for name in _COUNTERS))
"""Of a feature spec's fields; see `schemas.features.spec.Field`."""
_values = attrgetter(*SOURCES)


class Cut(NamedTuple):
    """What the embedding of a live candidate holds of it.

    Attributes:
        key: the candidate id, in UTF-8.
        values: what a tower reads, in the order of `SOURCES`.
        body: the Avro body of the embedding record behind the vector, without its last value: when the tower ran.
    """

    key: bytes
    created_ms: int
    values: tuple[str | int | tuple[str, ...], ...]
    body: bytes


def cut_or_read(state: bytes) -> Cut | Candidate:
    """Return what the embedding of a candidate's record holds; of a delete or a stub, which has no embedding, the candidate.

    Raises:
        UndecodableRecord, UnknownSchema: as `schemas.codec.decode`.
    """
    try:
        return cut(state)
    except NotPlain:
        candidate = decode(Candidate, state)
    if candidate.deleted or candidate.attributes is None:
        return candidate
    return _cut_whole(candidate, candidate.attributes)


def cut(state: bytes) -> Cut:
    """Return what the embedding of a candidate's record holds.

    Raises:
        NotPlain: a delete, a stub, another release's schema, an odd encoding, or bytes that are no record.
    """
    if state[:HEADER_BYTES] != frame_head(Candidate.SUBJECT):
        raise NotPlain("another schema")
    try:
        return _cut(state)
    # past the end of the bytes, or text that is not UTF-8
    except (IndexError, UnicodeDecodeError) as error:
        raise NotPlain(str(error)) from error


def _cut(state: bytes) -> Cut:
    front = _FRONT.match(state, HEADER_BYTES)
    if front is None:
        raise NotPlain("not a live candidate of the plain form, as far as its text")
    told_from = front.end()
    at, told_to = find_text(state, told_from)
    # for the judgement alone: no other byte of these is read
    state[at:told_to].decode()
    back = _BACK.fullmatch(state, told_to)
    if back is None:
        raise NotPlain("not a candidate of the plain form, behind its text")
    version, candidate_id, told, author_id, language, region, topics = front.groups()
    candidate_id[1:].decode()
    followers, created_ms, counts, append_ms = back.groups()
    counters, clipped = _counters(counts)
    values = (
        author_id[1:].decode(),
        language[1:].decode(),
        region[1:].decode(),
        _topics(topics),
        long_of(followers),
        *counters,
    )
    body = b"".join((version, created_ms, state[told_from:told_to], _GIVEN, told, followers, clipped, append_ms))
    return Cut(candidate_id[1:], long_of(created_ms), values, body)


def _cut_whole(candidate: Candidate, attributes: CandidateAttributes) -> Cut:
    features = attributes.features(candidate.counters)
    whole = Embedding(
        bytes(4 * _DIM),
        candidate.candidate_id,
        candidate.event_time_ms,
        candidate.sequence,
        attributes.created_ms,
        candidate.append_time_ms,
        0,
        text=attributes.text,
        features=features,
    )
    body = body_writer(embedding_subject(_DIM))(whole)
    return Cut(candidate.candidate_id.encode(), attributes.created_ms, _values(features), body[4 * _DIM : -1])


# what many candidates share is read once: these, and the objects it becomes, cost more than all the rest
@lru_cache(_KEPT)
def _topics(block: bytes) -> tuple[str, ...]:
    # behind their number, and before the 0 that ends them
    texts, at = [], 1
    while at < len(block) - 1:
        at, end = find_text(block, at)
        texts.append(block[at:end].decode())
        at = end
    return tuple(texts)


@lru_cache(_KEPT)
def _counters(longs: bytes) -> tuple[tuple[int, ...], bytes]:
    """Return the counters, clipped, and their bytes."""
    counts, at = [], 0
    while at < len(longs):
        count, at = read_long(longs, at)
        counts.append(max(count, 0))
    return tuple(counts), b"".join(map(long_bytes, counts))
