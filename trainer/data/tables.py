"""Records kept as Arrow columns: taken row by row, or read a column at a time. Reads no file, encodes and decides nothing."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar, overload

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from schemas.features.columns import Texts

T = TypeVar("T")
U = TypeVar("U")


@dataclass(frozen=True, slots=True, eq=False)
class Columns:
    """Columns of one kind of record, by name; a dot leads into a record or a map within."""

    arrays: Mapping[str, pa.Array]

    @classmethod
    def within(cls, records: pa.StructArray) -> "Columns":
        """Return the columns of a column of records."""
        return cls(dict(zip((field.name for field in records.type), records.flatten(), strict=True)))

    def array(self, source: str) -> pa.Array:
        """Return a column; of a map's key, "" where a row lacks it."""
        name, _, rest = source.partition(".")
        found = self.arrays[name]
        if not rest:
            return found
        if pa.types.is_map(found.type):
            return pc.map_lookup(found, rest, "last").fill_null("")
        return Columns.within(found).array(rest)

    def texts(self, source: str, *, most: int | None = None) -> Texts:
        """Return a column of texts or of lists of them; words stand in the order in which they come up.

        Args:
            most: of each list, so many.
        """
        return _texts(self.array(source), most)

    def words(self, source: str) -> Counter[str]:
        """Return how many rows have each text of a column of texts."""
        texts = self.texts(source)
        return Counter(dict(zip(texts.words, np.bincount(texts.codes).tolist(), strict=True)))

    def counts(self, source: str) -> NDArray[np.int64]:
        """Return a column of integers."""
        return self.array(source).to_numpy(zero_copy_only=False).astype(np.int64, copy=False)  # type: ignore[no-any-return]

    def equal(self, source: str, text: str) -> NDArray[np.bool_]:
        """Return where a column is that text; a row without one is not."""
        found: NDArray[np.bool_] = pc.equal(self.array(source), text).fill_null(False).to_numpy(zero_copy_only=False)
        return found

    def __len__(self) -> int:
        return len(next(iter(self.arrays.values())))


class Rows(Sequence[T], Generic[T]):
    """Rows of a table as a sequence of records; a record is made when it is asked for."""

    def __init__(self, table: pa.Table, read: Callable[[dict[str, Any]], T], rows: NDArray[np.int64] | None = None) -> None:
        """Wrap.

        Args:
            read: makes a record of a row, which is its own to change.
            rows: those that count, in this order; all by default.
        """
        self._table = table
        self._read = read
        self._rows = np.arange(table.num_rows) if rows is None else rows

    def take(self, rows: NDArray[np.int64] | NDArray[np.bool_]) -> "Rows[T]":
        """Return the named rows, or those where a mask is true."""
        return Rows(self._table, self._read, self._rows[rows])

    def read_by(self, read: Callable[[dict[str, Any]], U]) -> "Rows[U]":
        """Return the same rows as other records."""
        return Rows(self._table, read, self._rows)

    def columns(self, *names: str) -> Columns:
        """Return the named columns; the others are not touched."""
        return Columns({name: self._table[name].take(self._rows).combine_chunks() for name in names})

    @overload
    def __getitem__(self, index: int) -> T: ...
    @overload
    def __getitem__(self, index: slice) -> "Rows[T]": ...
    def __getitem__(self, index: int | slice) -> "T | Rows[T]":
        if isinstance(index, slice):
            return Rows(self._table, self._read, self._rows[index])
        return next(iter(self.take(np.array([index]))))

    def __len__(self) -> int:
        return len(self._rows)

    def __iter__(self) -> Iterator[T]:
        rows: list[dict[str, Any]] = self._table.take(self._rows).to_pylist(maps_as_pydicts="strict")
        return map(self._read, rows)


def numbered(columns: Sequence[pa.Array]) -> NDArray[np.int32]:
    """Return a number for each row, counted from 0 as they come up: equal in all columns is the same number."""
    codes = np.concatenate([part for column in columns for part in _matrices(column)], axis=1)
    return _codes(pa.FixedSizeBinaryArray.from_buffers(pa.binary(4 * codes.shape[1]), len(codes), [None, pa.py_buffer(codes)]))


def _texts(column: pa.Array, most: int | None) -> Texts:
    if not pa.types.is_list(column.type):
        encoded, first = column.dictionary_encode(), np.arange(len(column) + 1)
    else:
        column = column if most is None else pc.list_slice(column, 0, most)
        encoded, first = column.flatten().dictionary_encode(), column.offsets.to_numpy().astype(np.int64)
    return Texts(encoded.dictionary.to_pylist(), encoded.indices.to_numpy(), first - first[0])


def _codes(column: pa.Array) -> NDArray[np.int32]:
    codes: NDArray[np.int32] = column.dictionary_encode().indices.fill_null(-1).to_numpy(zero_copy_only=False)
    return codes


def _matrices(column: pa.Array) -> list[NDArray[np.int32]]:
    """Return int32 [rows, some], equal in two rows where the values are; -1 where there is none."""
    if pa.types.is_map(column.type):
        return [_codes(pc.map_lookup(column, name, "last"))[:, None] for name in column.keys.unique().to_pylist()]
    if not pa.types.is_list(column.type):
        return [_codes(column)[:, None]]
    texts = _texts(column, None)
    row, place = texts.places()
    matrix = np.full((len(column), 1 + place.max(initial=-1)), -1, np.int32)
    matrix[row, place] = texts.codes
    return [matrix]
