"""Entries of a user's set that no longer say whom they were about, since that account was erased. Pure.

A withdrawn entry stands in its original's place, a millisecond newer, under a digest of the original's name, which may hold the
account's: a redelivery finds it there.
"""

import hashlib

from schemas.records.users import UserEntry, UserEventKind

# a candidate's id in form, of nobody
_NOBODY = "a:-"


def withdrawn(entry: UserEntry) -> UserEntry:
    """Return what stands in an entry's place once its candidate is erased: that there was something, and when."""
    return UserEntry(place_of(entry), UserEventKind.IMPRESSION, _NOBODY, entry.event_time_ms + 1)


def is_withdrawn(entry: UserEntry) -> bool:
    """Tell whether an entry stands in another's place."""
    return entry.candidate_id == _NOBODY


def place_of(entry: UserEntry) -> str:
    """Return what an entry and the one that stands in its place have in common."""
    return entry.entry_id if is_withdrawn(entry) else hashlib.sha256(entry.entry_id.encode()).hexdigest()
