"""Frames that are not what they claim, schemas of other releases and of a registry."""

import copy
import io
import json
import struct
from collections.abc import Callable, Iterator
from typing import Any

import fastavro
import pytest

from schemas import codec
from schemas.codec import HEADER_BYTES, decode, decode_embedding, decode_mapping, encode, frame_id, local_id, schema_json
from schemas.errors import RegistryUnavailable, UndecodableRecord, UnknownSchema
from schemas.records.candidates import Tweet
from schemas.records.feedback import Engagement
from tests.samples import FILLED, embedding

FRAME = encode(FILLED["tweet"])


def framed(schema_id: int, body: bytes) -> bytes:
    """Return a frame with any id and any body."""
    return struct.pack(">bI", 0, schema_id) + body


def varint(value: int) -> bytes:
    """Return an Avro long."""
    value = ((value << 1) ^ (value >> 63)) & (2**64 - 1)
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])


@pytest.mark.parametrize(
    "data", [b"", b"\0", FRAME[:4], b"\1" + FRAME[1:], b"null", b"{}", b'{"candidate_id": "t:1"}', b"\xff" * 64]
)
def test_bytes_without_a_frame_are_undecodable(data: bytes) -> None:
    """JSON or plain text on a topic is the commonest mistake of a new producer."""
    with pytest.raises(UndecodableRecord, match="Confluent-framed"):
        decode(Tweet, data)


def test_a_frame_cut_anywhere_is_undecodable() -> None:
    """Half a record must never be read as a whole one."""
    for length in range(len(FRAME)):
        with pytest.raises(UndecodableRecord):
            decode(Tweet, FRAME[:length])


def test_bytes_left_over_are_undecodable() -> None:
    """They mean that the writer used another schema than the one it names."""
    with pytest.raises(UndecodableRecord, match="1 bytes left over"):
        decode(Tweet, FRAME + b"\0")


def test_invalid_utf8_is_undecodable() -> None:
    """Replacement characters would silently make another id."""
    with pytest.raises(UndecodableRecord, match="UnicodeDecodeError"):
        decode(Tweet, FRAME[:HEADER_BYTES] + varint(3) + b"\xff\xfe\xfd" + FRAME[HEADER_BYTES + 4 :])


@pytest.mark.parametrize("length", [2**31, 2**40, 2**62, -1, -(2**62), -(2**63)])
def test_a_lying_length_neither_hangs_nor_allocates(length: int) -> None:
    """One record of twelve bytes must not take a node's memory."""
    with pytest.raises(UndecodableRecord):
        decode(Tweet, FRAME[:HEADER_BYTES] + varint(length) + b"t:1")


def test_a_record_of_another_subject_is_undecodable() -> None:
    """Two subjects can be bytes-compatible by accident: the id tells them apart."""
    with pytest.raises(UndecodableRecord, match="holds a tweet record where a engagement record belongs"):
        decode(Engagement, FRAME)
    with pytest.raises(UndecodableRecord, match="embedding-d64"):
        decode_embedding(32, encode(embedding(64), subject="embedding-d64"))


def test_an_unknown_local_id_says_what_to_do() -> None:
    """It comes from a newer release; the entry in the dead-letter topic can be replayed after the upgrade."""
    for unknown in (0x40000000, 0x7FFFFFFF):
        with pytest.raises(UnknownSchema, match="upgrade"):
            decode(Tweet, framed(unknown, FRAME[HEADER_BYTES:]))


def test_a_foreign_id_without_a_registry_says_which_setting_is_missing() -> None:
    """Nothing but a registry can say what bytes of a foreign id mean."""
    for foreign in (0, 1, 0x3FFFFFFF, 0x80000000, 0xFFFFFFFF):
        with pytest.raises(UnknownSchema, match="ROOST_SCHEMA_REGISTRY_URL"):
            decode(Tweet, framed(foreign, FRAME[HEADER_BYTES:]))


def raising(error: Exception) -> Callable[[int], str]:
    """Return a lookup that fails."""

    def lookup(schema_id: int) -> str:
        raise error

    return lookup


def test_a_registry_that_says_not_found_differs_from_one_that_does_not_answer() -> None:
    """The first is a bad record and is dead-lettered; the second may be a good one, so the partition waits."""
    data = framed(7, FRAME[HEADER_BYTES:])
    with pytest.raises(UnknownSchema, match="no schema 7"):
        decode(Tweet, data, raising(UnknownSchema("the registry has no schema 7")))
    with pytest.raises(RegistryUnavailable, match="timed out"):
        decode(Tweet, data, raising(RegistryUnavailable("timed out")))


def test_a_registrys_id_for_our_own_schema_is_read() -> None:
    """Producers that use a registry write the same Avro under the registry's number."""
    data = encode(FILLED["tweet"], schema_id=7)
    assert frame_id(data) == 7
    assert decode(Tweet, data, lambda _: json.dumps(schema_json("tweet", 1))) == FILLED["tweet"]


