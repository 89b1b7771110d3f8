"""A search of every topic for an id: which records mention it, why they are still there, and until when. Changes nothing."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Literal

from roost.erasure.bounds import Keeping
from roost.erasure.mention import Mention
from roost.erasure.reading import records_of
from roost.erasure.trace import Trace, last_end_ms
from schemas.codec import decode
from schemas.errors import InvalidInput
from schemas.records.users import UserState
from schemas.topics import LABELER_STATE, USER_STATES, embeddings_topic_name, standard_topics
from schemas.wire.admin import make_admin, partition_counts, topic_configs
from schemas.wire.inbound import InboundRecord
from streams.userstate.markers import KEPT_MS, is_marker

Why = Literal["retained", "replaced", "null", "marker", "join", "kept"]
_SENTENCES: dict[Why, str] = {
    "retained": "goes with its segment when the retention is over",
    "replaced": "a later record of its key replaces it: compaction removes it",
    "null": "the delete itself, which compaction removes last",
    "marker": "says only that the user was deleted, as long as older events may be redelivered",
    "join": "ends with its label window",
    "kept": "nothing ends it: delete the user, or take the author down",
}


@dataclass(frozen=True, slots=True)
class _Hit:
    """A record that mentions the id; `newest` is the last record of its key."""

    record: InboundRecord
    newest: InboundRecord


def topics_to_search(bootstrap: str) -> list[str]:
    """Return those of our topics that exist; raises `BrokerUnavailable` without a broker."""
    ours = {topic.name for topic in standard_topics()}
    prefix = embeddings_topic_name("")
    return sorted(name for name in partition_counts(make_admin(bootstrap)) if name in ours or name.startswith(prefix))


def search_topics(
    bootstrap: str, mention: Mention, topics: list[str], *, joins_end_ms: int, on_topic: Callable[[str], None]
) -> Iterator[Trace]:
    """Yield what topics hold, together by topic and reason.

    Args:
        joins_end_ms: how long the labeler keeps a join at most.
        on_topic: called with each topic before it is read.
    """
    configs = topic_configs(make_admin(bootstrap), topics)
    for topic in topics:
        on_topic(topic)
        keeping = Keeping.of(configs[topic])
        yield from _together(topic, _hits(bootstrap, topic, mention), keeping, partial(_until, joins_end_ms=joins_end_ms))


def _hits(bootstrap: str, topic: str, mention: Mention) -> list[_Hit]:
    hits: list[InboundRecord] = []
    # of the keys of hits alone: a topic holds millions of others
    newest: dict[tuple[int, bytes | None], InboundRecord] = {}
    for record in records_of(bootstrap, topic):
        place = (record.partition, record.key)
        found = mention.in_record(record.key) or mention.in_record(record.value)
        if found:
            hits.append(record)
        if found or place in newest:
            newest[place] = record
    return [_Hit(record, newest[record.partition, record.key]) for record in hits]


def _together(topic: str, hits: list[_Hit], keeping: Keeping, until: Callable[[Why, _Hit, Keeping], int | None]) -> Iterator[Trace]:
    groups: dict[Why, list[_Hit]] = {}
    for hit in hits:
        groups.setdefault(_why(hit, keeping), []).append(hit)
    for why, group in groups.items():
        last = max(group, key=lambda hit: hit.record.timestamp_ms).record
        yield Trace(
            place=topic,
            why=why,
            count=len(group),
            at=f"{last.topic}/{last.partition}/{last.offset}",
            until_ms=last_end_ms([until(why, hit, keeping) for hit in group]),
            sentence=_SENTENCES[why],
        )


def _why(hit: _Hit, keeping: Keeping) -> Why:
    if not keeping.compacts:
        return "retained"
    if hit.record.value is None:
        return "null"
    if hit.newest is not hit.record:
        return "replaced"
    if hit.record.topic == LABELER_STATE:
        return "join"
    if hit.record.topic == USER_STATES and _marks(hit.record.value):
        return "marker"
    return "kept" if keeping.retained_ms is None else "retained"


def _until(why: Why, hit: _Hit, keeping: Keeping, *, joins_end_ms: int) -> int | None:
    appended_ms = hit.record.timestamp_ms
    match why:
        case "retained" | "kept":
            after_ms = keeping.retained_ms
        case "null":
            after_ms = keeping.null_ms
        case "replaced":
            appended_ms, after_ms = hit.newest.timestamp_ms, keeping.cleaned_ms
        case "marker":
            after_ms = None if keeping.null_ms is None else KEPT_MS + keeping.null_ms
        case "join":
            after_ms = None if keeping.null_ms is None else joins_end_ms + keeping.null_ms
    return None if after_ms is None else appended_ms + after_ms


def _marks(value: bytes) -> bool:
    try:
        return is_marker(decode(UserState, value))
    except InvalidInput:
        return False
