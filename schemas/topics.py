"""The topics: names, keys, partition counts and configurations. Creates nothing; see `schemas.wire.admin`."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from schemas.records.candidates import Account, Article, Publication, Tweet
from schemas.surfaces import Surface

DEFAULT_PARTITIONS = 4
HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
STIRRED_EVERY_MS = 12 * HOUR_MS
"""How often the roles write to every partition of what is only compacted: on a silent one the broker cleans nothing."""
STIR_KEY = b"@stir"
"""The key of the nulls they write: nobody's id, passed over by every reader."""
INPUTS_KEPT_MS = 30 * DAY_MS
"""How long the broker keeps impressions and engagements, whose redelivery a deleted user's marker must outlive."""
PUBLICATIONS_KEPT_MS = 7 * DAY_MS
"""How long the broker keeps tweets, accounts and articles, whose redelivery a deleted candidate's marker must outlive."""
CHANGELOG_SEGMENT_BYTES = 8 * 1024 * 1024
"""How much of a changelog the broker leaves uncleaned at most, beside as much again as is live: a restart reads all of it."""
# a dead letter holds a whole record, up to the broker's limit of 1 MiB, and its envelope
MAX_DEAD_LETTER_BYTES = 2 * 1024 * 1024

TWEETS = "tweets"
ACCOUNTS = "accounts"
ARTICLES = "articles"
PUBLICATIONS: Mapping[str, type[Publication]] = {TWEETS: Tweet, ACCOUNTS: Account, ARTICLES: Article}
"""The candidate topics, and the record that each holds."""
USERS = "users"
IMPRESSIONS = "impressions"
ENGAGEMENTS = "engagements"
CANDIDATES = "candidates"
USER_EVENTS = "user-events"
USER_STATES = "user-states"
EXAMPLES = "examples"
LABELER_STATE = "labeler-state"
ROLLOUT_COMMANDS = "rollout-commands"
ROLLOUTS = "rollouts"
NODE_STATUS = "node-status"

# topics whose reader owns a dead-letter topic
_DEAD_LETTERED = (*PUBLICATIONS, USERS, IMPRESSIONS, ENGAGEMENTS, USER_EVENTS, ROLLOUT_COMMANDS)

Key = Literal["candidate", "user", "surface", "node", "record", "join"]


@dataclass(frozen=True, slots=True)
class Topic:
    """A topic as it must exist: every topic is created by `roost`, never by a client's first use."""

    name: str
    key: Key
    partitions: int
    config: dict[str, str] = field(default_factory=dict)


def _topic(name: str, key: Key, partitions: int, cleanup: str, retention_ms: int, **config: int) -> Topic:
    return Topic(
        name,
        key,
        partitions,
        {
            # event time lives only in the record: old data can be replayed, and no clock makes the broker drop a record
            "message.timestamp.type": "LogAppendTime",
            "cleanup.policy": cleanup,
            "retention.ms": str(retention_ms),
            # a snapshot younger than this cannot have missed a delete
            **({"delete.retention.ms": str(DAY_MS)} if "compact" in cleanup else {}),
            **{name.replace("_", "."): str(value) for name, value in config.items()},
        },
    )


def dlq(topic: str) -> str:
    """Return the name of a topic's dead-letter topic."""
    return f"{topic}.dlq"


def standard_topics(partitions: int = DEFAULT_PARTITIONS) -> tuple[Topic, ...]:
    """Return every topic that exists whatever bundles there are.

    Args:
        partitions: of all topics keyed by candidate or by user: partition p of one holds the ids of partition p of all.
    """
    forever = -1
    # what names a person leaves within a day of its time: the broker drops whole closed segments, cleans no open one, and would by
    # its own rules keep an old value until half of the log is such
    daily: dict[str, int] = {"segment_ms": DAY_MS}
    cleaned: dict[str, int] = {"max_compaction_lag_ms": DAY_MS}
    changelog: dict[str, int] = {**cleaned, "segment_bytes": CHANGELOG_SEGMENT_BYTES}
    return (
        *(_topic(name, "candidate", partitions, "compact,delete", PUBLICATIONS_KEPT_MS, **cleaned) for name in PUBLICATIONS),
        _topic(USERS, "user", partitions, "compact", forever, **cleaned),
        _topic(IMPRESSIONS, "candidate", partitions, "delete", INPUTS_KEPT_MS, **daily),
        _topic(ENGAGEMENTS, "candidate", partitions, "delete", INPUTS_KEPT_MS, **daily),
        _topic(CANDIDATES, "candidate", partitions, "compact", forever, **changelog),
        _topic(USER_EVENTS, "user", partitions, "delete", 7 * DAY_MS, **daily),
        _topic(USER_STATES, "user", partitions, "compact", forever, **changelog),
        _topic(EXAMPLES, "user", partitions, "delete", 30 * DAY_MS, **daily),
        # partition p holds the joins of partition p of impressions and engagements, whatever the key hashes to
        _topic(LABELER_STATE, "join", partitions, "compact", forever, **changelog),
        _topic(ROLLOUT_COMMANDS, "surface", 1, "delete", forever),
        _topic(ROLLOUTS, "surface", 1, "delete", forever),
        _topic(NODE_STATUS, "node", 1, "compact", forever),
        *(
            _topic(dlq(name), "record", 1, "compact,delete", 30 * DAY_MS, max_message_bytes=MAX_DEAD_LETTER_BYTES, **daily)
            for name in _DEAD_LETTERED
        ),
    )


def deletes_kept_ms(surfaces: Iterable[Surface]) -> int:
    """Return how long the delete of a candidate of these surfaces is remembered: as long as an older record of it may come."""
    longest_s = max((surface.recency_window_s for surface in surfaces), default=0.0)
    return max(PUBLICATIONS_KEPT_MS, int(longest_s * 1000))


def embeddings_topic_name(bundle_id: str) -> str:
    """Return the name of the topic that holds a bundle's embeddings."""
    return f"embeddings.{bundle_id}"


def embeddings_topic(bundle_id: str, surface: Surface, partitions: int = DEFAULT_PARTITIONS) -> Topic:
    """Return the embeddings topic of a bundle: kept for the surface's recency window and 2 h, or compacted only without one."""
    name = embeddings_topic_name(bundle_id)
    if surface.recency_window_s == 0:
        return _topic(name, "candidate", partitions, "compact", -1, max_compaction_lag_ms=DAY_MS)
    retention_ms = int(surface.recency_window_s * 1000) + 2 * HOUR_MS
    # the broker drops whole closed segments only: with its own week a segment, a window of two days would be kept for nine
    return _topic(name, "candidate", partitions, "compact,delete", retention_ms, segment_ms=max(retention_ms // 8, HOUR_MS))
