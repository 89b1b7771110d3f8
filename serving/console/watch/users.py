"""Users whose state changed lately, from a sample of their states. Pure but for decoding."""

from collections.abc import Iterable, Sequence

from schemas.codec import decode
from schemas.errors import InvalidInput
from schemas.records.users import UserState
from schemas.wire.inbound import InboundRecord


def recent_users(records: Iterable[InboundRecord], known: Sequence[str], *, most: int) -> tuple[str, ...]:
    """Return at most so many ids of users, the latest first: those of records of `user-states`, then those `known` before.

    A user that was deleted is in neither: its last record is the marker that says so, or a null.
    """
    there: dict[str, bool] = {}
    for record in sorted(records, key=lambda record: record.timestamp_ms, reverse=True):
        if record.key is not None:
            there.setdefault(record.key.decode(errors="replace"), _is_there(record.value))
    found = (user_id for user_id in dict.fromkeys((*there, *known)) if there.get(user_id, True))
    return tuple(found)[:most]


def _is_there(value: bytes | None) -> bool:
    try:
        state = None if value is None else decode(UserState, value)
    except InvalidInput:
        # the node cannot read it either
        return False
    if state is None:
        return False
    known = (state.languages, state.region, state.follows, state.interests, state.entries)
    return state.erased_ms < 0 or any(known)
