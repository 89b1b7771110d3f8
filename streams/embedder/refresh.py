"""Which candidates that engagements changed are embedded again, and when. Embeds and folds nothing; a steady time is passed in.

Creates, updates and deletes never wait for a policy: it is only told of them. What a policy holds back is the newest state of a
candidate, so that a hundred engagements in the meantime cost one vector. A policy that takes over from another is given what that
one knew and held back. Nothing here outlives the process: after a restart, the corpus of a surface with a policy is written again,
behind the live traffic.
"""

import heapq
from collections import OrderedDict, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from functools import lru_cache
from operator import attrgetter
from typing import NamedTuple, Protocol

from schemas.records.candidates import Candidate, Counters
from schemas.surfaces import Surface

# no vector is older than this much, however little its change is thought to matter
VALUE_BOUND_S = 60.0
_counts = attrgetter(*(field.name for field in fields(Counters)))
_KEPT = 8_192


class Refresh(Protocol):
    """One policy for the candidates of one surface in one partition. One thread. `now_ms` is of a clock that nobody sets."""

    def embedded(self, candidates: Sequence[Candidate], now_ms: int) -> None:
        """Note candidates that were embedded, or deleted, for another reason."""

    def engaged(self, candidates: Sequence[Candidate], now_ms: int) -> list[Candidate]:
        """Take candidates whose counters changed; return those to embed at once."""

    def due(self, now_ms: int, limit: int) -> list[Candidate]:
        """Return candidates whose turn has come, at most `limit`; what is left comes with the next call."""

    @property
    def memory(self) -> "Memory | None":
        """What was embedded last; None where nobody asks."""

    def held_back(self) -> list[Candidate]:
        """Return the candidates that wait for their turn."""


def refresh_for(surface: Surface, *, partitions: int = 1, after: Refresh | None = None) -> Refresh:
    """Return the policy that a surface names, for one of its partitions: a budget is the surface's, so each has its share.

    Args:
        after: the policy it takes over from. What that one held back is still to be handed to `engaged`.
    """
    name, _, amount = surface.refresh.partition("=")
    memory = after.memory if after is not None else None
    if memory is None:
        memory = Memory(int(surface.recency_window_s * 1000))
    if name == "every":
        return Every(memory, int(float(amount[:-1]) * 1000))
    if name == "threshold":
        return Threshold(memory)
    if name == "value":
        return Value(memory, rows_per_s=float(amount.removesuffix("/s")) / partitions)
    return WriteTime()


@dataclass(frozen=True, slots=True)
class Embedded:
    """What the newest vector of a candidate was computed from.

    Attributes:
        at_ms: when, in milliseconds of the clock that is passed in.
        steps: the logarithmic step each counter was on.
        total: all engagements together.
    """

    at_ms: int
    steps: tuple[int, ...]
    total: int


class Memory:
    """What was embedded last, by candidate, for as long as it is retrievable."""

    def __init__(self, window_ms: int) -> None:
        """Remember for a window; 0 means for ever."""
        self._window_ms = window_ms
        # oldest first; to find a dict's first key passes over all that were removed before it
        self._last: OrderedDict[str, Embedded] = OrderedDict()

    def get(self, candidate_id: str) -> Embedded | None:
        """Return what a candidate's newest vector was computed from; None when it is not known."""
        return self._last.get(candidate_id)

    def note(self, candidates: Iterable[Candidate], now_ms: int) -> None:
        """Note candidates that were embedded, or deleted."""
        last = self._last
        for candidate in candidates:
            last.pop(candidate.candidate_id, None)
            if not candidate.deleted:
                last[candidate.candidate_id] = Embedded(now_ms, *_measured(_counts(candidate.counters)))
        while self._window_ms and last and now_ms - (oldest := next(iter(last.items())))[1].at_ms > self._window_ms:
            del last[oldest[0]]

    def __len__(self) -> int:
        return len(self._last)


