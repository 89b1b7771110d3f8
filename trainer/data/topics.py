"""What the trainer follows on the broker: examples, candidates and rollouts. Encodes nothing and decides nothing.

Each tail keeps its reader and what it read, so that asking again costs only what is new.
"""

import logging
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from schemas.codec import decode
from schemas.errors import BrokerUnavailable, InvalidInput
from schemas.records.candidates import Candidate
from schemas.records.control import Rollout
from schemas.records.feedback import Example
from schemas.rollout import fold, nothing_yet
from schemas.surfaces import Surface, Surfaces, surfaces_of
from schemas.topics import CANDIDATES, EXAMPLES, ROLLOUTS
from schemas.wire.inbound import InboundRecord
from schemas.wire.tail import TailReader
from trainer.data.windows import LoggedExample, Window

log = logging.getLogger(__name__)

_BATCH = 10_000
# a broker that answers nothing for this long is away
_SILENCE_POLLS = 30


def partitions_of(bootstrap: str, topic: str, *, timeout_s: float = 10.0) -> list[int]:
    """Return a topic's partitions.

    Raises:
        BrokerUnavailable: no broker answers, or the topic does not exist yet.
    """
    try:
        found = AdminClient({"bootstrap.servers": bootstrap, "log.connection.close": False}).list_topics(timeout=timeout_s).topics
    except KafkaException as error:
        raise BrokerUnavailable(f"no broker at {bootstrap}: {error.args[0].str()}; start one with `roost up`") from error
    if topic not in found:
        raise BrokerUnavailable(f"topic {topic} does not exist at {bootstrap}; `roost up` or the role that writes it creates it")
    return sorted(found[topic].partitions)


class _Tail:
    """Reads one topic, committed records only, from given offsets to its present end, again and again."""

    def __init__(self, bootstrap: str, topic: str, *, start: Mapping[int, int] | None = None) -> None:
        partitions = partitions_of(bootstrap, topic)
        self._reader = TailReader(bootstrap, topic, partitions, start=start, read_committed=True)
        ends = self._reader.end_offsets()
        if beyond := {p: offset for p, offset in (start or {}).items() if offset > ends.get(p, 0)}:
            log.warning("%s ends before offsets %s: it was recreated, and is read from its beginning", topic, beyond)
            self._reader.close()
            kept = {p: offset for p, offset in (start or {}).items() if p not in beyond}
            self._reader = TailReader(bootstrap, topic, partitions, start=kept, read_committed=True)

    @property
    def next_offsets(self) -> dict[int, int]:
        return self._reader.next_offsets

    def read(self, take: Callable[[InboundRecord], None]) -> None:
        """Hand over everything up to the end that the topic has now; a stream that goes on cannot keep it from returning."""
        ends = self._reader.end_offsets()
        silent = 0
        # behind transaction markers a reader stands at the end without reaching the high-water mark: either will do
        open_partitions = {p for p, end in ends.items() if self._reader.next_offsets[p] < end}
        while open_partitions:
            records = self._reader.poll(_BATCH, 1.0)
            silent = 0 if records else silent + 1
            if silent > _SILENCE_POLLS:
                raise BrokerUnavailable(
                    f"{self._reader.topic} yields nothing although it is not read to its end; is a broker down?"
                )
            for record in records:
                take(record)
            following = self._reader.next_offsets
            open_partitions = {p for p in open_partitions if following[p] < ends[p] and not self._reader.at_end(p)}

    def close(self) -> None:
        self._reader.close()


@dataclass(slots=True)
class _Kept:
    first: int | None = None
    entries: deque[LoggedExample] = field(default_factory=deque)


class ExampleTail:
    """One surface's examples, from any offset to the present."""

    def __init__(self, bootstrap: str, surface: str, *, max_examples: int = 500_000) -> None:
        """Connect to nothing yet.

        Args:
            max_examples: the newest that are kept; older ones are forgotten, and windows begin behind them.
        """
        self._bootstrap = bootstrap
        self._surface = surface
        self._max_examples = max_examples
        self._tail: _Tail | None = None
        self._kept: dict[int, _Kept] = {}
        self._start: dict[int, int] = {}
        self._count = 0
        self._skipped = 0

    def window(self, start: Mapping[int, int] | None = None) -> Window:
        """Return what lies between `start` (by partition; the log's beginning where it is missing) and the present end.

        The window's first offset is later than asked where retention, or `max_examples`, has taken the beginning.

        Raises:
            BrokerUnavailable: no broker, or no such topic yet.
        """
        start = dict(start or {})
        if self._tail is not None and any(start.get(p, 0) < first for p, first in self._start.items()):
            # back to before what is kept: an older bundle went live again
            self.close()
        if self._tail is None:
            self._begin(start)
        assert self._tail is not None  # noqa: S101  `_begin` made it
        self._tail.read(self._take)
        following = self._tail.next_offsets
        # an offset behind the end belongs to a topic that was recreated since
        start = {p: offset for p, offset in start.items() if offset <= following.get(p, -1)}
        self._forget_before(start)
        offsets = {p: (min(self._first(p, start), following[p]), following[p]) for p in following}
        logged = tuple(entry for kept in self._kept.values() for entry in kept.entries)
        return Window(logged, offsets, self._skipped)

    def close(self) -> None:
        """Let go of the broker and of what was read."""
        if self._tail is not None:
            self._tail.close()
        self._tail, self._kept, self._count, self._skipped = None, {}, 0, 0

    def _begin(self, start: dict[int, int]) -> None:
        self._tail = _Tail(self._bootstrap, EXAMPLES, start=start)
        self._kept = {p: _Kept() for p in self._tail.next_offsets}
        self._start = {p: start.get(p, 0) for p in self._kept}

    def _take(self, record: InboundRecord) -> None:
        kept = self._kept[record.partition]
        if kept.first is None:
            kept.first = record.offset
        if record.value is None:
            return
        try:
            example = decode(Example, record.value)
        except InvalidInput as error:
            self._skipped += 1
            log.warning("skipped %s/%d/%d: %s", record.topic, record.partition, record.offset, error)
            return
        if example.surface == self._surface:
            kept.entries.append(LoggedExample(record.partition, record.offset, example))
            self._count += 1
            if self._count > self._max_examples:
                self._drop(max(self._kept.values(), key=lambda one: len(one.entries)))

    def _forget_before(self, start: Mapping[int, int]) -> None:
        for partition, kept in self._kept.items():
            wanted = start.get(partition, 0)
            while kept.entries and kept.entries[0].offset < wanted:
                self._drop(kept)
            if kept.first is not None:
                kept.first = max(kept.first, wanted)
            self._start[partition] = max(self._start[partition], wanted)

    def _drop(self, kept: _Kept) -> None:
        kept.first = kept.entries.popleft().offset + 1
        self._count -= 1

    def _first(self, partition: int, start: Mapping[int, int]) -> int:
        first = self._kept[partition].first
        return start.get(partition, 0) if first is None else first


