"""The bytes of a user state, put together from entries encoded once: those of `schemas.codec.encode`, in a fraction of the time.

A state of 200 entries takes the codec about 3 ms, and each new entry changes one of them. Avro writes an array as its count, its
items and a zero, and `entries` is a user state's last field, so old items can be copied.
"""

from dataclasses import replace

from schemas.codec import encode
from schemas.records.users import UserEntry, UserState
from schemas.writing import long_bytes


class EncodedEntries:
    """The encoded entries of one user. Not shared between users."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[UserEntry, bytes]] = {}

    def encode(self, state: UserState) -> bytes:
        """Return the framed bytes of `state`; entries of the previous state that are not in this one are forgotten."""
        known = {}
        for entry in state.entries:
            pair = self._known.get(entry.entry_id)
            known[entry.entry_id] = pair if pair is not None and pair[0] is entry else (entry, _encode_entry(entry))
        self._known = known
        head = encode(replace(state, entries=()))
        if not known:
            return head
        # the head ends in the zero of an empty array
        return b"".join((head[:-1], long_bytes(len(known)), *(data for _, data in known.values()), b"\x00"))


_EMPTY_STATE = UserState("")
_EMPTY_HEAD = encode(_EMPTY_STATE)[:-1]


def _encode_entry(entry: UserEntry) -> bytes:
    # behind the head lies the count, one byte for one entry; behind the entry the array's zero
    return encode(replace(_EMPTY_STATE, entries=(entry,)))[len(_EMPTY_HEAD) + 1 : -1]
