"""A search of every topic for an id: which records mention it, why they are still there, and until when. Changes nothing."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Literal

from roost.erasure.bounds import Keeping
from roost.erasure.mention import Mention
from roost.erasure.reading import records_of
from roost.erasure.trace import Trace, last_end_ms
from schemas.codec import decode, decode_mapping, subject_of
from schemas.errors import InvalidInput
from schemas.progress import OnProgress, untold
from schemas.records.candidates import Candidate
from schemas.records.users import UserState
from schemas.surfaces import Surfaces
from schemas.topics import CANDIDATES, LABELER_STATE, USER_STATES, deletes_kept_ms, embeddings_topic_name, standard_topics
from schemas.wire.admin import make_admin, partition_counts, topic_configs
from schemas.wire.inbound import InboundRecord
from streams.candidates.partition import STUBS_KEPT_MS
from streams.labeler.processor import joins_end_ms
from streams.userstate.markers import KEPT_MS, is_marker

Why = Literal["retained", "replaced", "null", "marker", "delete", "stub", "join", "kept"]
_SENTENCES: dict[Why, str] = {
    "retained": "goes with its segment when the retention is over",
    "replaced": "a later record of its key replaces it: compaction removes it",
    "null": "the delete itself, which compaction removes last",
    "marker": "says only that the user was deleted, as long as older events may be redelivered",
    "delete": "the delete itself, which the embedder remembers as long as an older record may come, then writes a null",
    "stub": "engaged with, and never published: ends a day after the last engagement",
    "join": "ends with its label window",
    "kept": "nothing ends it by itself: it stands in what is not erased, of this id or of somebody who wrote of it",
}

_EMBEDDINGS = embeddings_topic_name("")


@dataclass(frozen=True, slots=True)
class _Hit:
    """A record that mentions the id; `newest` is the last record of its key."""

    record: InboundRecord
    newest: InboundRecord


def topics_to_search(bootstrap: str) -> dict[str, int]:
    """Return how many partitions each of our topics has that exists, by name; raises `BrokerUnavailable` without a broker."""
    ours = {topic.name for topic in standard_topics()}
    counts = sorted(partition_counts(make_admin(bootstrap)).items())
    return {name: count for name, count in counts if name in ours or name.startswith(_EMBEDDINGS)}


def search_topics(
    bootstrap: str, mention: Mention, topics: Mapping[str, int], *, surfaces: Surfaces, on_progress: OnProgress = untold
) -> Iterator[Trace]:
    """Yield what topics hold, together by topic and reason.

    Args:
        topics: how many partitions each has: asked topic by topic, that was two fifths of a search of short topics.
        surfaces: their windows bound how long the labeler keeps a join, and the embedder a delete.
        on_progress: as of `TailReader.to_end`.
    """
    configs = topic_configs(make_admin(bootstrap), topics)
    until = partial(_until, kept_ms=_kept_ms(surfaces))
    for topic, partitions in topics.items():
        hits = _hits(bootstrap, topic, partitions, mention, on_progress)
        yield from _together(topic, hits, Keeping.of(configs[topic]), until)


def _hits(bootstrap: str, topic: str, partitions: int, mention: Mention, on_progress: OnProgress) -> list[_Hit]:
    hits: list[InboundRecord] = []
    # of the keys of hits alone: a topic holds millions of others
    newest: dict[tuple[int, bytes | None], InboundRecord] = {}
    for record in records_of(bootstrap, topic, partitions=range(partitions), on_progress=on_progress):
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
    return (_role(hit.record, hit.record.value) or "kept") if keeping.retained_ms is None else "retained"


def _role(record: InboundRecord, value: bytes) -> Why | None:
    """Return as what a record stands that a role ends by a null in its time; None where none does."""
    try:
        if record.topic == USER_STATES:
            return "marker" if is_marker(decode(UserState, value)) else None
        if record.topic == CANDIDATES:
            candidate = decode(Candidate, value)
            return "delete" if candidate.deleted else "stub" if candidate.is_stub else None
        if record.topic.startswith(_EMBEDDINGS) and (subject := subject_of(value)) is not None:
            return "delete" if decode_mapping(subject, value)["deleted"] else None
    except InvalidInput:
        return None
    return None


def _kept_ms(surfaces: Surfaces) -> dict[Why, int]:
    """Return how long after its append a role writes the null of a record, by its reason."""
    return {
        "marker": KEPT_MS,
        "delete": deletes_kept_ms(surfaces.values()),
        "stub": STUBS_KEPT_MS,
        "join": joins_end_ms(surfaces),
    }


def _until(why: Why, hit: _Hit, keeping: Keeping, *, kept_ms: Mapping[Why, int]) -> int | None:
    appended_ms = hit.record.timestamp_ms
    match why:
        case "retained" | "kept":
            after_ms = keeping.retained_ms
        case "null":
            after_ms = keeping.null_ms
        case "replaced":
            appended_ms, after_ms = hit.newest.timestamp_ms, keeping.cleaned_ms
        case _:
            after_ms = None if keeping.null_ms is None else kept_ms[why] + keeping.null_ms
    return None if after_ms is None else appended_ms + after_ms
