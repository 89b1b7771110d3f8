"""Bytes to typed records and back: Avro in Confluent framing. Knows no topics; decides nothing about bad bytes but to name them.

A frame is 0x00, the schema id as 4 big-endian bytes, then Avro (Confluent wire format). Without a schema registry the id is
0x40000000 | the low 30 bits of the SHA-256 of the schema as sorted-key, no-space JSON, and is always resolved from this package.
"""

import hashlib
import io
import json
import struct
from collections.abc import Callable, Mapping
from functools import cache, lru_cache
from importlib import resources
from typing import Any, TypeVar

import fastavro
from fastavro.schema import parse_schema

from schemas.errors import UndecodableRecord, UnknownSchema
from schemas.plain import NotPlain
from schemas.reading import compile_reader
from schemas.records.base import Message
from schemas.records.candidates import Embedding, embedding_subject
from schemas.writing import compile_writer

_FRAME = struct.Struct(">bI")
HEADER_BYTES = _FRAME.size
LOCAL_ID_BIT = 0x40000000
_LOCAL_ID_MASK = 0x3FFFFFFF
_LAST_LOCAL_ID = LOCAL_ID_BIT | _LOCAL_ID_MASK

MessageT = TypeVar("MessageT", bound=Message)
# a schema registry's answer: the schema's text by its id
SchemaLookup = Callable[[int], str]


@cache
def subjects() -> tuple[str, ...]:
    """Return the names of all subjects in the package, sorted."""
    root = resources.files("schemas") / "avro"
    return tuple(sorted(entry.name for entry in root.iterdir() if entry.is_dir()))


@cache
def versions(subject: str) -> tuple[int, ...]:
    """Return the released versions of a subject, oldest first."""
    folder = resources.files("schemas") / "avro" / subject
    return tuple(sorted(int(entry.name[1:-5]) for entry in folder.iterdir() if entry.name.endswith(".avsc")))


@cache
def schema_json(subject: str, version: int) -> dict[str, Any]:
    """Return the schema as released."""
    text = (resources.files("schemas") / "avro" / subject / f"v{version}.avsc").read_text("utf-8")
    schema: dict[str, Any] = json.loads(text)
    return schema


def local_id(schema: Mapping[str, Any]) -> int:
    """Return the id of a schema when there is no registry (CONTRACTS, 'Records and schemas')."""
    canonical = json.dumps(schema, sort_keys=True, separators=(",", ":")).encode()
    return LOCAL_ID_BIT | (int.from_bytes(hashlib.sha256(canonical).digest()) & _LOCAL_ID_MASK)


def writer_version(subject: str) -> int:
    """Return the version of a subject that this build writes: the newest."""
    return versions(subject)[-1]


@cache
def writer_id(subject: str) -> int:
    """Return the local id that frames of this build carry for a subject."""
    return local_id(schema_json(subject, writer_version(subject)))


@cache
def parsed_schema(subject: str, version: int) -> Any:
    """Return a schema as fastavro's reader and writer take it."""
    return parse_schema(schema_json(subject, version))


@cache
def _local_schemas() -> dict[int, tuple[str, int]]:
    return {local_id(schema_json(s, v)): (s, v) for s in subjects() for v in versions(s)}


def encode(message: Message, *, subject: str | None = None, schema_id: int | None = None) -> bytes:
    """Return the framed bytes of a message.

    Args:
        subject: needed only where the class does not fix it (embeddings).
        schema_id: a registry's id for the schema this build writes; the local id by default.
    """
    subject = subject or message.SUBJECT
    head, write = _head_and_writer(subject)
    return (head if schema_id is None else _FRAME.pack(0, schema_id)) + write(message)


@cache
def _head_and_writer(subject: str) -> tuple[bytes, Callable[[Any], bytes]]:
    return frame_head(subject), body_writer(subject)


@cache
def frame_head(subject: str) -> bytes:
    """Return the bytes before the Avro of a message that this build writes, where no registry has another id for its schema."""
    return _FRAME.pack(0, writer_id(subject))


@cache
def body_writer(subject: str) -> Callable[[Any], bytes]:
    """Return the function that writes a message of a subject as Avro bytes, without a frame."""
    return compile_writer(schema_json(subject, writer_version(subject)))


def encode_mapping(subject: str, data: Mapping[str, Any], *, schema_id: int | None = None) -> bytes:
    """Return the framed bytes of an Avro mapping, for writers that hold values, not records; a record is written faster."""
    buffer = io.BytesIO()
    buffer.write(_FRAME.pack(0, writer_id(subject) if schema_id is None else schema_id))
    fastavro.schemaless_writer(buffer, parsed_schema(subject, writer_version(subject)), data)
    return buffer.getvalue()


def frame_id(data: bytes) -> int:
    """Return the schema id of a frame; raises `UndecodableRecord` for bytes that are not one."""
    if len(data) < HEADER_BYTES or data[0] != 0:
        raise UndecodableRecord(f"{len(data)} bytes without the 0x00 + 4-byte schema id frame; send Confluent-framed Avro")
    return int(_FRAME.unpack_from(data)[1])


