"""One finding of the search: where an id is still mentioned, why, and until when at the latest."""

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
