"""What a row of the index carries besides its vector: its part of an answer, in JSON, made once at insert. Pure bytes.

A row is read hundreds of times for each time it is written, so what does not change from one answer to the next is encoded at the
write: of 200 candidates that took .17 ms an answer, building objects and encoding them .38.
"""

import json
from collections.abc import Sequence
from functools import lru_cache
from itertools import chain
from json.encoder import encode_basestring
from typing import Any

from schemas.errors import InvalidRecord
from schemas.records.candidates import Embedding
from schemas.records.feedback import CandidateToken
from schemas.tokens import token_of, write_token

# as the client reads it: UTF-8, nothing escaped that need not be; what an encoder of texts calls, for a quarter of the time
_quoted = encode_basestring


def row_payload(bundle: str, embedding: Embedding) -> bytes:
    """Return the payload of an embedding, with features, of `bundle`.

    Raises:
        InvalidRecord: it has no features, or its token would be over 512 bytes.
    """
    features = embedding.features
    if features is None:
        raise InvalidRecord(f"{embedding.candidate_id[:64]!r} comes without the features its vector was computed from")
    token = write_token(CandidateToken(bundle, *embedding.version, features))
    return _members(embedding.candidate_id, token, features.language, features.author_id, embedding.created_ms, text=embedding.text)


def payload_of_parts(candidate_id: str, token_body: bytes, language: str, author_id: str, created_ms: int, *, text: bytes) -> bytes:
    """Return the same from a token's Avro body and the text's UTF-8, as they were cut out of a record. Raises as `row_payload`."""
    token = token_of(CandidateToken.SUBJECT, token_body).decode("ascii")
    return _members(candidate_id, token, language, author_id, created_ms, text=text.decode())


def candidates_json(payloads: Sequence[bytes], scores: Sequence[float], ages_s: Sequence[float]) -> bytes:
    """Return the candidates of an answer, in JSON, commas between them: their rows' payloads, and what this answer says of each."""
    return _members_of(len(payloads)) % tuple(chain.from_iterable(zip(payloads, scores, ages_s, strict=True)))


@lru_cache(64)
def _members_of(count: int) -> bytes:
    # of all in one: formatted one by one, 200 take two and a half times as long
    return b",".join([b'%%b,"score":%%.8g,"rank":%d,"age_s":%%.3f}' % rank for rank in range(1, count + 1)])


def text_of(payload: bytes) -> str:
    """Return the text of a row's candidate."""
    text: str = read_payload(payload)["text"]
    return text


def read_payload(payload: bytes) -> dict[str, Any]:
    """Return what a payload says of its candidate, by name; raises `ValueError` for bytes that are none."""
    read: dict[str, Any] = json.loads(payload + b"}")
    return read


def _members(candidate_id: str, token: str, language: str, author_id: str, created_ms: int, *, text: str) -> bytes:
    return (
        f'{{"candidate_id":{_quoted(candidate_id)},"token":"{token}","language":{_quoted(language)},'
        f'"author_id":{_quoted(author_id)},"created_ms":{created_ms},"text":{_quoted(text)}'
    ).encode()
