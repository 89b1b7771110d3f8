"""The tokens a retrieve answer hands out and an impression carries back: base64url text of Avro. Unreadable is absent."""

import base64
import io
from binascii import b2a_base64
from collections.abc import Mapping
from functools import cache
from typing import Any

import fastavro

from schemas.codec import MessageT, body_writer, parsed_schema, versions, writer_version
from schemas.errors import InvalidRecord
from schemas.records.base import Message
from schemas.records.feedback import QueryToken
from schemas.records.users import QueryFeatures

MAX_CANDIDATE_TOKEN_BYTES = 512
_URL_SAFE = bytes.maketrans(b"+/", b"-_")
# the bounds of `QueryFeatures.check`: 32 ids of 64 bytes, 52 words of 24, 8 context entries, in base64url
MAX_QUERY_TOKEN_BYTES = 8192


def write_token(token: Message, *, max_bytes: int = MAX_CANDIDATE_TOKEN_BYTES) -> str:
    """Return the token as base64url text without padding. Its first byte is the schema version.

    Raises:
        InvalidRecord: the text would be longer than `max_bytes`; the bounds of `Publication.check` keep candidate tokens below.
    """
    return token_of(token.SUBJECT, body_writer(token.SUBJECT)(token), max_bytes=max_bytes).decode("ascii")


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
    # as `base64.urlsafe_b64encode`, which takes twice as long: a node writes one for each row
    text = b2a_base64(_version_byte(subject) + body, newline=False).translate(_URL_SAFE).rstrip(b"=")
    if len(text) > max_bytes:
        raise InvalidRecord(f"a {subject} of {len(text)} bytes is over {max_bytes}; shorten topics or ids")
    return text


def bounded(text: str | None) -> str | None:
    """Return a token, or None for one that is longer than any may be: it cannot be read, so nobody need keep it."""
    return text if text is not None and len(text) <= MAX_QUERY_TOKEN_BYTES else None


def read_token(token_type: type[MessageT], text: str | None) -> MessageT | None:
    """Return the token in `text`, or None when there is none or it cannot be read: then the labeler reconstructs."""
    text = bounded(text)
    if not text:
        return None
    try:
        data = base64.urlsafe_b64decode(text.encode("ascii") + b"=" * (-len(text) % 4))
        if not data or data[0] not in versions(token_type.SUBJECT):
            return None
        buffer = io.BytesIO(data)
        buffer.seek(1)
        writer = parsed_schema(token_type.SUBJECT, data[0])
        reader = parsed_schema(token_type.SUBJECT, writer_version(token_type.SUBJECT))
        decoded: Any = fastavro.schemaless_reader(buffer, writer, reader)
        return token_type.from_avro(decoded) if buffer.tell() == len(data) else None
    except Exception:  # noqa: BLE001  a token comes from outside: whatever it provokes in the reader means "unreadable"
        return None


@cache
def _version_byte(subject: str) -> bytes:
    return bytes([writer_version(subject)])