def steps_of(counters: Counters) -> tuple[int, ...]:
    """Return floor(log2(1 + n)) + 1 of each count: as long as none moves, neither does a feature, nor the vector."""
    return _measured(_counts(counters))[0]


def total_of(counters: Counters) -> int:
    """Return all engagements together."""
    return _measured(_counts(counters))[1]


# what is new has no counts, and most have few: they share what is told of them
@lru_cache(_KEPT)
def _measured(counts: tuple[int, ...]) -> tuple[tuple[int, ...], int]:
    # as stored: below 0 counts as 0
    clipped = [max(count, 0) for count in counts]
    return tuple([(1 + count).bit_length() for count in clipped]), sum(clipped)


class WriteTime:
    """Every candidate that was engaged with, at the next checkpoint."""

    memory = None

    def embedded(self, candidates: Sequence[Candidate], now_ms: int) -> None:
        """See `Refresh`."""

    def engaged(self, candidates: Sequence[Candidate], now_ms: int) -> list[Candidate]:
        """See `Refresh`."""
        return list(candidates)

    def due(self, now_ms: int, limit: int) -> list[Candidate]:
        """See `Refresh`."""
        return []

    def held_back(self) -> list[Candidate]:
        """See `Refresh`."""
        return []


class Every:
    """At most once a cadence for each candidate, and then as it is by then."""

    def __init__(self, memory: Memory, cadence_ms: int) -> None:
        """Embed a candidate at most every `cadence_ms`."""
        self.memory = memory
        self._cadence_ms = cadence_ms
        # with its turn: one that was embedded for another reason meanwhile leaves an old turn behind
        self._pending: dict[str, tuple[int, Candidate]] = {}
        self._turns: list[tuple[int, str]] = []

    def embedded(self, candidates: Sequence[Candidate], now_ms: int) -> None:
        """See `Refresh`."""
        for candidate in candidates:
            self._pending.pop(candidate.candidate_id, None)
        self.memory.note(candidates, now_ms)

    def engaged(self, candidates: Sequence[Candidate], now_ms: int) -> list[Candidate]:
        """See `Refresh`."""
        now = []
        for candidate in candidates:
            last = self.memory.get(candidate.candidate_id)
            if last is None or now_ms - last.at_ms >= self._cadence_ms:
                now.append(candidate)
            else:
                turn_ms = last.at_ms + self._cadence_ms
                if candidate.candidate_id not in self._pending:
                    heapq.heappush(self._turns, (turn_ms, candidate.candidate_id))
                self._pending[candidate.candidate_id] = (turn_ms, candidate)
        self.embedded(now, now_ms)
        return now

    def due(self, now_ms: int, limit: int) -> list[Candidate]:
        """See `Refresh`."""
        now: list[Candidate] = []
        while len(now) < limit and self._turns and self._turns[0][0] <= now_ms:
            turn_ms, candidate_id = heapq.heappop(self._turns)
            waiting = self._pending.get(candidate_id)
            if waiting is not None and waiting[0] == turn_ms:
                del self._pending[candidate_id]
                now.append(waiting[1])
        self.embedded(now, now_ms)
        return now

    def held_back(self) -> list[Candidate]:
        """See `Refresh`."""
        return [candidate for _, candidate in self._pending.values()]


class Threshold:
    """When the engagements have passed 1, 2, 4, 8, … since the vector was computed; undone ones count too."""

    def __init__(self, memory: Memory) -> None:
        self.memory = memory

    def embedded(self, candidates: Sequence[Candidate], now_ms: int) -> None:
        """See `Refresh`."""
        self.memory.note(candidates, now_ms)

    def engaged(self, candidates: Sequence[Candidate], now_ms: int) -> list[Candidate]:
        """See `Refresh`."""
        now = [candidate for candidate in candidates if self._passed(candidate)]
        self.embedded(now, now_ms)
        return now

    def due(self, now_ms: int, limit: int) -> list[Candidate]:
        """See `Refresh`."""
        return []

    def held_back(self) -> list[Candidate]:
        """See `Refresh`."""
        return []

    def _passed(self, candidate: Candidate) -> bool:
        last = self.memory.get(candidate.candidate_id)
        return last is None or total_of(candidate.counters).bit_length() != last.total.bit_length()


