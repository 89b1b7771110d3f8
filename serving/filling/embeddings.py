"""A batch of embedding records to columns for an index. Pure: bytes in, arrays out; bad records are named, never guessed at.

The vector comes first in the record, so a batch of vectors is one numpy view; fastavro reads only what lies behind it.
"""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import fastavro
import numpy as np
from fastavro.schema import parse_schema
from numpy.typing import NDArray

from schemas.codec import HEADER_BYTES, decode_mapping, frame_id, schema_json, writer_id, writer_version
from schemas.errors import InvalidInput, InvalidRecord, UndecodableRecord
from schemas.ids import Version, check_candidate_id
from schemas.records.candidates import embedding_subject
from schemas.wire.inbound import InboundRecord
from serving.index import Rows
from serving.query.payload import row_payload

_SMALLEST_LENGTH = 1e-6


@dataclass(frozen=True, slots=True)
class BadEmbedding:
    """A record that must not enter an index. `append_time_ms` is when the broker appended it."""

    key: bytes | None
    partition: int
    offset: int
    append_time_ms: int
    reason: str


@dataclass(frozen=True, slots=True)
class EmbeddingBatch:
    """A batch in log order, split by what is to be done.

    Attributes:
        rows: live candidates; `append_time_ms` [n] is the broker append time of each one's newest source record.
        deleted: ids with the version they were deleted at.
        forgotten: ids whose record is a null: the embedder's clean-up, long after a delete or an expiry.
        bad: records refused.
    """

    rows: Rows
    append_time_ms: NDArray[np.int64]
    deleted: tuple[tuple[str, Version], ...]
    forgotten: tuple[str, ...]
    bad: tuple[BadEmbedding, ...]


def decode_batch(bundle: str, dim: int, records: Sequence[InboundRecord]) -> EmbeddingBatch:
    """Return the columns of records of `embeddings.<bundle>`; no record raises, a bad one is in `bad`.

    Rows and deletes carry versions, so their order does not matter; a null has none. Do not mix nulls with other records.
    """
    bad: list[BadEmbedding] = []
    deleted: list[tuple[str, Version]] = []
    forgotten: list[str] = []
    kept: list[dict[str, Any]] = []
    origins: list[InboundRecord] = []
    vectors: list[bytes] = []
    payloads: list[bytes] = []
    for record in records:
        try:
            candidate_id, row, vector = _read(dim, record)
            if row is None:
                forgotten.append(candidate_id)
            elif row["deleted"]:
                deleted.append((candidate_id, Version(row["event_time_ms"], row["sequence"])))
            else:
                payloads.append(_payload(bundle, row))
                kept.append(row)
                origins.append(record)
                vectors.append(vector)
        except InvalidInput as error:
            bad.append(BadEmbedding(record.key, record.partition, record.offset, record.timestamp_ms, str(error)))
    matrix = np.frombuffer(b"".join(vectors), "<f4").reshape(len(vectors), dim)
    usable = _usable(matrix)
    if not usable.all():
        for at in np.flatnonzero(~usable).tolist():
            origin = origins[at]
            reason = "the vector is NaN, infinite or zero"
            bad.append(BadEmbedding(origin.key, origin.partition, origin.offset, origin.timestamp_ms, reason))
        chosen = np.flatnonzero(usable).tolist()
        kept, payloads, matrix = [kept[i] for i in chosen], [payloads[i] for i in chosen], matrix[usable]
    rows, appended = _rows(kept, matrix, payloads), _longs(kept, "append_time_ms")
    return EmbeddingBatch(rows, appended, tuple(deleted), tuple(forgotten), tuple(bad))


def _read(dim: int, record: InboundRecord) -> tuple[str, dict[str, Any] | None, bytes]:
    """Return id, the mapping without its vector (None for a null) and the vector's bytes."""
    key, value = record.key, record.value
    if key is None:
        raise InvalidRecord("the record has no key; an embedding's key is its candidate id")
    if value is None:
        return _id_of(key), None, b""
    subject = embedding_subject(dim)
    if frame_id(value) == writer_id(subject):
        start = HEADER_BYTES + 4 * dim
        row = _read_behind_vector(subject, value, start)
        vector = value[HEADER_BYTES:start]
    else:
        # another release's schema: resolved in full, the slow way
        row = decode_mapping(subject, value)
        vector = row["vector"]
    if row["candidate_id"].encode() != key:
        raise InvalidRecord(f"the key is not the candidate id {row['candidate_id'][:64]!r}")
    return row["candidate_id"], row, vector


def _id_of(key: bytes) -> str:
    try:
        candidate_id = key.decode()
    except UnicodeDecodeError as error:
        raise UndecodableRecord("the key of a null is not UTF-8") from error
    check_candidate_id(candidate_id)
    return candidate_id


def _read_behind_vector(subject: str, value: bytes, start: int) -> dict[str, Any]:
    if len(value) <= start:
        raise UndecodableRecord(f"{len(value)} bytes are too few for a {subject} record")
    buffer = io.BytesIO(value)
    buffer.seek(start)
    try:
        row: Any = fastavro.schemaless_reader(buffer, _behind_vector(subject), None)
    # fastavro raises whatever the bytes provoke: EOFError, ValueError, IndexError, UnicodeDecodeError …
    except Exception as error:
        raise UndecodableRecord(f"not a {subject} record: {type(error).__name__}: {error}") from error
    if buffer.tell() != len(value):
        raise UndecodableRecord(f"{len(value) - buffer.tell()} bytes left over behind the {subject} record")
    return row  # type: ignore[no-any-return]


@cache
def _behind_vector(subject: str) -> Any:
    schema = schema_json(subject, writer_version(subject))
    first, *rest = schema["fields"]
    if first["name"] != "vector":
        raise ValueError(f"{subject} no longer begins with its vector; read it in full")
    return parse_schema({**schema, "fields": rest})


def _payload(bundle: str, row: dict[str, Any]) -> bytes:
    if row["features"] is None:
        raise InvalidRecord(f"{row['candidate_id'][:64]!r} comes without the features its vector was computed from")
    return row_payload(bundle, row)


def _usable(matrix: NDArray[np.float32]) -> NDArray[np.bool_]:
    lengths = np.sqrt(np.einsum("ij,ij->i", matrix, matrix, dtype=np.float64))
    usable: NDArray[np.bool_] = np.isfinite(lengths) & (lengths > _SMALLEST_LENGTH)
    return usable


def _longs(rows: list[dict[str, Any]], name: str) -> NDArray[np.int64]:
    return np.fromiter((row[name] for row in rows), np.int64, len(rows))


def _rows(rows: list[dict[str, Any]], matrix: NDArray[np.float32], payloads: list[bytes]) -> Rows:
    return Rows(
        candidate_ids=[row["candidate_id"] for row in rows],
        vectors=matrix,
        versions=np.stack([_longs(rows, "event_time_ms"), _longs(rows, "sequence")], axis=1),
        created_ms=_longs(rows, "created_ms"),
        languages=[row["features"]["language"] for row in rows],
        author_ids=[row["features"]["author_id"] for row in rows],
        payloads=payloads,
    )
