"""What the index refuses, as types. Every message says which rows or what to change.

LiveIndexError
├── InvalidRows            a batch that must not be stored (ValueError too)
│   ├── WrongDimension     the vectors are not [n, dim] of this index
│   ├── MisalignedRows     columns of different lengths
│   └── UnusableVectors    NaN, infinity or zero length; names the offending positions
├── InvalidQuery           a query vector or k that has no answer (ValueError too)
└── IndexClosed            the index was closed; open another
"""

from collections.abc import Sequence

from schemas.errors import RoostError


class LiveIndexError(RoostError):
    """Base of everything this package raises on purpose."""


class InvalidRows(LiveIndexError, ValueError):
    """A batch was refused whole; nothing of it was stored."""


class WrongDimension(InvalidRows):
    """The vectors do not have this index's dimension."""


class MisalignedRows(InvalidRows):
    """The columns of one batch do not have one length."""


class UnusableVectors(InvalidRows):
    """Some vectors are NaN, infinite or zero, so no cosine exists for them.

    `positions` are their places in the batch and `candidate_ids` their ids, so that the caller can drop exactly those.
    """

    def __init__(self, positions: Sequence[int], candidate_ids: Sequence[str]) -> None:
        self.positions = tuple(positions)
        self.candidate_ids = tuple(candidate_ids)
        shown = ", ".join(self.candidate_ids[:5])
        super().__init__(
            f"{len(self.positions)} vectors are NaN, infinite or zero (first: {shown}); "
            "drop those rows and raise an alarm on the tower that made them"
        )


class InvalidQuery(LiveIndexError, ValueError):
    """The query vector, k or filter cannot be answered."""


class IndexClosed(LiveIndexError):
    """A closed index takes no more reads or writes."""
