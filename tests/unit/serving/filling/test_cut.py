"""What is cut out of a record is what reading it whole gives; whatever is unusual is left to the whole reading."""

import json
import struct
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter

from schemas.codec import HEADER_BYTES, decode_embedding, encode
from schemas.errors import InvalidInput
from schemas.plain import NotPlain
from schemas.records.candidates import DIMENSIONS, CandidateFeatures, Counters, Embedding, embedding_subject
from schemas.records.feedback import CandidateToken
from schemas.tokens import read_token
from schemas.writing import string_bytes
from serving.api import RetrievedCandidate
from serving.filling.cut import Cut, can_cut, cut
from serving.query.payload import candidates_json, payload_of_parts, row_payload
from tests.samples import BUNDLE, FEATURES, embedding

CANDIDATE_JSON = TypeAdapter(RetrievedCandidate)
DIM = 32
VECTOR = struct.pack(f"<{DIM}f", *range(DIM))
START = HEADER_BYTES + 4 * DIM
WHOLE = embedding(DIM)

# as long as a length of one byte can tell: ids, languages and topics of more are read whole
names = st.text(st.characters(exclude_categories=["Cs"]), max_size=12) | st.just("ü" * 31 + "x")
texts = names | st.just("ü" * 40)
longs = st.integers(-(2**62), 2**62 - 1) | st.integers(-70, 70)
counters = st.builds(Counters, *[longs] * 7)
features = st.builds(CandidateFeatures, names, names, names, st.lists(names, max_size=6).map(tuple), longs, counters)
embeddings = st.builds(Embedding, st.just(VECTOR), names, longs, longs, longs, longs, longs, text=texts, features=features)


def frame(of: Embedding) -> bytes:
    """Return the bytes on the topic."""
    return encode(of, subject=embedding_subject(DIM))


def as_read(data: bytes) -> Cut:
    """Return what reading the record whole gives."""
    whole = decode_embedding(DIM, data)
    assert whole.features is not None
    row = cut(data, START)
    return Cut(
        whole.candidate_id,
        *whole.version,
        whole.created_ms,
        whole.append_time_ms,
        whole.features.language,
        whole.features.author_id,
        whole.text.encode(),
        row.token_body,
    )


@pytest.mark.parametrize("dim", DIMENSIONS)
def test_the_schemas_that_are_written_now_can_be_cut(dim: int) -> None:
    """A new version would be read whole, right but slower: whoever releases one extends the cut, too."""
    assert can_cut(dim)


@settings(max_examples=150, deadline=None)
@given(whole=embeddings)
def test_what_is_cut_is_what_reading_it_whole_gives(whole: Embedding) -> None:
    """A field taken from the wrong place would be a wrong answer with a right score."""
    data = frame(whole)
    assert cut(data, START) == as_read(data)


@settings(max_examples=150, deadline=None)
@given(whole=embeddings.filter(lambda e: len(frame(e)) < 420))
def test_the_token_of_the_parts_is_the_token_of_the_whole(whole: Embedding) -> None:
    """The labeler reads it months later, in another release."""
    row = cut(frame(whole), START)
    token_body = string_bytes(BUNDLE) + row.token_body
    payload = payload_of_parts(row.candidate_id, token_body, row.language, row.author_id, row.created_ms, text=row.text)
    assert payload == row_payload(BUNDLE, whole)
    *_, third = json.loads(b"[%b]" % candidates_json([payload] * 3, [0.75, 0.5, 0.25], [0.0, 0.0, 1.5]))
    candidate = CANDIDATE_JSON.validate_python(third)
    token = read_token(CandidateToken, candidate.token)
    assert token is not None
    assert whole.features is not None
    assert (token.bundle, token.version, token.features) == (BUNDLE, whole.version, whole.features)
    assert candidate == RetrievedCandidate(
        whole.candidate_id,
        0.25,
        3,
        candidate.token,
        whole.features.language,
        whole.features.author_id,
        whole.created_ms,
        1.5,
        whole.text,
    )


@settings(max_examples=300, deadline=None)
@given(place=st.integers(0, 10_000), bit=st.integers(0, 7), length=st.integers(0, 10_000))
def test_damaged_bytes_are_never_cut_into_another_row_than_they_are_read_as(place: int, bit: int, length: int) -> None:
    """Speed must not cost the alarm: what cannot be read whole is refused."""
    data = bytearray(frame(WHOLE))
    data[START + place % (len(data) - START)] ^= 1 << bit
    for damaged in (bytes(data), bytes(data)[: START + length % (len(data) - START)], bytes(data) + b"\0"):
        try:
            row = cut(damaged, START)
        except NotPlain:
            continue
        try:
            assert row == as_read(damaged)
        except InvalidInput:
            pytest.fail("cut what cannot be read")


@pytest.mark.parametrize("unusual", ["delete", "no features", "a long of ten bytes", "a long language"])
def test_what_is_unusual_is_left_to_the_whole_reading(unusual: str) -> None:
    """It is rare, and has a sentence of its own there."""
    record = {
        "delete": embedding(DIM, deleted=True),
        "no features": replace(WHOLE, features=None),
        "a long of ten bytes": replace(WHOLE, sequence=2**63 - 1),
        "a long language": replace(WHOLE, features=replace(FEATURES, language="ü" * 40)),
    }[unusual]
    with pytest.raises(NotPlain):
        cut(frame(record), START)
    assert decode_embedding(DIM, frame(record)) == record
