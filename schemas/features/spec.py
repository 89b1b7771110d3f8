"""The feature spec: which raw values become which integer ids, as data that travels inside a bundle. Trains nothing.

A tower reads one int64 matrix `ids`, [batch, width]. Each field owns `slots` neighbouring columns; an id lies in 1..buckets, 0 is
padding. Adding a feature is adding a `Field` to a spec: towers, export, embedder, nodes and trainer all read the spec.
"""

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, cast

import numpy as np
from numpy.typing import NDArray

from schemas.errors import BundleMismatch
from schemas.features.hashing import hash_bucket
from schemas.records.candidates import CandidateFeatures
from schemas.records.users import QueryFeatures

FORMAT = 1
Kind = Literal["hash", "log"]


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
        return self._encode(self.query, features)

    def encode_candidates(self, features: Sequence[CandidateFeatures]) -> NDArray[np.int64]:
        """Return ids, int64 [n, candidate_width], of candidate features."""
        return self._encode(self.candidate, features)

    def _encode(self, fields: tuple[Field, ...], features: Sequence[object]) -> NDArray[np.int64]:
        ids = np.zeros((len(features), sum(field.slots for field in fields)), np.int64)
        column = 0
        for field in fields:
            read = _reader(field.source)
            for row, record in enumerate(features):
                for slot, bucket in enumerate(self._buckets(field, read(record))):
                    ids[row, column + slot] = bucket
            column += field.slots
        return ids

    def _buckets(self, field: Field, value: object) -> Iterator[int]:
        if field.kind == "log":
            # bit_length(1 + n) - 1 is floor(log2(1 + n)), exactly, for any integer
            yield 1 + min((1 + max(cast("int", value), 0)).bit_length() - 1, field.buckets - 1)
            return
        texts = (value,) if isinstance(value, str) else cast("Sequence[str]", value)
        for text in texts[: field.slots]:
            if text:
                yield hash_bucket(self.seed, field.table_name, text, field.buckets)

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
        """Build from `to_json` data; raises `BundleMismatch` for a format, kind or key this build does not know."""
        try:
            if data["format"] != FORMAT:
                raise BundleMismatch(f"feature spec format {data['format']!r} is not {FORMAT}; deploy the release that wrote it")
            spec = cls(
                str(data["name"]),
                str(data["seed"]),
                tuple(Field(**field) for field in data["query"]),
                tuple(Field(**field) for field in data["candidate"]),
            )
            spec.tables()
        except (KeyError, TypeError, ValueError) as error:
            raise BundleMismatch(f"the feature spec cannot be read ({error}); deploy the release that wrote it") from error
        for side, record, fields in (
            ("query", QueryFeatures, spec.query),
            ("candidate", CandidateFeatures, spec.candidate),
        ):
            for field in fields:
                if field.kind not in ("hash", "log") or field.source.split(".")[0] not in record.__dataclass_fields__:
                    raise BundleMismatch(
                        f"{side} feature {field.name!r} reads {field.source!r} as {field.kind!r}, which this build does not know"
                    )
        return spec


def _reader(source: str) -> Callable[[Any], Any]:
    head, _, tail = source.partition(".")
    if not tail:
        return lambda record: getattr(record, head)
    if head == "context":
        return lambda record: record.context.get(tail, "")
    return lambda record: getattr(getattr(record, head), tail)
