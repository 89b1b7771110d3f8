"""An index refilled from another's contents, in the one order that loses nothing. Holds no rows itself."""

from typing import Protocol

import numpy as np

from serving.index.protocol import IndexContents, IntArray, Rows


class Refillable(Protocol):
    """The writes of an index."""

    def upsert(self, rows: Rows) -> int:
        """See `CandidateIndex.upsert`."""
        ...

    def delete(self, candidate_ids: list[str], versions: IntArray) -> int:
        """See `CandidateIndex.delete`."""
        ...

    def expire(self, created_before_ms: int) -> list[str]:
        """See `CandidateIndex.expire`."""
        ...


def take_over(index: Refillable, contents: IndexContents) -> None:
    """Write the rows, then the horizon, then the deletes.

    Rows first: an update may carry a version time before the horizon while its creation time is not; after it, it would be refused.
    """
    index.upsert(contents.rows)
    index.expire(contents.expired_before_ms)
    if contents.deleted:
        index.delete(list(contents.deleted), np.array(list(contents.deleted.values()), np.int64))
