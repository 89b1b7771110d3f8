"""The tokens a retrieve answer hands out and an impression carries back: base64url text of Avro. Unreadable is absent."""

import base64
import io
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, TypeVar

import fastavro
from fastavro.schema import parse_schema

from schemas.codec import schema_json, versions
from schemas.errors import InvalidRecord
from schemas.records.base import Message
from schemas.records.feedback import QueryToken
from schemas.records.users import QueryFeatures
from schemas.writing import compile_writer

MAX_CANDIDATE_TOKEN_BYTES = 512
# the bounds of `QueryFeatures.check`: 32 ids of 64 bytes, 52 words of 24, 8 context entries, in base64url
MAX_QUERY_TOKEN_BYTES = 8192

MessageT = TypeVar("MessageT", bound=Message)


def write_token(token: Message, *, max_bytes: int = MAX_CANDIDATE_TOKEN_BYTES) -> str:
    """Return the token as base64url text without padding. Its first byte is the schema version.

    Raises:
        InvalidRecord: the text would be longer than `max_bytes`; the bounds of `Publication.check` keep candidate tokens below.
    """
    return token_of(token.SUBJECT, _writer(token.SUBJECT)(token), max_bytes=max_bytes).decode("ascii")


def context_token(context: Mapping[str, str]) -> str:
    """Return the query token of an impression that no bundle answered for: the request's context, for the labeler to add.

    Raises:
        InvalidRecord: too many entries, or too long ones.
    """
    features = QueryFeatures(context=dict(context))
    features.check()
    return write_token(QueryToken("", features), max_bytes=MAX_QUERY_TOKEN_BYTES)


def token_of(subject: str, body: bytes, *, max_bytes: int = MAX_CANDIDATE_TOKEN_BYTES) -> bytes:
    """Return the text, in ASCII bytes, of a token whose Avro body is at hand. Raises as `write_token` does."""
    text = base64.urlsafe_b64encode(_version_byte(subject) + body).rstrip(b"=")
    if len(text) > max_bytes:
        raise InvalidRecord(f"a {subject} of {len(text)} bytes is over {max_bytes}; shorten topics or ids")
    return text


def read_token(token_type: type[MessageT], text: str | None) -> MessageT | None:
    """Return the token in `text`, or None when there is none or it cannot be read: then the labeler reconstructs."""
    if not text or len(text) > MAX_QUERY_TOKEN_BYTES:
        return None
    try:
        data = base64.urlsafe_b64decode(text.encode("ascii") + b"=" * (-len(text) % 4))
        if not data or data[0] not in versions(token_type.SUBJECT):
            return None
        buffer = io.BytesIO(data)
        buffer.seek(1)
        writer = _parsed(token_type.SUBJECT, data[0])
        reader = _parsed(token_type.SUBJECT, versions(token_type.SUBJECT)[-1])
        decoded: Any = fastavro.schemaless_reader(buffer, writer, reader)
        return token_type.from_avro(decoded) if buffer.tell() == len(data) else None
    except Exception:  # noqa: BLE001  a token comes from outside: whatever it provokes in the reader means "unreadable"
        return None


@cache
def _version_byte(subject: str) -> bytes:
    return bytes([versions(subject)[-1]])


@cache
def _writer(subject: str) -> Callable[[Any], bytes]:
    return compile_writer(schema_json(subject, versions(subject)[-1]))


@cache
def _parsed(subject: str, version: int) -> Any:
    return parse_schema(schema_json(subject, version))
