"""What is cut out of an engagement is what reading it whole gives, and nothing that breaks a rule is cut."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.codec import HEADER_BYTES, encode
from schemas.errors import InvalidInput
from schemas.plain import NotPlain
from schemas.records.base import MAX_CLOCK_LEAD_MS
from schemas.records.feedback import Engagement, EngagementKind
from schemas.topics import ENGAGEMENTS
from schemas.wire.inbound import InboundRecord
from streams.candidates.engaged import Engaged, cut
from streams.candidates.intake import read_engagement
from streams.intake import read
from tests.samples import NOON_MS

WHOLE = Engagement("e-1", "u:7", "t:1", EngagementKind.UNRETWEET, NOON_MS, request_id="r-9", source_time_ms=NOON_MS - 9)

names = st.text(st.characters(max_codepoint=127), min_size=1, max_size=63) | st.text(max_size=70)
ids = st.builds("{}{}".format, st.sampled_from(["t:", "a:", "n:", "x:", ""]), names)
longs = st.integers(-(2**63), 2**63 - 1) | st.integers(NOON_MS - 70, NOON_MS + 2 * MAX_CLOCK_LEAD_MS)
requests, source_times = st.none() | names, st.none() | longs
engagements = st.builds(
    Engagement, names, names, ids, st.sampled_from(EngagementKind), longs, request_id=requests, source_time_ms=source_times
)


def record_of(value: bytes, key: str = WHOLE.candidate_id) -> InboundRecord:
    """Return a record that the broker appended at noon."""
    return InboundRecord(ENGAGEMENTS, 0, 0, NOON_MS, key.encode(), value)


def judged(record: InboundRecord) -> Engaged | None:
    """Return what the general reader makes of a record; None where it refuses it."""
    try:
        whole = read(Engagement, record, lambda message: message.candidate_id)
    except InvalidInput:
        return None
    return Engaged(whole.event_id, whole.candidate_id, whole.kind)


@pytest.mark.parametrize("kind", EngagementKind)
def test_an_engagement_as_it_is_written_now_is_cut(kind: EngagementKind) -> None:
    """A new version of the schema would be read whole, right but slower: whoever releases one extends the cut, too."""
    for one in (replace(WHOLE, kind=kind), replace(WHOLE, kind=kind, request_id=None, source_time_ms=None)):
        assert cut(record_of(encode(one))) == (one.event_id, one.candidate_id, kind)


@settings(max_examples=500, deadline=None)
@given(engagement=engagements)
def test_what_is_cut_is_what_reading_it_whole_gives(engagement: Engagement) -> None:
    """One that breaks a rule must be skipped here as the labeler dead-letters it, whichever way it is read."""
    record = record_of(encode(engagement), engagement.candidate_id)
    expected = judged(record)
    if expected is None:
        with pytest.raises(NotPlain):
            cut(record)
        with pytest.raises(InvalidInput):
            read_engagement(record)
    else:
        assert read_engagement(record) == expected


@settings(max_examples=600, deadline=None)
@given(place=st.integers(0, 10_000), bit=st.integers(0, 7), length=st.integers(0, 10_000))
def test_damaged_bytes_are_never_cut_into_what_the_general_reader_does_not_read(place: int, bit: int, length: int) -> None:
    """Speed must not decide what is valid: two readers with two opinions would be two states."""
    whole = bytearray(encode(WHOLE))
    whole[HEADER_BYTES + place % (len(whole) - HEADER_BYTES)] ^= 1 << bit
    for damaged in (bytes(whole), bytes(whole)[: length % len(whole)], bytes(whole) + b"\0"):
        try:
            found = cut(record_of(damaged))
        except NotPlain:
            continue
        assert found == judged(record_of(damaged))


REFUSED = {
    "another key": record_of(encode(WHOLE), "t:2"),
    "a null": record_of(b"")._replace(value=None),
    "no candidate's id": record_of(encode(replace(WHOLE, candidate_id="x:1")), "x:1"),
    "a prefix alone": record_of(encode(replace(WHOLE, candidate_id="t:")), "t:"),
    "no user": record_of(encode(replace(WHOLE, user_id=""))),
    "no event id": record_of(encode(replace(WHOLE, event_id=""))),
    "before 1970": record_of(encode(replace(WHOLE, event_time_ms=-1))),
    "far ahead": record_of(encode(replace(WHOLE, event_time_ms=NOON_MS + MAX_CLOCK_LEAD_MS + 1))),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_breaks_a_rule_is_left_to_the_reader_that_says_which(name: str) -> None:
    """A count that no rule allows would move a vector for ever."""
    with pytest.raises(NotPlain):
        cut(REFUSED[name])
    with pytest.raises(InvalidInput):
        read_engagement(REFUSED[name])


UNUSUAL = {
    "ids beyond ASCII": replace(WHOLE, candidate_id="t:ü", event_id="é", user_id="u:日本"),
    "an id whose length takes two bytes": replace(WHOLE, candidate_id="t:" + "9" * 62),
    "a time of the farthest lead": replace(WHOLE, event_time_ms=NOON_MS + MAX_CLOCK_LEAD_MS),
}


@pytest.mark.parametrize("name", UNUSUAL)
def test_what_is_unusual_counts_too(name: str) -> None:
    """It is rare; an engagement that breaks no rule may not be lost."""
    one = UNUSUAL[name]
    assert read_engagement(record_of(encode(one), one.candidate_id)) == (one.event_id, one.candidate_id, one.kind)