def steps_moved(last: Embedded, candidate: Candidate) -> float:
    """Return by how many logarithmic steps the counters have moved: features are those steps, so 0 means the very same vector."""
    steps = steps_of(candidate.counters)
    return 0.0 if steps == last.steps else float(sum([abs(now - then) for now, then in zip(steps, last.steps, strict=True)]))


class _Waiting(NamedTuple):
    since_ms: int
    gain: float
    candidate: Candidate


class Value:
    """A budget of vectors a second, spent where the vector is expected to move most; what cannot have moved costs nothing."""

    def __init__(self, memory: Memory, *, rows_per_s: float, bound_s: float = VALUE_BOUND_S) -> None:
        """Spend `rows_per_s`; a candidate that has waited `bound_s` is embedded whatever the budget says."""
        self.memory = memory
        self._rows_per_s = rows_per_s
        self._bound_ms = int(bound_s * 1000)
        # who waits longest is first; to find a dict's first key passes over all that were removed before it
        self._pending: OrderedDict[str, _Waiting] = OrderedDict()
        # the same ids by gain, of which there are few: counters move by whole steps
        self._of_gain: defaultdict[float, OrderedDict[str, None]] = defaultdict(OrderedDict)
        self._credit = 0.0
        self._credited_ms: int | None = None

    def embedded(self, candidates: Sequence[Candidate], now_ms: int) -> None:
        """See `Refresh`."""
        for candidate in candidates:
            self._drop(candidate.candidate_id)
        self.memory.note(candidates, now_ms)

    def engaged(self, candidates: Sequence[Candidate], now_ms: int) -> list[Candidate]:
        """See `Refresh`."""
        for candidate in candidates:
            candidate_id = candidate.candidate_id
            last, before = self.memory.get(candidate_id), self._pending.get(candidate_id)
            gain = float("inf") if last is None else steps_moved(last, candidate)
            if gain == 0:
                self._drop(candidate_id)
                continue
            since_ms = now_ms if before is None else before.since_ms
            self._pending[candidate_id] = _Waiting(since_ms, gain, candidate)
            if before is None or before.gain != gain:
                if before is not None:
                    self._unrank(candidate_id, before.gain)
                self._of_gain[gain][candidate_id] = None
        return []

    def due(self, now_ms: int, limit: int) -> list[Candidate]:
        """See `Refresh`."""
        if self._credited_ms is not None:
            self._credit += self._rows_per_s * (now_ms - self._credited_ms) / 1000
        self._credited_ms = now_ms
        now: list[Candidate] = []
        while len(now) < limit and (waiting := self._late(now_ms) or self._most_moved()):
            self._drop(waiting.candidate.candidate_id)
            self._credit -= 1
            now.append(waiting.candidate)
        self.memory.note(now, now_ms)
        # what a quiet second leaves is there for the next one, not for a storm an hour later
        self._credit = min(max(self._credit, -self._rows_per_s), max(self._rows_per_s, 1.0))
        return now

    def _late(self, now_ms: int) -> _Waiting | None:
        longest = next(iter(self._pending.values()), None)
        return longest if longest is not None and now_ms - longest.since_ms >= self._bound_ms else None

    def _most_moved(self) -> _Waiting | None:
        if self._credit < 1 or not self._of_gain:
            return None
        return self._pending[next(iter(self._of_gain[max(self._of_gain)]))]

    def _drop(self, candidate_id: str) -> None:
        if (waiting := self._pending.pop(candidate_id, None)) is not None:
            self._unrank(candidate_id, waiting.gain)

    def _unrank(self, candidate_id: str, gain: float) -> None:
        del self._of_gain[gain][candidate_id]
        if not self._of_gain[gain]:
            del self._of_gain[gain]

    def held_back(self) -> list[Candidate]:
        """See `Refresh`."""
        return [waiting.candidate for waiting in self._pending.values()]
