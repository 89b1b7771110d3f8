"""Until when the broker may hold a record at the latest, from its topic's configuration in force. Pure.

The broker cleans only closed segments, and closes one only when a record comes after its time: the roles write one to every
partition of a topic that is only compacted at least each `schemas.topics.STIRRED_EVERY_MS`.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from schemas.topics import HOUR_MS, STIRRED_EVERY_MS

# the broker looks every few minutes, and deletes files a minute later
_BROKERS_PACE_MS = HOUR_MS
# what Kafka holds for "no limit"
_UNLIMITED_MS = 2**62


@dataclass(frozen=True, slots=True)
class Keeping:
    """How long a topic keeps what. Milliseconds; None means for ever.

    Attributes:
        compacts: of each key only the newest record stays in the end.
        retained_ms: any record, after its append.
        cleaned_ms: a value that a later record of its key replaces, after the append of that record.
        null_ms: a null itself, after its append.
    """

    compacts: bool
    retained_ms: int | None
    cleaned_ms: int | None
    null_ms: int | None

    @classmethod
    def of(cls, config: Mapping[str, str]) -> "Keeping":
        """Return what a topic's configuration in force comes to."""
        policy, retention_ms = config["cleanup.policy"], int(config["retention.ms"])
        lag_ms = int(config["max.compaction.lag.ms"])
        compacts = "compact" in policy
        closed_ms = min(int(config["segment.ms"]), lag_ms) if compacts else int(config["segment.ms"])
        retained_ms = retention_ms + closed_ms + _BROKERS_PACE_MS if "delete" in policy and retention_ms >= 0 else None
        # by -1, or by the largest number that there is
        if retained_ms is not None and retained_ms > _UNLIMITED_MS:
            retained_ms = None
        # retention closes a segment by itself; nobody writes to the silent partitions of these topics
        if retained_ms is not None or not compacts or lag_ms > _UNLIMITED_MS:
            return cls(compacts, retained_ms, retained_ms, retained_ms)
        round_ms = lag_ms + STIRRED_EVERY_MS + _BROKERS_PACE_MS
        # cleaned once, which begins its time; gone with the first round after that
        return cls(compacts, None, round_ms, round_ms + int(config["delete.retention.ms"]) + round_ms)
