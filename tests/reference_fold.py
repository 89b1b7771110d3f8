"""The reference fold: what the logs say, read once from beginning to end, with no crash, cache or checkpoint. Holds no test."""

from collections.abc import Iterable
from dataclasses import replace

from schemas.errors import InvalidInput
from schemas.records.candidates import Candidate
from schemas.records.feedback import counter_step
from schemas.wire.inbound import InboundRecord
from streams.candidates import fold
from streams.candidates.intake import read_engagement, read_publication

_WINDOW_MINUTES = 10


def reference_fold(
    tweets: Iterable[InboundRecord], engagements: Iterable[InboundRecord], *, partitions: int = 4
) -> dict[str, Candidate]:
    """Return every candidate that the two logs give: all tweets first, then all engagements; invalid records are passed over."""
    state: dict[str, Candidate] = {}
    for record in tweets:
        try:
            candidate_id, tweet = read_publication(record, partitions=partitions)
        except InvalidInput:
            continue
        known = state.get(candidate_id)
        if tweet is None:
            state[candidate_id] = fold.with_tombstone(known, candidate_id, append_time_ms=record.timestamp_ms)
        elif (after := fold.with_publication(known, tweet, append_time_ms=record.timestamp_ms)) is not None:
            state[candidate_id] = after
    appended: dict[tuple[int, str], int] = {}
    for record in engagements:
        try:
            engagement = read_engagement(record)
        except InvalidInput:
            continue
        place, minute = (record.partition, engagement.event_id), record.timestamp_ms // 60_000
        repeated = place in appended and minute - appended[place] <= _WINDOW_MINUTES
        appended[place] = minute
        if repeated:
            continue
        step = counter_step(engagement.kind)
        if step is None:
            continue
        name, by = step
        stub = Candidate(engagement.candidate_id, -1, -1, record.timestamp_ms)
        known = state.get(engagement.candidate_id, stub)
        state[engagement.candidate_id] = replace(
            known,
            counters=replace(known.counters, **{name: getattr(known.counters, name) + by}),
            append_time_ms=max(known.append_time_ms, record.timestamp_ms),
        )
    return state


def comparable(candidate: Candidate) -> tuple[object, ...]:
    """Return what must be equal whenever a candidate was folded and written: all but how far its inputs were read by then."""
    return (
        candidate.candidate_id,
        candidate.version,
        candidate.deleted,
        candidate.attributes,
        candidate.counters,
        candidate.append_time_ms,
    )
