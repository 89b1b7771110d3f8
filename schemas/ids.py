"""Ids and versions: their form and their order. Knows nothing of records or topics."""

import re
from typing import NamedTuple

from schemas.errors import InvalidRecord

MAX_ID_BYTES = 64
KINDS = {"t:": "tweet", "a:": "account", "n:": "article"}
_BUNDLE_ID = re.compile(r"[0-9a-f]{16}\Z")

LAST_SEQUENCE = 2**63 - 1


class Version(NamedTuple):
    """A candidate's version. Tuples compare in version order: event time first, then the producer's sequence."""

    event_time_ms: int
    sequence: int

    @classmethod
    def of_foreign_null(cls, known_event_time_ms: int, append_time_ms: int) -> "Version":
        """Version of a tombstone whose producer gave none: newer than all that is known (CONTRACTS, 'the same state')."""
        return cls(max(known_event_time_ms, append_time_ms), LAST_SEQUENCE)


def check_candidate_id(candidate_id: str) -> None:
    """Raise `InvalidRecord` unless the id has a kind prefix, something behind it, and at most 64 bytes of UTF-8."""
    if candidate_id[:2] not in KINDS or len(candidate_id) < 3:
        raise InvalidRecord(f"candidate id {candidate_id!r} needs a kind prefix ({', '.join(KINDS)}) and a name behind it")
    _check_bytes("candidate id", candidate_id)


def check_user_id(user_id: str) -> None:
    """Raise `InvalidRecord` unless the id is 1 to 64 bytes of UTF-8."""
    if not user_id:
        raise InvalidRecord("user id is empty; give one of 1 to 64 bytes")
    _check_bytes("user id", user_id)


def is_bundle_id(text: str) -> bool:
    """Tell whether `text` is 16 lower-case hex digits: the only form that may become part of a path or topic name."""
    return _BUNDLE_ID.match(text) is not None


def _check_bytes(what: str, text: str) -> None:
    # a cheap bound first: one code point is at most 4 bytes
    if len(text) * 4 > MAX_ID_BYTES and len(text.encode()) > MAX_ID_BYTES:
        raise InvalidRecord(f"{what} {text[:32]!r}… is longer than {MAX_ID_BYTES} bytes of UTF-8")
