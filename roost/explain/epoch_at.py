"""Which bundle answered a user at a moment, from the records of the rollouts log. Pure."""

from collections.abc import Iterable

from schemas.codec import decode
from schemas.errors import InvalidInput
from schemas.features.hashing import canary_bucket
from schemas.records.control import Rollout, Stage
from schemas.rollout import fold, nothing_yet
from schemas.wire.inbound import InboundRecord


def rollout_at(records: Iterable[InboundRecord], surface: str, at_ms: int) -> Rollout | None:
    """Return the last revision of a surface that was written by a time; None before the first."""
    state = nothing_yet(surface)
    for record in records:
        if record.timestamp_ms > at_ms:
            continue
        try:
            state = fold(state, decode(Rollout, record.value or b""))
        # to every reader of the log it is no revision
        except InvalidInput:
            continue
    return state if state.revision else None


def bundle_at(rollout: Rollout, user_id: str | None) -> str | None:
    """Return the bundle that answers a user at a revision: its canary's, else the live one; None when nothing is live."""
    if user_id is not None and rollout.live is not None:
        for entry in rollout.in_stage(Stage.CANARY):
            if canary_bucket(entry.salt, user_id) < entry.share_bp:
                return entry.bundle
    return rollout.live