def test_a_foreign_schema_with_logical_types_yields_plain_integers() -> None:
    """Java producers declare timestamp-millis; a datetime in event_time_ms would stop the embedder at the first compare."""
    foreign = copy.deepcopy(schema_json("tweet", 1))
    for field in foreign["fields"]:
        if field["name"] in ("event_time_ms", "created_ms"):
            field["type"] = {"type": "long", "logicalType": "timestamp-millis"}
    record = decode(Tweet, encode(FILLED["tweet"], schema_id=8), lambda _: json.dumps(foreign))
    assert record == FILLED["tweet"]
    assert type(record.event_time_ms) is int


def test_a_foreign_schema_without_our_optional_fields_is_filled_with_defaults() -> None:
    """The smallest producer knows an id, an author and two times."""
    foreign = copy.deepcopy(schema_json("tweet", 1))
    names = ("candidate_id", "event_time_ms", "sequence", "author_id", "created_ms")
    foreign["fields"] = [field for field in foreign["fields"] if field["name"] in names]
    body = fastavro_bytes(foreign, {"candidate_id": "t:1", "event_time_ms": 5, "sequence": 0, "author_id": "a:1", "created_ms": 5})
    assert decode(Tweet, framed(9, body), lambda _: json.dumps(foreign)) == Tweet("t:1", 5, 0, "a:1", 5)


@pytest.mark.parametrize("schema", [{"type": "record", "name": "Tweet"}, {"type": "nonsense"}, {}, "string", [], None, 7])
def test_a_foreign_schema_that_is_none_or_does_not_fit_is_undecodable(schema: Any) -> None:
    """A registry holds other teams' schemas too: their records go to the dead-letter topic, the rest goes on."""
    with pytest.raises(UndecodableRecord):
        decode(Tweet, framed(10, FRAME[HEADER_BYTES:]), lambda _: json.dumps(schema))


def fastavro_bytes(schema: Any, data: Any) -> bytes:
    """Return Avro bytes written with any schema."""
    buffer = io.BytesIO()
    fastavro.schemaless_writer(buffer, fastavro.parse_schema(copy.deepcopy(schema)), data)
    return buffer.getvalue()


def kind_symbols(schema: dict[str, Any]) -> list[str]:
    """Return the list of engagement kinds inside a schema."""
    (kind,) = (field for field in schema["fields"] if field["name"] == "kind")
    symbols: list[str] = kind["type"]["symbols"]
    return symbols


@pytest.fixture
def released(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str, dict[str, Any]], None]]:
    """Return a function that releases a second version of a subject, for this test only."""
    later: dict[str, dict[str, Any]] = {}
    versions, schema = codec.versions, codec.schema_json

    def clear() -> None:
        for cached in (codec.writer_id, codec.parsed_schema, codec._local_schemas):
            cached.cache_clear()

    def release(subject: str, new: dict[str, Any]) -> None:
        later[subject] = new
        clear()

    monkeypatch.setattr(codec, "versions", lambda subject: (*versions(subject), 2) if subject in later else versions(subject))
    monkeypatch.setattr(codec, "schema_json", lambda s, v: later[s] if v == 2 and s in later else schema(s, v))
    yield release
    monkeypatch.undo()
    clear()


def test_a_second_version_reads_the_first_and_a_reader_of_the_first_reads_the_second(
    released: Callable[[str, dict[str, Any]], None],
) -> None:
    """During a rolling upgrade both releases write one topic and both read it."""
    second = copy.deepcopy(schema_json("engagement", 1))
    second["fields"].append({"name": "dwell_ms", "type": "long", "default": 0})
    kind_symbols(second).append("bookmark")
    written_by_first = encode(FILLED["engagement"])
    released("engagement", second)
    expected = {**FILLED["engagement"].to_avro(), "dwell_ms": 0}
    assert decode_mapping("engagement", written_by_first) == expected
    # the old reader: it asks a registry for the new schema, and meets a symbol it does not know
    written_by_second = fastavro_bytes(second, {**expected, "dwell_ms": 9, "kind": "bookmark"})
    codec.writer_id.cache_clear()
    assert frame_id(codec.encode_mapping("engagement", expected)) == local_id(second)
    first = fastavro.parse_schema(copy.deepcopy(schema_json("engagement", 1)))
    read = fastavro.schemaless_reader(io.BytesIO(written_by_second), fastavro.parse_schema(copy.deepcopy(second)), first)
    assert isinstance(read, dict)
    assert read["kind"] == "unknown"
    assert "dwell_ms" not in read


def test_a_symbol_of_a_later_release_is_read_as_unknown() -> None:
    """Old readers count it and go on; without the default symbol they would dead-letter every new kind."""
    later = copy.deepcopy(schema_json("engagement", 1))
    kind_symbols(later).append("bookmark")
    body = fastavro_bytes(later, {**FILLED["engagement"].to_avro(), "kind": "bookmark"})
    assert decode(Engagement, framed(11, body), lambda _: json.dumps(later)).kind == "unknown"
