"""Finds out how far user states reflect the labelers' inputs, by offsets alone. Asks no broker itself, and starts no thread.

A barrier is a moment of append time followed through the three logs that an event takes to its user's state:

1. where `impressions` and `engagements` stood at that moment, in every partition: read once all labelers have folded up to there;
2. then where `users` and `user-events` end, which holds all that the labelers made of it: folded once user state has come so far;
3. then where `user-states` ends: seen once the labeler has read so far.

How far a role has folded its own process says at once (`FoldedPositions`), and its group's committed offsets say it of any process:
both only when all that came of it is in its log. So no record needs a mark, and it does not matter who owns which partition.
"""

import math
import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import Protocol

from schemas.positions import Place
from streams.labeler.watermark import NEVER_MS
from streams.runner.folded import FoldedPositions

# what is wanted meanwhile waits so long for the next: each costs three questions
_BEGUN_EVERY_S = 0.2
# at most so many under way: states that lag are asked for less finely, and not ever more often
_MOST_UNDER_WAY = 16
# a process hears of its own partitions within the batch; others are asked about, which commit once a second
_ASK_COMMITTED_S = 0.5

Ends = Mapping[Place, int]


class Logs(Protocol):
    """The broker's part. Every method may raise what its client does; the step is then taken again."""

    def inputs_at(self, time_ms: int | None) -> Ends:
        """Return the offsets up to which lies what was appended to the labelers' inputs until then; None means now."""
        ...

    def ends_of_user_inputs(self) -> Ends:
        """Return where user state's inputs end."""
        ...

    def ends_of_user_states(self) -> Ends:
        """Return where `user-states` ends."""
        ...

    def committed(self) -> Mapping[Place, int | None]:
        """Return the next offsets committed, of the inputs of both."""
        ...


class Barriers:
    """Barriers under way. `step` is one thread's, `see` and the rest another's.

    Attributes:
        seen_ms: what was appended to the labelers' inputs up to then is reflected by the user states seen.
    """

    def __init__(
        self,
        logs: Logs,
        folded: FoldedPositions,
        *,
        lateness_ms: int,
        clock_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
        clock_s: Callable[[], float] = time.monotonic,
    ) -> None:
        """Begin with none.

        Args:
            lateness_ms: the longest of any surface: so much later than what was read lies the furthest that anybody needs.
        """
        self.seen_ms = NEVER_MS
        self._logs = logs
        self._folded = folded
        self._lateness_ms = lateness_ms
        self._clock_ms = clock_ms
        self._clock_s = clock_s
        self._newest_ms = NEVER_MS
        self._wanted_ms = NEVER_MS
        self._begun_ms = NEVER_MS
        self._read: deque[tuple[int, Ends]] = deque()
        self._fold: deque[tuple[int, Ends]] = deque()
        self._see: deque[tuple[int, Ends]] = deque()
        self._begun_s = self._looked_s = -math.inf

    def read(self, append_ms: int) -> None:
        """See `streams.labeler.held.Reach`."""
        self._newest_ms = max(self._newest_ms, append_ms)

    def want(self, needed_ms: int) -> bool:
        """Ask for what was appended up to then; tells whether no barrier was begun for it yet."""
        self._wanted_ms = max(self._wanted_ms, needed_ms)
        return self._wanted_ms > self._begun_ms

    def see(self, next_offsets: Mapping[int, int]) -> None:
        """Take note of how far `user-states` was read, by partition."""
        while self._see and all(next_offsets.get(partition, 0) >= end for (_, partition), end in self._see[0][1].items()):
            self.seen_ms = self._see.popleft()[0]

    def step(self) -> bool:
        """Begin a barrier if one is wanted, and take those under way as far as they have come; tell whether there is any."""
        self._begin()
        if (at_ms := self._passed(self._read)) is not None:
            self._fold.append((at_ms, self._logs.ends_of_user_inputs()))
            self._forget(self._read, at_ms)
        if (at_ms := self._passed(self._fold)) is not None:
            self._see.append((at_ms, self._logs.ends_of_user_states()))
            self._forget(self._fold, at_ms)
        return bool(self._read or self._fold or self._wanted_ms > self._begun_ms)

    def _begin(self) -> None:
        now_ms = self._clock_ms()
        # of a backlog no more than is needed: nobody waits until all of it is read
        at_ms = min(max(now_ms, self._newest_ms), self._newest_ms + self._lateness_ms)
        if not self._wanted_ms > self._begun_ms < at_ms or self._clock_s() - self._begun_s < _BEGUN_EVERY_S:
            return
        if len(self._read) + len(self._fold) + len(self._see) < _MOST_UNDER_WAY:
            self._read.append((at_ms, self._logs.inputs_at(at_ms if at_ms < now_ms else None)))
            self._begun_ms, self._begun_s = at_ms, self._clock_s()

    def _passed(self, barriers: deque[tuple[int, Ends]]) -> int | None:
        """Return the newest barrier that the positions have passed; offsets only grow, so that they are passed in order."""
        if barriers and not self._is_folded(barriers[0][1]) and self._clock_s() - self._looked_s >= _ASK_COMMITTED_S:
            self._folded.note({place: offset for place, offset in self._logs.committed().items() if offset is not None})
            self._looked_s = self._clock_s()
        passed = None
        for at_ms, ends in barriers:
            if not self._is_folded(ends):
                break
            passed = at_ms
        return passed

    def _is_folded(self, ends: Ends) -> bool:
        return all(self._folded.at(place) >= end for place, end in ends.items())

    @staticmethod
    def _forget(barriers: deque[tuple[int, Ends]], at_ms: int) -> None:
        while barriers and barriers[0][0] <= at_ms:
            barriers.popleft()