class CorpusTail:
    """One surface's candidates as the embedder last wrote them."""

    def __init__(self, bootstrap: str, surface: Surface, surfaces: Surfaces) -> None:
        """Connect to nothing yet."""
        self._bootstrap = bootstrap
        self._surface = surface
        self._surfaces = surfaces
        self._tail: _Tail | None = None
        self._candidates: dict[str, Candidate] = {}

    def candidates(self, now_ms: int) -> list[Candidate]:
        """Return what a retrieval could return at `now_ms`: created, not deleted, within the surface's recency window.

        Raises:
            BrokerUnavailable: no broker, or no such topic yet.
        """
        if self._tail is None:
            self._tail = _Tail(self._bootstrap, CANDIDATES)
        self._tail.read(self._take)
        return [
            candidate
            for candidate in self._candidates.values()
            if candidate.attributes is not None and self._surface.holds(candidate.attributes.created_ms, now_ms)
        ]

    def close(self) -> None:
        """Let go of the broker and of what was read."""
        if self._tail is not None:
            self._tail.close()
        self._tail, self._candidates = None, {}

    def _take(self, record: InboundRecord) -> None:
        candidate_id = (record.key or b"").decode("utf-8", "replace")
        # only the embedder writes here, and it has folded: the last record of a key is its state
        self._candidates.pop(candidate_id, None)
        if record.value is None:
            return
        try:
            candidate = decode(Candidate, record.value)
        except InvalidInput as error:
            log.warning("skipped %s/%d/%d: %s", record.topic, record.partition, record.offset, error)
            return
        if candidate.deleted or candidate.is_stub or self._surface not in surfaces_of(candidate_id, self._surfaces):
            return
        self._candidates[candidate_id] = candidate


class RolloutTail:
    """The rollout state of every surface."""

    def __init__(self, bootstrap: str) -> None:
        """Connect to nothing yet."""
        self._bootstrap = bootstrap
        self._tail: _Tail | None = None
        self._states: dict[str, Rollout] = {}

    def state(self, surface: str) -> Rollout:
        """Return a surface's state now; raises `BrokerUnavailable` without a broker or the topic."""
        if self._tail is None:
            self._tail = _Tail(self._bootstrap, ROLLOUTS)
        self._tail.read(self._take)
        return self._states.get(surface, nothing_yet(surface))

    def close(self) -> None:
        """Let go of the broker and of what was read."""
        if self._tail is not None:
            self._tail.close()
        self._tail, self._states = None, {}

    def _take(self, record: InboundRecord) -> None:
        if record.value is None:
            return
        try:
            rollout = decode(Rollout, record.value)
        except InvalidInput as error:
            log.warning("skipped %s/%d/%d: %s", record.topic, record.partition, record.offset, error)
            return
        self._states[rollout.surface] = fold(self._states.get(rollout.surface, nothing_yet(rollout.surface)), rollout)


class TopicSources:
    """All that a schedule reads of one surface, on one broker. Close it, or use it as a context."""

    def __init__(self, bootstrap: str, surface: Surface, surfaces: Surfaces, *, max_examples: int = 500_000) -> None:
        """Connect to nothing yet."""
        self._rollouts = RolloutTail(bootstrap)
        self._examples = ExampleTail(bootstrap, surface.name, max_examples=max_examples)
        self._corpus = CorpusTail(bootstrap, surface, surfaces)
        self._surface = surface

    def rollout(self) -> Rollout:
        """Return the surface's rollout state now."""
        return self._rollouts.state(self._surface.name)

    def window(self, start: Mapping[int, int] | None = None) -> Window:
        """Return the examples from `start` to the present; see `ExampleTail.window`."""
        return self._examples.window(start)

    def candidates(self, now_ms: int) -> list[Candidate]:
        """Return the corpus at `now_ms`; see `CorpusTail.candidates`."""
        return self._corpus.candidates(now_ms)

    def close(self) -> None:
        """Let go of the broker."""
        for tail in (self._rollouts, self._examples, self._corpus):
            tail.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()
