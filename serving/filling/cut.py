"""Cuts what a row needs out of an embedding record's bytes, and decodes nothing that nobody looks at. Judges no record.

A node decodes every vector written anywhere: this takes under half the time of reading each whole and writing its token anew.
The features are copied as they lie, for a candidate token holds the same Avro bytes.
"""

from functools import cache
from typing import NamedTuple

from schemas.codec import schema_json, writer_version
from schemas.records.candidates import embedding_subject
from schemas.records.feedback import CandidateToken

_BEHIND_VECTOR = [
    ("candidate_id", "string"),
    ("event_time_ms", "long"),
    ("sequence", "long"),
    ("deleted", "boolean"),
    ("created_ms", "long"),
    ("text", "string"),
    ("features", "null or record"),
    ("append_time_ms", "long"),
    ("embedded_ms", "long"),
]
_FEATURES = [
    ("author_id", "string"),
    ("language", "string"),
    ("region", "string"),
    ("topics", "array"),
    ("author_followers", "long"),
    ("counters", "record"),
]
_COUNTERS = 7


class NotCut(Exception):
    """The record is not of the plain form that is cut here; read it whole to learn what it is."""


class Cut(NamedTuple):
    """The row of a live candidate. `token_body` is the Avro body of its candidate token behind the bundle."""

    candidate_id: str
    event_time_ms: int
    sequence: int
    created_ms: int
    append_time_ms: int
    language: str
    author_id: str
    text: bytes
    token_body: bytes


@cache
def can_cut(dim: int) -> bool:
    """Tell whether records of this build's schemas have the layout that `cut` knows."""
    subject = embedding_subject(dim)
    vector, *rest = schema_json(subject, writer_version(subject))["fields"]
    features = next(field["type"][1] for field in rest if field["name"] == "features")
    token = schema_json(CandidateToken.SUBJECT, writer_version(CandidateToken.SUBJECT))["fields"]
    return (
        vector["name"] == "vector"
        and _layout(rest) == _BEHIND_VECTOR
        and _layout(features["fields"]) == _FEATURES
        and [kind for _, kind in _layout(features["fields"][-1]["type"]["fields"])] == ["long"] * _COUNTERS
        and _layout(token) == [("bundle", "string"), *_BEHIND_VECTOR[1:3], ("features", "record")]
        and token[-1]["type"] == features
    )


def _layout(fields: list[dict[str, object]]) -> list[tuple[object, str]]:
    return [(field["name"], _kind(field["type"])) for field in fields]


def _kind(schema: object) -> str:
    if isinstance(schema, list):
        return " or ".join(_kind(branch) for branch in schema)
    return str(schema["type"]) if isinstance(schema, dict) else str(schema)


def cut(data: bytes, at: int) -> Cut:
    """Return the row of a record whose fields behind the vector begin at `at`.

    Raises:
        NotCut: a delete, a record without features, an odd encoding, or bytes that are no record.
    """
    try:
        return _cut(data, at)
    # past the end of the bytes, or text that is not UTF-8
    except (IndexError, UnicodeDecodeError) as error:
        raise NotCut(str(error)) from error


def _cut(data: bytes, at: int) -> Cut:
    at, end = _text(data, at)
    candidate_id, version_from = data[at:end].decode(), end
    event_time_ms, at = _long(data, end)
    sequence, at = _long(data, at)
    version = data[version_from:at]
    if data[at]:
        raise NotCut("a delete")
    created_ms, at = _long(data, at + 1)
    at, end = _text(data, at)
    text = data[at:end]
    text.decode()
    if data[end] != 2:
        raise NotCut("no features")
    features_from = end + 1
    at, end = _text(data, features_from)
    author_id = data[at:end].decode()
    at, end = _text(data, end)
    language = data[at:end].decode()
    at, end = _text(data, end)
    data[at:end].decode()
    at = _past_texts(data, end)
    # followers, and the counters
    for _ in range(1 + _COUNTERS):
        if data[at] < 128:
            at += 1
        else:
            _, at = _long(data, at)
    token_body = version + data[features_from:at]
    append_time_ms, at = _long(data, at)
    _, at = _long(data, at)
    if at != len(data):
        raise NotCut("bytes left over, or missing")
    return Cut(candidate_id, event_time_ms, sequence, created_ms, append_time_ms, language, author_id, text, token_body)


def _long(data: bytes, at: int) -> tuple[int, int]:
    """Return the Avro long at `at`, and where it ends."""
    digit = data[at]
    rest, shift = digit & 127, 7
    while digit > 127:
        if shift == 63:
            raise NotCut("a long of ten bytes")
        at += 1
        digit = data[at]
        rest |= (digit & 127) << shift
        shift += 7
    return (rest >> 1) ^ -(rest & 1), at + 1


def _text(data: bytes, at: int) -> tuple[int, int]:
    """Return where the text at `at` begins and ends. An end past the data's shows at the next byte that is asked for."""
    length = data[at]
    if length < 128:
        at += 1
    else:
        length, at = _long(data, at)
        length *= 2
    if length & 1 or length < 0:
        raise NotCut("a text of negative length")
    return at, at + (length >> 1)


def _past_texts(data: bytes, at: int) -> int:
    """Return where an array of texts, in one block, ends."""
    count, at = _long(data, at)
    if count < 0:
        raise NotCut("an array in blocks")
    for _ in range(count):
        at, end = _text(data, at)
        data[at:end].decode()
        at = end
    if count:
        if data[at]:
            raise NotCut("an array in blocks")
        at += 1
    return at
