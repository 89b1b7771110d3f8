"""Raw feature values into id columns, a batch at a time. What a field means is said in `schemas.features.spec`."""

from collections.abc import Callable, Iterable, Sequence
from operator import attrgetter
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from schemas.features.hashing import hash_bucket

_CONTEXT = "context."


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


def encode(seed: str, fields: Iterable[FieldLike], features: Sequence[object]) -> NDArray[np.int64]:
    """Return ids, int64 [n, all slots], of n feature records; 0 where a slot has no value."""
    # columns as lists and one array at the end: an array per field costs more than the ids of a small batch
    columns: list[Sequence[int]] = []
    for field in fields:
        values = map(_reader(field.source), features)
        if field.kind == "log":
            columns.append(_log_buckets(values, field.buckets))
        else:
            columns += _hash_buckets(values, seed, field)
    if not features:
        return np.zeros((0, len(columns)), np.int64)
    return np.ascontiguousarray(np.array(columns, np.int64).T)


def _log_buckets(counts: Iterable[int], buckets: int) -> list[int]:
    # bit_length(1 + n) - 1 is floor(log2(1 + n)), exactly, for any integer
    return [min((1 + count).bit_length(), buckets) if count > 0 else 1 for count in counts]


def _hash_buckets(values: Iterable[str | Sequence[str]], seed: str, field: FieldLike) -> list[Sequence[int]]:
    table, buckets, slots = field.table_name, field.buckets, field.slots
    padding = [0] * slots
    flat: list[int] = []
    for value in values:
        texts = (value,) if isinstance(value, str) else value[:slots]
        row = [hash_bucket(seed, table, text, buckets) for text in texts if text]
        flat += row if len(row) == slots else row + padding[len(row) :]
    return [flat[slot::slots] for slot in range(slots)]


def _reader(source: str) -> Callable[[Any], Any]:
    if source.startswith(_CONTEXT):
        name = source.removeprefix(_CONTEXT)
        return lambda record: record.context.get(name, "")
    return attrgetter(source)
