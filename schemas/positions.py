"""Positions in the input topics, and the mark that carries one on an embeddings record. Reads and writes no topic.

The embedder marks the last record of what it writes for a batch: everything that follows from its partition's input before the
marked next offsets lies in the embeddings topic up to and including this record. It marks nothing of a bundle whose corpus is not
written whole yet. A compacted topic loses marks; the embedder's reports on `node-status` say the same once a second.
"""

import json
from collections.abc import Iterable, Mapping
from typing import TypeVar

from schemas.topics import ENGAGEMENTS, PUBLICATIONS

T = TypeVar("T")

Positions = Mapping[str, Mapping[int, int]]
"""The next offset by topic and partition."""

Place = tuple[str, int]
"""A topic and a partition."""

Header = tuple[str, bytes]

# only of these an index can say how far it reflects them
SOURCE_TOPICS = (*PUBLICATIONS, ENGAGEMENTS)

MARK = "roost-source"
SOURCE_IDS = "roost-source-ids"


def write_mark(next_offsets: Mapping[str, int]) -> Header:
    """Return the header that says how far each topic of a partition was read."""
    return MARK, json.dumps(dict(next_offsets), separators=(",", ":")).encode()


def read_mark(headers: Iterable[tuple[str, bytes | None]]) -> dict[str, int]:
    """Return what the mark among a record's headers says; nothing where there is none, or none that can be read."""
    return _mapping(headers, MARK, int)


def write_source_ids(ids: Mapping[str, str]) -> tuple[Header, ...]:
    """Return the header that says of which topics positions are, by Kafka's ids of them; none where nobody knows.

    It goes with a mark, and with an embedder's report. A topic that was created anew under its name has another id.
    """
    return ((SOURCE_IDS, json.dumps(dict(ids), separators=(",", ":")).encode()),) if ids else ()


def read_source_ids(headers: Iterable[tuple[str, bytes | None]]) -> dict[str, str]:
    """Return the ids of the topics that a record's positions are of; of earlier releases' records nobody knows them."""
    return _mapping(headers, SOURCE_IDS, str)


def _mapping(headers: Iterable[tuple[str, bytes | None]], wanted: str, kind: type[T]) -> dict[str, T]:
    for name, value in headers:
        if name == wanted:
            try:
                found = json.loads(value or b"")
            # not JSON, not UTF-8, or nested too deeply
            except (ValueError, RecursionError):
                return {}
            readable = isinstance(found, dict) and all(type(one) is kind for one in found.values())
            return found if readable else {}
    return {}


def first_missing(wanted: Positions, held: Positions) -> tuple[str, int, int, int] | None:
    """Return the first (topic, partition, wanted, held) where `held` falls short of `wanted`; None where it nowhere does."""
    for topic, offsets in wanted.items():
        for partition, offset in offsets.items():
            have = held.get(topic, {}).get(partition, 0)
            if have < offset:
                return topic, partition, offset, have
    return None
