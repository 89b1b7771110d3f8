"""The compiled reader: what it reads, the general reader reads alike; what it does not know, it leaves to that one."""

from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from schemas.codec import HEADER_BYTES, decode, decode_mapping, encode, schema_json, writer_version
from schemas.errors import UndecodableRecord
from schemas.plain import NotPlain
from schemas.reading import compile_reader
from schemas.records.base import Message
from schemas.records.candidates import Embedding, Tweet
from schemas.records.feedback import Engagement
from tests.samples import BARE, FILLED

TYPED = {subject: type(message) for subject, message in FILLED.items() if not isinstance(message, Embedding)}
READERS = {subject: compile_reader(schema_json(subject, writer_version(subject)), of) for subject, of in TYPED.items()}


def read_in_general(subject: str, data: bytes) -> Message:
    """Return what the general reader, and the mapping it makes, come to."""
    return TYPED[subject].from_avro(decode_mapping(subject, data))


@pytest.mark.parametrize("subject", TYPED)
def test_every_record_has_a_compiled_reader(subject: str) -> None:
    """A field that it could not follow would stop the process at its first record, not here."""
    for message in (FILLED[subject], BARE[subject]):
        data = encode(message)
        assert READERS[subject](data, HEADER_BYTES) == message == read_in_general(subject, data)


@settings(max_examples=400, deadline=None)
@given(subject=st.sampled_from(sorted(TYPED)), place=st.integers(0, 10_000), bit=st.integers(0, 7), length=st.integers(0, 10_000))
@example(subject="engagement", place=0, bit=0, length=0)
def test_damaged_bytes_are_never_read_as_another_record(subject: str, place: int, bit: int, length: int) -> None:
    """Speed must not decide what is valid: two readers with two opinions would be two states."""
    whole = bytearray(encode(FILLED[subject]))
    whole[HEADER_BYTES + place % (len(whole) - HEADER_BYTES)] ^= 1 << bit
    for data in (bytes(whole), bytes(whole)[: HEADER_BYTES + length % (len(whole) - HEADER_BYTES)], bytes(whole) + b"\0"):
        try:
            record = READERS[subject](data, HEADER_BYTES)
        except NotPlain:
            continue
        assert record == read_in_general(subject, data)


@settings(max_examples=200, deadline=None)
@given(subject=st.sampled_from(sorted(TYPED)), body=st.binary(max_size=60))
@example(subject="tweet", body=b"\x01" * 20)
def test_any_bytes_are_read_as_in_general_or_left_to_it(subject: str, body: bytes) -> None:
    """A negative length must not walk backwards through the record."""
    data = encode(FILLED[subject])[:HEADER_BYTES] + body
    try:
        record = READERS[subject](data, HEADER_BYTES)
    except NotPlain:
        return
    assert record == read_in_general(subject, data)


def in_blocks(tweet: Tweet) -> bytes:
    """Return a tweet's frame with its two topics in two blocks, the first with its size in bytes: well, but not as we write it."""
    data = encode(tweet)
    one, two = (bytes([2 * len(topic.encode())]) + topic.encode() for topic in tweet.topics)
    plain = b"\x04" + one + two + b"\0"
    assert plain in data
    return data.replace(plain, b"\x01" + bytes([2 * len(one)]) + one + b"\x02" + two + b"\0")


def test_an_array_in_blocks_and_a_long_of_ten_bytes_are_read_all_the_same() -> None:
    """Other writers' Avro is Avro."""
    tweet = FILLED["tweet"]
    assert isinstance(tweet, Tweet)
    blocks = in_blocks(tweet)
    with pytest.raises(NotPlain):
        READERS["tweet"](blocks, HEADER_BYTES)
    assert decode(Tweet, blocks) == tweet
    largest = Tweet("t:1", 1, 2**63 - 1, "a", 1)
    assert decode(Tweet, encode(largest)) == largest


def test_bad_bytes_are_refused_by_the_one_judge_of_them() -> None:
    """Its sentence is what the dead letter says."""
    data = encode(FILLED["engagement"])
    with pytest.raises(UndecodableRecord, match="1 bytes left over"):
        decode(Engagement, data + b"\0")


def test_a_record_that_is_not_the_schemas_is_refused_when_it_is_compiled() -> None:
    """Not when the first record comes."""
    with pytest.raises(ValueError, match="has not the fields of"):
        compile_reader(schema_json("tweet", 1), Engagement)
    schema: dict[str, Any] = schema_json("engagement", 1)
    changed = {**schema, "fields": [{**field, "type": "float"} for field in schema["fields"]]}
    with pytest.raises(ValueError, match="no reader for float"):
        compile_reader(changed, Engagement)
