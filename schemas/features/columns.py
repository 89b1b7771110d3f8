"""Raw feature values into id columns, a batch at a time. What a field means is said in `schemas.features.spec`."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from schemas.features.hashing import bucket_of

_CONTEXT = "context."
# count n lies in bucket i + 1 from the i-th of these on: 2^i - 1, and no int64 is above the last
_LOG_BOUNDS = np.array([2**i - 1 for i in range(64)], np.int64)

# of a source, each record's value
Values = Callable[[str], Iterable[Any]]


class FieldLike(Protocol):
    """What is read of a `schemas.features.spec.Field`."""

    @property
    def source(self) -> str: ...  # noqa: D102
    @property
    def kind(self) -> str: ...  # noqa: D102
    @property
    def buckets(self) -> int: ...  # noqa: D102
    @property
    def slots(self) -> int: ...  # noqa: D102
    @property
    def table_name(self) -> str: ...  # noqa: D102


@dataclass(frozen=True, slots=True, eq=False)
class Texts:
    """A column of texts, or of lists of them, as numbers of distinct words.

    Attributes:
        words: each word once.
        codes: integers [texts of all rows], the word each of them is.
        first: int64 [rows + 1]; row i has the texts from `first[i]` to `first[i + 1]`.
    """

    words: Sequence[str]
    codes: NDArray[np.integer]
    first: NDArray[np.int64]

    def places(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return, of each text, its row and where in the row it stands."""
        lengths = np.diff(self.first)
        return np.repeat(np.arange(len(lengths)), lengths), np.arange(len(self.codes)) - np.repeat(self.first[:-1], lengths)


class ColumnsLike(Protocol):
    """Features by the column; a source is named as in a `schemas.features.spec.Field`."""

    def texts(self, source: str) -> Texts: ...  # noqa: D102
    def counts(self, source: str) -> NDArray[np.int64]: ...  # noqa: D102
    def __len__(self) -> int: ...


def encode(seed: str, fields: Iterable[FieldLike], features: Sequence[object]) -> NDArray[np.int64]:
    """Return ids, int64 [n, all slots], of n feature records; 0 where a slot has no value."""
    return encode_values(seed, fields, lambda source: map(_reader(source), features))


def encode_values(seed: str, fields: Iterable[FieldLike], values: Values) -> NDArray[np.int64]:
    """Return the same of records whose values are told by their source, one record's after the other's."""
    # columns as lists and one array at the end: an array per field costs more than the ids of a small batch
    columns: list[Sequence[int]] = []
    for field in fields:
        if field.kind == "log":
            columns.append(_log_buckets(values(field.source), field.buckets))
        else:
            columns += _hash_buckets(values(field.source), seed, field)
    return np.ascontiguousarray(np.array(columns, np.int64).T)


def encode_columns(seed: str, fields: Iterable[FieldLike], features: ColumnsLike) -> NDArray[np.int64]:
    """Return what `encode` returns, of features that lie in columns: a word costs one hash, however many rows have it."""
    columns = []
    for field in fields:
        if field.kind == "log":
            buckets = np.searchsorted(_LOG_BOUNDS, features.counts(field.source), side="right")
            columns.append(np.clip(buckets, 1, field.buckets)[:, None])
        else:
            columns.append(_hash_columns(features.texts(field.source), seed, field))
    return np.concatenate(columns, axis=1)


def _log_buckets(counts: Iterable[int], buckets: int) -> list[int]:
    # bit_length(1 + n) - 1 is floor(log2(1 + n)), exactly, for any integer
    return [min((1 + count).bit_length(), buckets) if count > 0 else 1 for count in counts]


def _hash_buckets(values: Iterable[str | Sequence[str]], seed: str, field: FieldLike) -> list[Sequence[int]]:
    bucket, slots = bucket_of(seed, field.table_name, field.buckets), field.slots
    padding = [0] * slots
    flat: list[int] = []
    for value in values:
        if not value:
            row = []
        elif isinstance(value, str):
            row = [bucket(value)]
        else:
            row = [bucket(text) for text in value[:slots] if text]
        flat += row if len(row) == slots else row + padding[len(row) :]
    return [flat[slot::slots] for slot in range(slots)]


def _hash_columns(texts: Texts, seed: str, field: FieldLike) -> NDArray[np.int64]:
    bucket = bucket_of(seed, field.table_name, field.buckets)
    buckets = np.array([bucket(word) if word else 0 for word in texts.words], np.int64)
    row, place = texts.places()
    ids = buckets[texts.codes]
    # as above: cut first, then close the gaps that empty texts leave
    kept = (place < field.slots) & (ids > 0)
    row, ids = row[kept], ids[kept]
    filled = np.bincount(row, minlength=len(texts.first) - 1)
    columns = np.zeros((len(filled), field.slots), np.int64)
    columns[row, np.arange(len(row)) - (np.cumsum(filled) - filled)[row]] = ids
    return columns


def _reader(source: str) -> Callable[[Any], Any]:
    if source.startswith(_CONTEXT):
        name = source.removeprefix(_CONTEXT)
        return lambda record: record.context.get(name, "")
    return attrgetter(source)
