"""Cuts what the fold needs of an engagement out of its record, in a third of the time of reading it whole. Judges no record."""

import re
from typing import NamedTuple

from schemas.codec import HEADER_BYTES, frame_head
from schemas.ids import KINDS
from schemas.plain import ASCII_NAME, ASCII_TEXT, LONG, NotPlain, group, long_of, optional
from schemas.records.base import MAX_CLOCK_LEAD_MS
from schemas.records.feedback import Engagement, EngagementKind
from schemas.wire.inbound import InboundRecord

_RECORD = re.compile(
    # the event, the request and the user
    group(ASCII_NAME)
    + optional(ASCII_TEXT)
    + ASCII_NAME
    # the candidate, what was done with it, and when
    + group(ASCII_NAME)
    + group(b".")
    + group(LONG)
    # the time in the recorded data
    + optional(LONG),
    re.DOTALL,
)
# in Avro a symbol is its place, as a long
_KIND_OF: dict[bytes, EngagementKind] = {bytes([2 * place]): kind for place, kind in enumerate(EngagementKind)}


class Engaged(NamedTuple):
    """What of an engagement moves a candidate."""

    event_id: str
    candidate_id: str
    kind: EngagementKind


def cut(record: InboundRecord) -> Engaged:
    """Return what is told by a record that breaks no rule of the contracts, as `streams.intake.read` would judge it.

    Raises:
        NotPlain: a rule is broken, another release's schema, an odd encoding, or bytes that are no record.
    """
    value = record.value
    if value is None or value[:HEADER_BYTES] != frame_head(Engagement.SUBJECT):
        raise NotPlain("another schema")
    found = _RECORD.fullmatch(value, HEADER_BYTES)
    if found is None:
        raise NotPlain("not an engagement of the plain form")
    event_id, candidate_id, kind, time = found.groups()
    name = candidate_id[1:]
    known = _KIND_OF.get(kind)
    if known is None or name != record.key or not 0 <= long_of(time) <= record.timestamp_ms + MAX_CLOCK_LEAD_MS:
        raise NotPlain("an engagement that may break a rule")
    text = name.decode()
    if len(text) < 3 or text[:2] not in KINDS:
        raise NotPlain("a candidate of no kind")
    return Engaged(event_id[1:].decode(), text, known)
