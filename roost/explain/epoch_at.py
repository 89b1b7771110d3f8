"""Which bundle answered a user at a moment, from the rollouts log. Pure."""

from lab.history.log_rules import Chain
from schemas.features.hashing import canary_bucket
from schemas.records.control import Rollout, Stage


def rollout_at(chain: Chain, at_ms: int) -> Rollout | None:
    """Return the last revision written by a time; None before the first."""
    by_then = [entry.rollout for entry in chain.entries if entry.append_ms <= at_ms]
    return by_then[-1] if by_then else None


def bundle_at(rollout: Rollout, user_id: str | None) -> str | None:
    """Return the bundle that answers a user at a revision: its canary's, else the live one; None when nothing is live."""
    if user_id is not None and rollout.live is not None:
        for entry in rollout.in_stage(Stage.CANARY):
            if canary_bucket(entry.salt, user_id) < entry.share_bp:
                return entry.bundle
    return rollout.live