def is_local(schema_id: int) -> bool:
    """Tell whether a schema id is one that this package resolves by itself, now or in another release."""
    return LOCAL_ID_BIT <= schema_id <= _LAST_LOCAL_ID


def schema_name(schema_id: int | None) -> str:
    """Return what people call a frame's schema: `tweet v3` where this release knows the id, else `id 12`; `none` without one."""
    if schema_id is None:
        return "none"
    known = _local_schemas().get(schema_id)
    return f"id {schema_id}" if known is None else f"{known[0]} v{known[1]}"


def subject_of(data: bytes) -> str | None:
    """Return the subject of a frame that carries a local id; None for any other bytes."""
    try:
        known = _local_schemas().get(frame_id(data))
    except UndecodableRecord:
        return None
    return None if known is None else known[0]


def decode_mapping(subject: str, data: bytes, lookup: SchemaLookup | None = None) -> dict[str, Any]:
    """Return the Avro mapping in `data`, resolved to the schema this build writes for `subject`.

    Args:
        lookup: asks a schema registry for the schema of a non-local id; raises `UnknownSchema` when the registry has none
            and `RegistryUnavailable` when it does not answer.

    Raises:
        UndecodableRecord: no frame, bytes missing, bytes left over, or a writer's schema that does not resolve to ours.
        UnknownSchema: an id nobody here knows.
    """
    writer = _writer_schema(subject, frame_id(data), lookup)
    reader = parsed_schema(subject, writer_version(subject))
    buffer = io.BytesIO(data)
    buffer.seek(HEADER_BYTES)
    try:
        decoded = fastavro.schemaless_reader(buffer, writer, None if writer is reader else reader)
    # fastavro raises whatever the bytes provoke: EOFError, ValueError, IndexError, UnicodeDecodeError, SchemaResolutionError …
    except Exception as error:
        raise UndecodableRecord(f"not a {subject} record: {type(error).__name__}: {error}") from error
    if buffer.tell() != len(data):
        raise UndecodableRecord(f"{len(data) - buffer.tell()} bytes left over behind the {subject} record")
    return decoded  # type: ignore[return-value]


def decode(message_type: type[MessageT], data: bytes, lookup: SchemaLookup | None = None) -> MessageT:
    """Return the typed message in `data`; raises as `decode_mapping` does."""
    if data[:HEADER_BYTES] == frame_head(message_type.SUBJECT):
        try:
            message: MessageT = _reader(message_type)(data, HEADER_BYTES)
        except NotPlain:
            # read again below, by the reader that says what is wrong, or that nothing is
            pass
        else:
            return message
    return message_type.from_avro(decode_mapping(message_type.SUBJECT, data, lookup))


_READERS: dict[type[Message], Callable[[bytes, int], Any]] = {}


def _reader(message_type: type[Message]) -> Callable[[bytes, int], Any]:
    reader = _READERS.get(message_type)
    if reader is None:
        subject = message_type.SUBJECT
        # two threads that come here together store readers that do the same
        reader = _READERS[message_type] = compile_reader(schema_json(subject, writer_version(subject)), message_type)
    return reader


def decode_embedding(dim: int, data: bytes) -> Embedding:
    """Return the embedding in `data`; raises as `decode_mapping` does, also when the vector has another dimension."""
    return Embedding.from_avro(decode_mapping(embedding_subject(dim), data))


def _writer_schema(subject: str, schema_id: int, lookup: SchemaLookup | None) -> Any:
    if is_local(schema_id):
        known = _local_schemas().get(schema_id)
        if known is None:
            raise UnknownSchema(
                f"local schema id {schema_id:#x} is not in this release; upgrade to the producer's release of roost"
            )
        if known[0] != subject:
            raise UndecodableRecord(f"the frame holds a {known[0]} record where a {subject} record belongs")
        return parsed_schema(*known)
    if lookup is None:
        raise UnknownSchema(f"schema id {schema_id} belongs to a schema registry; set its address (ROOST_SCHEMA_REGISTRY_URL)")
    found = lookup(schema_id)
    try:
        return _foreign(found)
    # parse_schema raises whatever the schema provokes
    except Exception as error:
        raise UndecodableRecord(f"schema id {schema_id} names a schema that cannot be read: {error}") from error


@lru_cache(maxsize=1024)
def _foreign(text: str) -> Any:
    return parse_schema(_without_logical_types(json.loads(text)))


def _without_logical_types(schema: Any) -> Any:
    # a foreign `timestamp-millis` would arrive as a datetime where our records hold integers
    if isinstance(schema, dict):
        return {key: _without_logical_types(value) for key, value in schema.items() if key != "logicalType"}
    return [_without_logical_types(item) for item in schema] if isinstance(schema, list) else schema
