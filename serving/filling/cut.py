"""Cuts what a row needs out of an embedding record's bytes, and decodes nothing that nobody looks at. Judges no record.

A node decodes every vector written anywhere: this takes under half the time of reading each whole and writing its token anew.
The features are copied as they lie, for a candidate token holds the same Avro bytes.
"""

import re
from functools import cache
from typing import NamedTuple

from schemas.codec import schema_json, writer_version
from schemas.plain import LONG, TEXT, NotPlain, array, find_text, group, long_of
from schemas.records.candidates import MAX_TOPICS, embedding_subject
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
# what lies between the vector and the text, and behind the text
_FRONT = re.compile(
    # id, version, `deleted`, which is false, and when the candidate was created
    group(TEXT) + group(group(LONG), group(LONG)) + rb"\x00" + group(LONG),
    re.DOTALL,
)
_BACK = re.compile(
    # the features are given: author, language, region, topics; followers and counters
    rb"\x02"
    + group(group(group(TEXT), group(TEXT), TEXT, array(TEXT, MAX_TOPICS)), LONG * (1 + _COUNTERS))
    # the append time, and when the tower ran
    + group(LONG)
    + LONG,
    re.DOTALL,
)


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
        NotPlain: a delete, a record without features, an odd encoding, or bytes that are no record.
    """
    try:
        return _cut(data, at)
    # past the end of the bytes, or text that is not UTF-8
    except (IndexError, UnicodeDecodeError) as error:
        raise NotPlain(str(error)) from error


def _cut(data: bytes, at: int) -> Cut:
    front = _FRONT.match(data, at)
    if front is None:
        raise NotPlain("not a live candidate of the plain form, as far as its text")
    at, end = find_text(data, front.end())
    text = data[at:end]
    back = _BACK.fullmatch(data, end)
    if back is None:
        raise NotPlain("no features, or not of the plain form behind the text")
    candidate_id, version, event_time_ms, sequence, created_ms = front.groups()
    features, texts, author_id, language, append_time_ms = back.groups()
    # all of them at once, for the judgement alone: the lengths between them are ASCII
    texts.decode()
    text.decode()
    return Cut(
        candidate_id[1:].decode(),
        long_of(event_time_ms),
        long_of(sequence),
        long_of(created_ms),
        long_of(append_time_ms),
        language[1:].decode(),
        author_id[1:].decode(),
        text,
        version + features,
    )
