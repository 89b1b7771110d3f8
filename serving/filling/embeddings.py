"""A batch of embedding records to columns for an index. Pure: bytes in, arrays out; bad records are named, never guessed at.

The vector comes first in the record, so a batch of vectors is one numpy view; what lies behind it is cut, or read whole.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from schemas.codec import HEADER_BYTES, decode_embedding, frame_head
from schemas.errors import InvalidInput, InvalidRecord, UndecodableRecord
from schemas.ids import check_candidate_id
from schemas.plain import NotPlain
from schemas.records.candidates import embedding_subject
from schemas.wire.inbound import InboundRecord
from schemas.writing import string_bytes
from serving.filling.cut import can_cut, cut
from serving.filling.masks import Delete, Null
from serving.index import Rows
from serving.query.payload import payload_of_parts, row_payload

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
        deleted: deletes, with their versions.
        forgotten: candidates whose record is a null.
        bad: records refused.
    """

    rows: Rows
    append_time_ms: NDArray[np.int64]
    deleted: tuple[Delete, ...]
    forgotten: tuple[Null, ...]
    bad: tuple[BadEmbedding, ...]


class _Row(NamedTuple):
    """A live candidate as read; a tuple, since columns are made of thousands."""

    candidate_id: str
    vector: bytes
    event_time_ms: int
    sequence: int
    created_ms: int
    append_time_ms: int
    language: str
    author_id: str
    payload: bytes
    origin: InboundRecord


def decode_batch(bundle: str, dim: int, records: Sequence[InboundRecord]) -> EmbeddingBatch:
    """Return the columns of records of `embeddings.<bundle>`; no record raises, a bad one is in `bad`.

    Rows and deletes carry versions, so their order does not matter; a null has none. Do not mix nulls with other records.
    """
    reader = _Reader(bundle, dim)
    bad: list[BadEmbedding] = []
    deleted: list[Delete] = []
    forgotten: list[Null] = []
    rows: list[_Row] = []
    for record in records:
        try:
            found = reader.read(record)
        except InvalidInput as error:
            bad.append(_bad(record, str(error)))
            continue
        if isinstance(found, _Row):
            rows.append(found)
        elif isinstance(found, Null):
            forgotten.append(found)
        else:
            deleted.append(found)
    matrix = np.frombuffer(b"".join([row.vector for row in rows]), "<f4").reshape(len(rows), dim)
    usable = _usable(matrix)
    if not usable.all():
        bad += [_bad(rows[at].origin, "the vector is NaN, infinite or zero") for at in np.flatnonzero(~usable).tolist()]
        rows, matrix = [rows[at] for at in np.flatnonzero(usable).tolist()], matrix[usable]
    return EmbeddingBatch(*_columns(rows, matrix), tuple(deleted), tuple(forgotten), tuple(bad))


class _Reader:
    """Reads records of one bundle: a row, a delete, or a null."""

    def __init__(self, bundle: str, dim: int) -> None:
        self._bundle = bundle
        self._dim = dim
        self._behind_vector = HEADER_BYTES + 4 * dim
        # a token's body begins with the bundle
        self._token_head = string_bytes(bundle)
        # another release's schema is read whole, the slow way
        self._cut_head = frame_head(embedding_subject(dim)) if can_cut(dim) else None

    def read(self, record: InboundRecord) -> _Row | Delete | Null:
        """Return what a record says; raises `InvalidInput` when it says nothing that could be believed."""
        key, value = record.key, record.value
        if key is None:
            raise InvalidRecord("the record has no key; an embedding's key is its candidate id")
        if value is None:
            return Null(_id_of(key), record.timestamp_ms)
        if value[:HEADER_BYTES] != self._cut_head:
            return self._read_whole(key, value, record)
        if len(value) <= self._behind_vector:
            raise UndecodableRecord(f"{len(value)} bytes are too few for a {embedding_subject(self._dim)} record")
        try:
            row = cut(value, self._behind_vector)
        except NotPlain:
            # reading it whole tells why, or that it is well though unusual
            return self._read_whole(key, value, record)
        _check_key(key, row.candidate_id)
        return _Row(
            row.candidate_id,
            value[HEADER_BYTES : self._behind_vector],
            row.event_time_ms,
            row.sequence,
            row.created_ms,
            row.append_time_ms,
            row.language,
            row.author_id,
            payload_of_parts(
                row.candidate_id, self._token_head + row.token_body, row.language, row.author_id, row.created_ms, text=row.text
            ),
            record,
        )

    def _read_whole(self, key: bytes, value: bytes, record: InboundRecord) -> _Row | Delete:
        embedding = decode_embedding(self._dim, value)
        _check_key(key, embedding.candidate_id)
        if embedding.deleted:
            return Delete(embedding.candidate_id, embedding.version, record.timestamp_ms)
        payload = row_payload(self._bundle, embedding)
        if embedding.features is None:
            raise RuntimeError("an embedding that has a payload has features")
        return _Row(
            embedding.candidate_id,
            embedding.vector,
            *embedding.version,
            embedding.created_ms,
            embedding.append_time_ms,
            embedding.features.language,
            embedding.features.author_id,
            payload,
            record,
        )


def _bad(record: InboundRecord, reason: str) -> BadEmbedding:
    return BadEmbedding(record.key, record.partition, record.offset, record.timestamp_ms, reason)


def _check_key(key: bytes, candidate_id: str) -> None:
    if candidate_id.encode() != key:
        raise InvalidRecord(f"the key is not the candidate id {candidate_id[:64]!r}")


def _id_of(key: bytes) -> str:
    try:
        candidate_id = key.decode()
    except UnicodeDecodeError as error:
        raise UndecodableRecord("the key of a null is not UTF-8") from error
    check_candidate_id(candidate_id)
    return candidate_id


def _usable(matrix: NDArray[np.float32]) -> NDArray[np.bool_]:
    lengths = np.sqrt(np.einsum("ij,ij->i", matrix, matrix, dtype=np.float64))
    usable: NDArray[np.bool_] = np.isfinite(lengths) & (lengths > _SMALLEST_LENGTH)
    return usable


def _columns(rows: Sequence[_Row], matrix: NDArray[np.float32]) -> tuple[Rows, NDArray[np.int64]]:
    numbers = np.array([row[2:6] for row in rows], np.int64).reshape(len(rows), 4)
    columns = Rows(
        candidate_ids=[row.candidate_id for row in rows],
        vectors=matrix,
        versions=numbers[:, :2],
        created_ms=numbers[:, 2],
        languages=[row.language for row in rows],
        author_ids=[row.author_id for row in rows],
        payloads=[row.payload for row in rows],
    )
    return columns, numbers[:, 3]
