"""A table as a frozen dataclass of equally long arrays. Knows no particular table."""

from collections.abc import Sequence
from dataclasses import fields
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]
Labels = NDArray[np.int8]


class Columns:
    """Base of frozen dataclasses whose fields are all arrays with one entry, or one row, for each record."""

    def __len__(self) -> int:
        """The number of records."""
        return len(_arrays(self)[0])

    def take(self, rows: Ints | Bools | slice) -> Self:
        """Return the records at `rows`: numbers, a mask, or a slice."""
        return type(self)(*(array[rows] for array in _arrays(self)))

    @classmethod
    def joined(cls, parts: Sequence[Self]) -> Self:
        """Return the records of all `parts` (at least one), in their order."""
        columns: list[tuple[Any, ...]] = list(zip(*map(_arrays, parts), strict=True))
        return cls(*(np.concatenate(column) for column in columns))


def _arrays(columns: Columns) -> list[NDArray[Any]]:
    return [getattr(columns, field.name) for field in fields(columns)]  # type: ignore[arg-type]
