"""Examples that were written lately: a delete of their user may have passed before them. Knows no joins and no deletes.

User state writes the null of a delete on `examples` before the state that tells of it can be seen by a labeler. What is written in
between stands behind that null.
"""

from collections import deque
from collections.abc import Iterator

from schemas.records.feedback import Example

# a delete is seen so long after its null at most, where all is well
_SEEN_WITHIN_MS = 10_000


class LatelyWritten:
    """Those of one partition, in the order in which they were written."""

    def __init__(self) -> None:
        """Know of none."""
        # (since when in wall clock, store key, user, event time)
        self._written: deque[tuple[int, str, str, int]] = deque()

    def note(self, key: str, example: Example, now_ms: int) -> None:
        """Take note of an example that is written now, of the join under a store key."""
        self._written.append((now_ms, key, example.user_id, example.event_time_ms))

    def settled(self, now_ms: int) -> Iterator[tuple[str, str, int]]:
        """Yield store key, user and event time of those that no delete not seen by now can have passed; each once."""
        # one from a clock that was set back since is settled at once: the end of its join is looked at too
        while self._written and not 0 <= now_ms - self._written[0][0] < _SEEN_WITHIN_MS:
            yield self._written.popleft()[1:]
