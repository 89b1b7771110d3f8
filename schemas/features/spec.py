"""The feature spec: which raw values become which integer ids, as data that travels inside a bundle. Trains nothing.

A tower reads one int64 matrix `ids`, [batch, width]. Each field owns `slots` neighbouring columns; an id lies in 1..buckets, 0 is
padding. Adding a feature is adding a `Field` to a spec: towers, export, embedder, nodes and trainer all read the spec.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_type_hints

import numpy as np
from numpy.typing import NDArray

from schemas.errors import BundleMismatch
from schemas.features.columns import ColumnsLike, Values, encode, encode_columns, encode_values
from schemas.records.base import Record
from schemas.records.candidates import CandidateFeatures
from schemas.records.users import QueryFeatures

FORMAT = 1
# a seed is the key of a BLAKE2b
MAX_SEED_BYTES = 64
MAX_FIELDS = 256
MAX_SLOTS = 256
MAX_BUCKETS = 2**31 - 1
Kind = Literal["hash", "log"]
Side = Literal["query", "candidate"]


@dataclass(frozen=True, slots=True)
class Field:
    """One feature.

    Attributes:
        name: unique within its side.
        source: the attribute of the features record, dotted for nested ones ("counters.favorite", "context.candidate").
        kind: "hash" for text, one or many; "log" for a count, bucketed by floor(log2(1 + n)).
        buckets: number of ids, without the padding id 0.
        slots: columns; more values than slots are cut, fewer are padded with 0.
        table: embedding table. Fields of both sides with the same table share its weights and must agree on `buckets`.
    """

    name: str
    source: str
    kind: Kind
    buckets: int
    slots: int = 1
    table: str = ""

    @property
    def table_name(self) -> str:
        """The embedding table: `table`, or the field's own name."""
        return self.table or self.name


def placed(fields: Iterable[Field]) -> Iterator[tuple[Field, slice]]:
    """Yield each field of a side with its columns."""
    begin = 0
    for field in fields:
        yield field, slice(begin, begin + field.slots)
        begin += field.slots


