"""Positions in the input topics, and the mark that carries one on an embeddings record. Reads and writes no topic.

The embedder marks the last record of what it writes for a batch: everything that follows from its partition's input before the
marked next offsets lies in the embeddings topic up to and including this record. It marks nothing of a bundle whose corpus is not
written whole yet. A compacted topic loses marks; the embedder's reports on `node-status` say the same once a second.
"""

import json
from collections.abc import Iterable, Mapping

from schemas.topics import ENGAGEMENTS, PUBLICATIONS

Positions = Mapping[str, Mapping[int, int]]
"""The next offset by topic and partition."""

Place = tuple[str, int]
"""A topic and a partition."""

Header = tuple[str, bytes]

# only of these an index can say how far it reflects them
SOURCE_TOPICS = (*PUBLICATIONS, ENGAGEMENTS)

MARK = "roost-source"


def write_mark(next_offsets: Mapping[str, int]) -> Header:
    """Return the header that says how far each topic of a partition was read."""
    return MARK, json.dumps(dict(next_offsets), separators=(",", ":")).encode()


def read_mark(headers: Iterable[tuple[str, bytes | None]]) -> dict[str, int]:
    """Return what the mark among a record's headers says; nothing where there is none, or none that can be read."""
    for name, value in headers:
        if name == MARK:
            try:
                found = json.loads(value or b"")
            # not JSON, not UTF-8, or nested too deeply
            except (ValueError, RecursionError):
                return {}
            readable = isinstance(found, dict) and all(type(offset) is int for offset in found.values())
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
