"""Rows for an index that differ by their number alone, as far as a test does not ask for more. Holds no test."""

from collections.abc import Sequence

import numpy as np

from serving.index import Rows


def numbered_rows(
    vectors: np.ndarray,
    first: int = 0,
    *,
    sequence: int = 0,
    languages: Sequence[str] | None = None,
    author_ids: Sequence[str] | None = None,
    payloads: Sequence[bytes] | None = None,
) -> Rows:
    """Return candidates t:first, t:first + 1, … of `vectors`, [n, dim] float32: each created, and versioned, at its number."""
    count = len(vectors)
    numbers = np.arange(first, first + count)
    return Rows(
        candidate_ids=[f"t:{number}" for number in numbers.tolist()],
        vectors=vectors,
        versions=np.stack([numbers, np.full_like(numbers, sequence)], axis=1),
        created_ms=numbers,
        languages=["en"] * count if languages is None else languages,
        author_ids=["a:1"] * count if author_ids is None else author_ids,
        payloads=[b""] * count if payloads is None else payloads,
    )
