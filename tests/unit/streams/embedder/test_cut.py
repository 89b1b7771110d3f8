"""What is cut out of a candidate's record is what reading it whole and writing the embedding gives, byte for byte."""

from dataclasses import fields, replace
from operator import attrgetter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.codec import HEADER_BYTES, decode, encode, frame_head
from schemas.errors import InvalidInput
from schemas.plain import NotPlain
from schemas.records.candidates import (
    DIMENSIONS,
    Candidate,
    CandidateAttributes,
    CandidateFeatures,
    Counters,
    Embedding,
    embedding_subject,
)
from schemas.writing import long_bytes
from streams.embedder.cut import SOURCES, Cut, cut, cut_or_read
from tests.samples import ATTRIBUTES, NOON_MS

WHOLE = Candidate(
    "t:1", NOON_MS, 3, NOON_MS + 5, attributes=ATTRIBUTES, counters=Counters(7, 3, 1, 250, 0, 2, 1), source={"tweets": 70}
)
NOW_MS = 1_735_732_800_123

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=12) | st.just("ü" * 40)
longs = st.integers(-(2**63), 2**63 - 1) | st.integers(-70, 70)
attributes = st.builds(
    CandidateAttributes,
    texts,
    longs,
    texts,
    texts,
    st.lists(texts, max_size=7).map(tuple),
    texts | st.text("ä\0", min_size=60, max_size=300),
    longs,
    st.none() | longs,
)
candidates = st.builds(
    Candidate,
    texts,
    longs,
    longs,
    longs,
    attributes=attributes,
    counters=st.builds(Counters, *[longs] * 7),
    source=st.dictionaries(st.sampled_from(["tweets", "accounts", "articles", "engagements", "a-topic-of-another-release"]), longs),
)


def embedded(candidate: Candidate, dim: int) -> bytes:
    """Return the embedding record that is written value by value."""
    assert candidate.attributes is not None
    embedding = Embedding(
        b"\x01" * 4 * dim,
        candidate.candidate_id,
        *candidate.version,
        candidate.attributes.created_ms,
        candidate.append_time_ms,
        NOW_MS,
        text=candidate.attributes.text,
        features=candidate.features(),
    )
    return encode(embedding, subject=embedding_subject(dim))


def put_together(found: Cut, dim: int) -> bytes:
    """Return the embedding record made of what was cut."""
    return frame_head(embedding_subject(dim)) + b"\x01" * 4 * dim + found.body + long_bytes(NOW_MS)


def check(found: Cut, candidate: Candidate, dim: int = DIMENSIONS[0]) -> None:
    """Compare what was cut with the candidate."""
    assert candidate.attributes is not None
    assert found[:2] == (candidate.candidate_id.encode(), candidate.attributes.created_ms)
    assert found.values == attrgetter(*SOURCES)(candidate.features())
    assert put_together(found, dim) == embedded(candidate, dim)


@pytest.mark.parametrize("dim", DIMENSIONS)
def test_a_candidate_as_it_is_written_now_is_cut(dim: int) -> None:
    """A new version of a schema would be read whole, right but slower: whoever releases one extends the cut, too."""
    for counters in (Counters(), Counters(favorite=-1, click=300)):
        candidate = replace(WHOLE, counters=counters)
        check(cut(encode(candidate)), candidate, dim)


@settings(max_examples=300, deadline=None)
@given(candidate=candidates)
def test_what_is_cut_is_what_reading_it_whole_gives(candidate: Candidate) -> None:
    """A value taken from the wrong place would be a wrong vector under a right name."""
    found = cut_or_read(encode(candidate))
    assert isinstance(found, Cut)
    check(found, candidate)


@settings(max_examples=600, deadline=None)
@given(place=st.integers(0, 10_000), bit=st.integers(0, 7), length=st.integers(0, 10_000))
def test_damaged_bytes_are_never_cut_into_another_embedding_than_they_are_read_as(place: int, bit: int, length: int) -> None:
    """Speed must not decide what is valid: two readers with two opinions would be two states."""
    whole = bytearray(encode(WHOLE))
    whole[HEADER_BYTES + place % (len(whole) - HEADER_BYTES)] ^= 1 << bit
    for damaged in (bytes(whole), bytes(whole)[: length % len(whole)], bytes(whole) + b"\0"):
        try:
            found = cut(damaged)
        except NotPlain:
            continue
        try:
            check(found, decode(Candidate, damaged))
        except InvalidInput:
            pytest.fail("cut what cannot be read")


UNUSUAL = {
    "a long of ten bytes": replace(WHOLE, sequence=2**63 - 1),
    "an id whose length takes two bytes": replace(WHOLE, candidate_id="t:" + "9" * 62),
    "more topics than may be published": replace(WHOLE, attributes=replace(ATTRIBUTES, topics=tuple("abcdefg"))),
    "a topic of another release's": replace(WHOLE, source={"ünknown": 3}),
}


@pytest.mark.parametrize("unusual", UNUSUAL)
def test_what_is_unusual_is_read_whole_and_embedded_alike(unusual: str) -> None:
    """It is rare; nothing that can be read may go without its vector."""
    with pytest.raises(NotPlain):
        cut(encode(UNUSUAL[unusual]))
    found = cut_or_read(encode(UNUSUAL[unusual]))
    assert isinstance(found, Cut)
    check(found, UNUSUAL[unusual])


def test_another_writers_schema_and_longs_of_more_bytes_than_needed_are_read_whole() -> None:
    """Copied as they lie, they would be other bytes than this build writes."""
    state = encode(WHOLE)
    version = long_bytes(WHOLE.event_time_ms) + long_bytes(WHOLE.sequence)
    padded = version[:-1] + bytes([version[-1] | 128, 0])
    assert state.count(version) == 1
    for odd in (b"\0\x7f\xff\xff\xff" + state[HEADER_BYTES:], state.replace(version, padded)):
        with pytest.raises(NotPlain):
            cut(odd)
    found = cut_or_read(state.replace(version, padded))
    assert isinstance(found, Cut)
    check(found, WHOLE)


def test_all_that_a_feature_spec_may_name_is_cut() -> None:
    """A bundle whose towers read one more would be loaded, and then stop the embedder."""
    flat = {field.name for field in fields(CandidateFeatures)} - {"counters"}
    assert set(SOURCES) == flat | {f"counters.{field.name}" for field in fields(Counters)}


def test_a_delete_and_a_stub_are_read_whole() -> None:
    """Neither has a vector; the delete has a record of its own."""
    for candidate in (replace(WHOLE, deleted=True), replace(WHOLE, deleted=True, attributes=None), replace(WHOLE, attributes=None)):
        assert cut_or_read(encode(candidate)) == candidate


def test_bad_bytes_are_refused_by_the_one_judge_of_them() -> None:
    """Its sentence is what the operator reads."""
    with pytest.raises(InvalidInput, match="1 bytes left over"):
        cut_or_read(encode(WHOLE) + b"\0")