@dataclass(frozen=True, slots=True)
class FeatureSpec:
    """A named, immutable set of fields for both sides. `digest` tells two specs apart."""

    name: str
    seed: str
    query: tuple[Field, ...]
    candidate: tuple[Field, ...]

    @property
    def query_width(self) -> int:
        """Columns of a query's ids."""
        return sum(field.slots for field in self.query)

    @property
    def candidate_width(self) -> int:
        """Columns of a candidate's ids."""
        return sum(field.slots for field in self.candidate)

    def columns(self, side: Side, name: str) -> slice:
        """Return the columns of a feature among its side's; raises `ValueError` where there is none of the name."""
        for field, columns in placed(self.query if side == "query" else self.candidate):
            if field.name == name:
                return columns
        raise ValueError(f"{self.name} has no {side} feature {name}")

    def tables(self) -> dict[str, int]:
        """Return the embedding tables and their buckets; raises `ValueError` when two fields disagree on one."""
        tables: dict[str, int] = {}
        for field in (*self.query, *self.candidate):
            if tables.setdefault(field.table_name, field.buckets) != field.buckets:
                raise ValueError(
                    f"table {field.table_name!r} has two sizes in feature spec {self.name!r}; give one field another table"
                )
        return tables

    def encode_queries(self, features: Sequence[QueryFeatures]) -> NDArray[np.int64]:
        """Return ids, int64 [n, query_width], of query features."""
        return encode(self.seed, self.query, features)

    def encode_candidates(self, features: Sequence[CandidateFeatures]) -> NDArray[np.int64]:
        """Return ids, int64 [n, candidate_width], of candidate features."""
        return encode(self.seed, self.candidate, features)

    def encode_candidate_values(self, values: Values) -> NDArray[np.int64]:
        """Return what `encode_candidates` returns, of candidates whose values are told by their source."""
        return encode_values(self.seed, self.candidate, values)

    def encode_query_columns(self, features: ColumnsLike) -> NDArray[np.int64]:
        """Return what `encode_queries` returns, of features that lie in columns."""
        return encode_columns(self.seed, self.query, features)

    def encode_candidate_columns(self, features: ColumnsLike) -> NDArray[np.int64]:
        """Return what `encode_candidates` returns, of features that lie in columns."""
        return encode_columns(self.seed, self.candidate, features)

    @property
    def digest(self) -> str:
        """First 16 hex digits of the SHA-256 of the spec's canonical JSON."""
        canonical = json.dumps(self.to_json(), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()[:16]

    def to_json(self) -> dict[str, Any]:
        """Return the spec as plain JSON data."""
        return {
            "format": FORMAT,
            "name": self.name,
            "seed": self.seed,
            "query": [asdict(field) for field in self.query],
            "candidate": [asdict(field) for field in self.candidate],
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "FeatureSpec":
        """Build from `to_json` data; raises `BundleMismatch` for anything this build does not know or could not encode with."""
        try:
            if data["format"] != FORMAT:
                raise BundleMismatch(f"feature spec format {data['format']!r} is not {FORMAT}; deploy the release that wrote it")
            sides = {side: tuple(Field(**field) for field in data[side]) for side in ("query", "candidate")}
            for side, record in (("query", QueryFeatures), ("candidate", CandidateFeatures)):
                _check_fields(side, sides[side], _sources(record))
            spec = cls(_text(data["name"], 64), _text(data["seed"], MAX_SEED_BYTES), sides["query"], sides["candidate"])
            spec.tables()
        except (KeyError, TypeError, ValueError) as error:
            raise BundleMismatch(f"the feature spec cannot be read ({error}); deploy the release that wrote it") from error
        return spec


def _sources(record: type[Record]) -> dict[str, Kind]:
    """Return what a field may read of a features record, dotted for nested ones, and as which kind."""
    sources: dict[str, Kind] = {}
    for name, hint in get_type_hints(record).items():
        if hint in (str, tuple[str, ...]):
            sources[name] = "hash"
        elif hint is int:
            sources[name] = "log"
        elif isinstance(hint, type) and issubclass(hint, Record):
            sources |= {f"{name}.{inner}": kind for inner, kind in _sources(hint).items()}
    return sources


def _check_fields(side: str, fields: tuple[Field, ...], sources: Mapping[str, Kind]) -> None:
    """Raise `ValueError` or `TypeError` unless every field can be encoded."""
    if not 0 < len(fields) <= MAX_FIELDS:
        raise ValueError(f"{len(fields)} {side} features, not 1 to {MAX_FIELDS}")
    for field in fields:
        for what, text in (("name", field.name), ("source", field.source)):
            if not _text(text, 64):
                raise ValueError(f"a {side} feature has no {what}")
        _text(field.table, 64)
        in_context = side == "query" and field.source.startswith("context.") and field.source != "context."
        if field.kind != ("hash" if in_context else sources.get(field.source)):
            raise ValueError(f"{side} feature {field.name!r} reads {field.source!r} as {field.kind!r}: unknown to this build")
        most_slots = 1 if field.kind == "log" else MAX_SLOTS
        for what, number, most in (("slots", field.slots, most_slots), ("buckets", field.buckets, MAX_BUCKETS)):
            if type(number) is not int or not 0 < number <= most:
                raise ValueError(f"{side} feature {field.name!r} has {number!r} {what}, not 1 to {most}")
    if len({field.name for field in fields}) != len(fields):
        raise ValueError(f"two {side} features have one name")


def _text(text: object, max_bytes: int) -> str:
    if not isinstance(text, str) or len(text.encode()) > max_bytes:
        raise TypeError(f"{text!r:.40} is no text of at most {max_bytes} bytes")
    return text
