"""The compiled writer: byte for byte what a general Avro writer writes, and as strict about what does not fit."""

import io
from dataclasses import replace
from typing import Any

import fastavro
import pytest
from fastavro.schema import parse_schema

from schemas.codec import HEADER_BYTES, decode, encode, schema_json, subjects, writer_version
from schemas.records.base import Message
from schemas.records.candidates import Tweet
from schemas.records.feedback import Engagement
from schemas.writing import compile_writer
from tests.samples import BARE, FILLED, embedding

TWEET = decode(Tweet, encode(FILLED["tweet"]))
ENGAGEMENT = decode(Engagement, encode(FILLED["engagement"]))


def by_fastavro(subject: str, message: Message) -> bytes:
    """Return the body that the general writer makes of the record's mapping."""
    buffer = io.BytesIO()
    fastavro.schemaless_writer(buffer, parse_schema(schema_json(subject, writer_version(subject))), message.to_avro())
    return buffer.getvalue()


@pytest.mark.parametrize("subject", subjects())
def test_every_record_is_written_as_the_general_writer_writes_it(subject: str) -> None:
    """Any other Avro reader must read us, and a compare of bytes must not depend on who wrote them."""
    for message in (FILLED[subject], BARE[subject]):
        assert encode(message, subject=subject)[HEADER_BYTES:] == by_fastavro(subject, message)


@pytest.mark.parametrize("number", [0, -1, 63, 64, -64, -65, 8191, 8192, 2**31, -(2**31), 2**63 - 1, -(2**63)])
def test_every_long_is_written_as_the_general_writer_writes_it(number: int) -> None:
    """Small ones come from a table, large ones are computed: both ends of both."""
    tweet = replace(TWEET, sequence=number)
    assert encode(tweet)[HEADER_BYTES:] == by_fastavro("tweet", tweet)


MISFITS: dict[str, dict[str, Any]] = {
    "a number where text belongs": {"text": 5},
    "nothing where text belongs": {"author_id": None},
    "half a surrogate pair": {"text": "\ud800"},
    "text where a number belongs": {"author_followers": "many"},
    "a fraction where a number belongs": {"author_followers": 1.5},
    "not a number": {"author_followers": float("nan")},
    "65 bits": {"sequence": 2**63},
    "a number where a list belongs": {"topics": 5},
}


@pytest.mark.parametrize("misfit", MISFITS)
def test_a_value_that_does_not_fit_is_refused(misfit: str) -> None:
    """It would be read back as something else, by everybody, for ever."""
    with pytest.raises((TypeError, ValueError, AttributeError, OverflowError)):
        encode(replace(TWEET, **MISFITS[misfit]))


def test_a_vector_of_another_length_and_an_unknown_kind_are_refused() -> None:
    """A fixed has no length in the bytes: a short one would swallow what follows."""
    with pytest.raises(ValueError, match="128 bytes where 256 belong"):
        encode(embedding(32), subject="embedding-d64")
    with pytest.raises(ValueError, match="'applause' is not one of"):
        encode(replace(ENGAGEMENT, kind="applause"))  # type: ignore[arg-type]


def test_a_schema_of_a_shape_no_record_has_is_refused_when_it_is_compiled() -> None:
    """Not when the first record comes, and never by writing something near it."""
    for shape in (
        ["null", "long", "string"],
        "float",
        {"type": "record", "name": "One", "fields": [{"name": "a", "type": "long"}]},
    ):
        with pytest.raises(ValueError, match=r"no writer|a record of 1 fields"):
            compile_writer({"type": "record", "name": "R", "fields": [{"name": "a", "type": shape}, {"name": "b", "type": "long"}]})


def test_equal_records_are_equal_bytes() -> None:
    """The state store compares bytes to see that nothing changed."""
    assert encode(TWEET) == encode(replace(TWEET, topics=tuple(TWEET.topics)))
