"""Windows that are due, and wait for the user states they take a history from. Knows no joins, and not how far the states are.

A user's history comes round by another role: the labelers of all partitions write `user-events`, user state folds them. Of a window
that closed before they have, training would know less than a node did.
"""

from collections import deque
from collections.abc import Iterator, Mapping
from typing import Protocol

from streams.labeler.watermark import NEVER_MS

OUT_OF_ORDER_MS = 1_000
"""What was sent one after the other to different partitions is appended in that order but for so much: each has its own queue."""


class Reach(Protocol):
    """How far the user states that the labeler sees reflect its inputs, of all partitions, in Unix milliseconds of append time."""

    @property
    def given_up(self) -> bool:
        """Whether the states stay behind for longer than a window waits: until they have caught up no other one does."""
        ...

    def read(self, append_ms: int) -> None:
        """Take note that a record appended then was read."""
        ...

    def want(self, needed_ms: int) -> None:
        """Ask for states that reflect what was appended up to then."""
        ...

    def covers(self, needed_ms: int) -> bool:
        """Tell whether the states reflect what was appended up to then."""
        ...

    def give_up(self, needed_ms: int) -> None:
        """Take note of a window that closes without the states it needed."""
        ...


class NothingAwaited:
    """A `Reach` for who closes windows by the watermark alone."""

    given_up = False

    def see(self, next_offsets: Mapping[int, int]) -> None:
        """See `streams.labeler.reach.UserStatesReach`."""

    def read(self, append_ms: int) -> None:
        """See `Reach`."""

    def want(self, needed_ms: int) -> None:
        """See `Reach`."""

    def covers(self, needed_ms: int) -> bool:
        """See `Reach`."""
        return True

    def give_up(self, needed_ms: int) -> None:
        """See `Reach`."""


def needed_ms(event_time_ms: int, append_ms: int, lateness_ms: int) -> int:
    """Return the append time up to which lies an impression's history: events of before it, late by the lateness at most.

    A replay appends long after its event times, nearly in their order: there the impression's own append time, and a little, is the
    later.
    """
    return max(append_ms + OUT_OF_ORDER_MS, min(event_time_ms, append_ms) + lateness_ms)


class HeldWindows:
    """Those of one partition, in the order in which they were due."""

    def __init__(self, reach: Reach, longest_ms: int) -> None:
        """Hold none.

        Args:
            longest_ms: how long a window waits before it closes with the states there are.
        """
        self._reach = reach
        self._longest_ms = longest_ms
        # (since when in wall clock, append time needed, key)
        self._held: deque[tuple[int, int, str]] = deque()

    def __len__(self) -> int:
        return len(self._held)

    def holds(self, key: str, needed_ms: int, now_ms: int) -> bool:
        """Hold a window that is due, unless it needs no states, or those are there; tell whether it is held."""
        if needed_ms == NEVER_MS or self._reach.covers(needed_ms):
            return False
        self._held.append((now_ms, needed_ms, key))
        return True

    def let_go(self, now_ms: int) -> Iterator[str]:
        """Yield the keys of windows that wait no longer, each once."""
        while self._held:
            since_ms, needed_ms, key = self._held[0]
            if not self._reach.covers(needed_ms):
                self._reach.want(needed_ms)
                if not self._reach.given_up and now_ms - since_ms < self._longest_ms:
                    # a clock that was set back must not make it wait for as long
                    self._held[0] = (min(since_ms, now_ms), needed_ms, key)
                    return
                self._reach.give_up(needed_ms)
            self._held.popleft()
            yield key
