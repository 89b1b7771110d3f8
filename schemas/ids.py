"""Ids and versions: their form and their order. Knows nothing of records or topics."""

import getpass
import os
import re
from typing import NamedTuple

from schemas.errors import InvalidRecord

MAX_ID_BYTES = 64
# of request, event and command ids: they become part of keys and of every entry of a user's state
MAX_REQUEST_ID_BYTES = 128
KINDS = {"t:": "tweet", "a:": "account", "n:": "article"}
_BUNDLE_ID = re.compile(r"[0-9a-f]{16}\Z")
_SURFACE_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}\Z")

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
    check_text("candidate id", candidate_id, MAX_ID_BYTES)


def check_user_id(user_id: str) -> None:
    """Raise `InvalidRecord` unless the id is 1 to 64 bytes of UTF-8."""
    check_name("user id", user_id, MAX_ID_BYTES)


def check_key(key: bytes | None, record_id: str) -> None:
    """Raise `InvalidRecord` unless a record's key is its id in UTF-8: under another key it sits in a partition nobody looks in."""
    if key != record_id.encode():
        raise InvalidRecord(f"the key {key!r:.80} is not the id {record_id!r} in UTF-8; produce each record under its own id")


def is_bundle_id(text: str) -> bool:
    """Tell whether `text` is 16 lower-case hex digits: the only form that may become part of a path or topic name."""
    return _BUNDLE_ID.match(text) is not None


def is_surface_name(text: str) -> bool:
    """Tell whether `text` is 1 to 64 letters, digits, - and _: the only form that may become a folder's name."""
    return _SURFACE_NAME.match(text) is not None


def check_name(what: str, text: str, max_bytes: int) -> None:
    """Raise `InvalidRecord` unless `text` is 1 to `max_bytes` bytes of UTF-8."""
    if not text:
        raise InvalidRecord(f"{what} is empty; give one of 1 to {max_bytes} bytes")
    check_text(what, text, max_bytes)


def check_text(what: str, text: str, max_bytes: int) -> None:
    """Raise `InvalidRecord` unless `text` is at most `max_bytes` bytes of UTF-8."""
    try:
        size = len(text) if text.isascii() else len(text.encode())
    except UnicodeEncodeError as error:
        raise InvalidRecord(f"{what} {text[:32]!r} holds half a surrogate pair; send whole characters") from error
    if size > max_bytes:
        raise InvalidRecord(f"{what} {text[:32]!r}… is longer than {max_bytes} bytes of UTF-8")


def actor_of_process() -> str:
    """Return whom the history names for a command given here: the user of this process.

    A container may run as any number, and the system need not know a name for it.
    """
    try:
        return getpass.getuser()
    # of Python before 3.13, and from it on
    except (KeyError, OSError):
        return f"uid {os.getuid()}"
