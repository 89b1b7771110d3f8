"""One finding of the search: where an id is still mentioned, why, and until when at the latest."""

from collections.abc import Collection
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Trace:
    """A place that mentions the id.

    Attributes:
        place: a topic, or a file.
        why: a word for the reason, by which findings of a topic are put together.
        count: records or entries.
        at: one of them: topic/partition/offset, or a column of a snapshot.
        until_ms: when it is gone at the latest, Unix milliseconds; None where nothing ends it.
        sentence: what ends it, for people.
    """

    place: str
    why: str
    count: int
    at: str
    until_ms: int | None
    sentence: str


def last_end_ms(ends_ms: Collection[int | None]) -> int | None:
    """Return when the last of several things is gone; None where nothing ends one of them, or there are none."""
    known = [end_ms for end_ms in ends_ms if end_ms is not None]
    return max(known, default=None) if len(known) == len(ends_ms) else None
