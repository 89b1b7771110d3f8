"""What the trainer follows on the broker: examples, candidates and rollouts. Encodes nothing and decides nothing."""

import json
import sys
from collections import deque
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from confluent_kafka import KafkaException, TopicPartition

from schemas.errors import BrokerUnavailable
from schemas.progress import OnProgress, untold
from schemas.records.candidates import Candidate
from schemas.records.control import Rollout
from schemas.records.feedback import Example
from schemas.rollout import fold, nothing_yet
from schemas.surfaces import Surface, Surfaces, surfaces_of
from schemas.topics import CANDIDATES, EXAMPLES, ROLLOUTS
from schemas.voided import erased_ms_of
from schemas.wire.client import make_consumer
from schemas.wire.committed import committed_places
from schemas.wire.inbound import InboundRecord
from trainer.data.evidence import evidence_of, newest_served
from trainer.data.passed_over import PassedOver
from trainer.data.skew import Evidence
from trainer.data.tail import TopicTail, decoded, partitions_of
from trainer.data.windows import CorpusAt, LoggedExample, Window, next_offsets


@dataclass(slots=True)
class _Kept:
    """One partition's examples; `first` is the offset from which on all are kept, None before the first record."""

    first: int | None = None
    entries: deque[LoggedExample] = field(default_factory=deque)


class ExampleTail(TopicTail):
    """One surface's examples, from any offset to the present; none of before its user was deleted, which a null tells."""

    def __init__(
        self,
        bootstrap: str,
        surface: str,
        *,
        max_examples: int = 500_000,
        until: Mapping[int, int] | None = None,
        on_progress: OnProgress = untold,
    ) -> None:
        """Connect to nothing yet.

        Args:
            max_examples: the newest that are kept; older ones are forgotten, and windows begin behind them.
            until, on_progress: see `TopicTail`.
        """
        super().__init__(bootstrap, EXAMPLES, until=until, on_progress=on_progress)
        self._surface = surface
        self._max_examples = max_examples
        self._begin((), {})

    def window(self, start: Mapping[int, int] | None = None, *, of: str | None = None) -> Window:
        """Return what lies between `start` (by partition; the log's beginning where it is missing) and the present end.

        The window begins later than asked where retention, or `max_examples`, has taken the beginning.

        Args:
            of: id of the topic that they are offsets of: of another the window begins at its beginning. None says nothing of it.

        Raises:
            BrokerUnavailable: no broker, or no such topic yet.
        """
        wanted = dict(start or {})
        following = self._catch_up(wanted)
        if of not in (None, self._identity):
            wanted = {}
        # an offset behind the end belongs to a topic that was recreated since
        wanted = {p: offset for p, offset in wanted.items() if offset <= following.get(p, -1)}
        if any(wanted.get(p, 0) < first for p, first in self._start.items()):
            # back to before what is kept: an older bundle went live again
            self.close()
            following = self._catch_up(wanted)
        self._forget_before(wanted)
        offsets = {p: (min(self._first(p, wanted), following[p]), following[p]) for p in following}
        logged = tuple(entry for kept in self._kept.values() for entry in kept.entries)
        return Window(logged, offsets, self._skipped, dict(self._erased_ms), topic_id=self._identity)

    def _begin(self, partitions: Sequence[int], start: Mapping[int, int]) -> None:
        self._kept = {p: _Kept() for p in partitions}
        self._start = {p: start.get(p, 0) for p in partitions}
        self._erased_ms: dict[str, int] = {}
        self._count = 0
        self._skipped = 0

    def _take(self, record: InboundRecord) -> None:
        kept = self._kept[record.partition]
        if kept.first is None:
            kept.first = record.offset
        if record.value is None:
            self._erase((record.key or b"").decode("utf-8", "replace"), kept, erased_ms_of(record))
            return
        example = decoded(Example, record)
        if example is None:
            self._skipped += 1
        elif example.surface == self._surface and example.event_time_ms > self._erased_ms.get(example.user_id, -1):
            kept.entries.append(LoggedExample(record.partition, record.offset, example))
            self._count += 1
            if self._count > self._max_examples:
                self._drop(max(self._kept.values(), key=lambda one: len(one.entries)))

    def _erase(self, user_id: str, kept: _Kept, erased_ms: int) -> None:
        """Drop what a user was shown before being deleted; what of it comes later, such as a correction, is not taken."""
        if erased_ms <= self._erased_ms.get(user_id, -1):
            # the same delete again, or one of before it
            return
        self._erased_ms[user_id] = erased_ms
        before = len(kept.entries)
        kept.entries = deque(
            entry for entry in kept.entries if entry.example.user_id != user_id or entry.example.event_time_ms > erased_ms
        )
        self._count -= before - len(kept.entries)

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


class CorpusTail(TopicTail):
    """One surface's candidates as the embedder last wrote them."""

    def __init__(
        self,
        bootstrap: str,
        surface: Surface,
        surfaces: Surfaces,
        *,
        until: Mapping[int, int] | None = None,
        on_progress: OnProgress = untold,
    ) -> None:
        """Connect to nothing yet; `until` and `on_progress` as in `TopicTail`."""
        super().__init__(bootstrap, CANDIDATES, until=until, on_progress=on_progress)
        self._surface = surface
        self._surfaces = surfaces
        self._begin((), {})

    def candidates(self, now_ms: int) -> CorpusAt:
        """Return what a retrieval could return at `now_ms`: created, not deleted, within the surface's recency window.

        Raises:
            BrokerUnavailable: no broker, or no such topic yet.
        """
        offsets = self._catch_up()
        held = [
            candidate
            for _, candidate in sorted(self._candidates.items())
            if candidate.attributes is not None and self._surface.holds(candidate.attributes.created_ms, now_ms)
        ]
        return CorpusAt(held, offsets, now_ms)

    def newest(self, candidate_ids: Collection[str]) -> dict[str, Candidate]:
        """Return the present states of candidates, however old, by id; deleted ones are missing. Raises as `candidates`."""
        self._catch_up()
        return {name: self._candidates[name] for name in candidate_ids if name in self._candidates}

    def _begin(self, partitions: Sequence[int], start: Mapping[int, int]) -> None:
        self._candidates: dict[str, Candidate] = {}

    def _take(self, record: InboundRecord) -> None:
        candidate_id = (record.key or b"").decode("utf-8", "replace")
        # only the embedder writes here, and it has folded: the last record of a key is its state
        self._candidates.pop(candidate_id, None)
        candidate = decoded(Candidate, record)
        if candidate is None or candidate.deleted or candidate.is_stub:
            return
        if self._surface in surfaces_of(candidate_id, self._surfaces):
            self._candidates[candidate_id] = candidate


class RolloutTail(TopicTail):
    """The rollout state of every surface."""

    def __init__(self, bootstrap: str) -> None:
        """Connect to nothing yet."""
        super().__init__(bootstrap, ROLLOUTS)
        self._begin((), {})

    def state(self, surface: str) -> Rollout:
        """Return a surface's state now; raises `BrokerUnavailable` without a broker or the topic."""
        self._catch_up()
        return self._states.get(surface, nothing_yet(surface))

    def _begin(self, partitions: Sequence[int], start: Mapping[int, int]) -> None:
        self._states: dict[str, Rollout] = {}

    def _take(self, record: InboundRecord) -> None:
        rollout = decoded(Rollout, record)
        if rollout is not None:
            self._states[rollout.surface] = fold(self._states.get(rollout.surface, nothing_yet(rollout.surface)), rollout)


class TopicSources:
    """All that a schedule reads of one surface, on one broker. Close it, or use it as a context."""

    def __init__(
        self,
        bootstrap: str,
        surface: Surface,
        surfaces: Surfaces,
        *,
        max_examples: int = 500_000,
        on_progress: OnProgress = untold,
    ) -> None:
        """Connect to nothing yet; `on_progress` as in `TopicTail`, of all but the rollouts, which are short."""
        self._rollouts = RolloutTail(bootstrap)
        self._examples = ExampleTail(bootstrap, surface.name, max_examples=max_examples, on_progress=on_progress)
        self._corpus = CorpusTail(bootstrap, surface, surfaces, on_progress=on_progress)
        self._surface = surface
        self._bootstrap = bootstrap
        self._on_progress = on_progress

    def rollout(self) -> Rollout:
        """Return the surface's rollout state now."""
        return self._rollouts.state(self._surface.name)

    def window(self, start: Mapping[int, int] | None = None, *, of: str | None = None) -> Window:
        """Return the examples from `start` to the present; see `ExampleTail.window`."""
        return self._examples.window(start, of=of)

    def candidates(self, now_ms: int) -> CorpusAt:
        """Return the corpus at `now_ms`; see `CorpusTail.candidates`."""
        return self._corpus.candidates(now_ms)

    def evidence(self, examples: Sequence[Example], *, sample: int) -> Evidence:
        """Return what an audit of the newest `sample` served ones of these examples compares; see `evidence_of`."""
        served = newest_served(examples, sample)
        candidates = self._corpus.newest({one.candidate_id for one in served})
        return evidence_of(self._bootstrap, served, candidates, on_progress=self._on_progress)

    def passed_over(self) -> PassedOver:
        """Return what was kept last; see `read_passed_over`."""
        return read_passed_over(self._bootstrap, self._surface.name)

    def pass_over(self, passed_over: PassedOver) -> None:
        """Keep what is not to be trained on again; see `keep_passed_over`."""
        keep_passed_over(self._bootstrap, self._surface.name, passed_over)

    def close(self) -> None:
        """Let go of the broker."""
        for tail in (self._rollouts, self._examples, self._corpus):
            tail.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


def read_again(
    bootstrap: str,
    surface: Surface,
    surfaces: Surfaces,
    *,
    examples: Mapping[str, tuple[int, int]],
    candidates: Mapping[str, int],
    at_ms: int,
    read_to: Mapping[str, int] | None = None,
    on_progress: OnProgress = untold,
) -> tuple[Window, CorpusAt]:
    """Read what a bundle was trained on once more, as far as the topics still hold it.

    Args:
        examples: [first, next) offsets by partition, as a manifest names them.
        candidates: next offsets by partition; what was written later, and took an older state's place, is missed.
        at_ms: when the corpus was taken.
        read_to: next offsets of the examples topic, by partition, that it was read to then, if known: deletes up to there count.
        on_progress: as in `TopicTail`.

    Raises:
        BrokerUnavailable: no broker, or no such topic.
    """
    until = next_offsets(examples) | {int(partition): following for partition, following in (read_to or {}).items()}
    corpus_end = {int(partition): following for partition, following in candidates.items()}
    tail = ExampleTail(bootstrap, surface.name, max_examples=sys.maxsize, until=until, on_progress=on_progress)
    corpus = CorpusTail(bootstrap, surface, surfaces, until=corpus_end, on_progress=on_progress)
    try:
        return tail.window({int(partition): first for partition, (first, _) in examples.items()}), corpus.candidates(at_ms)
    finally:
        tail.close()
        corpus.close()


def group_of(surface: str) -> str:
    """Return the consumer group, without members, under which it is kept how far a surface's examples have been dealt with.

    Kept as a reader's place in a topic is: a trainer needs no disk of its own for it.
    """
    return f"trainer-{surface}"


def read_passed_over(bootstrap: str, surface: str) -> PassedOver:
    """Return what was kept last; nothing where nothing was, or the broker has forgotten it (after a week, by default).

    Raises:
        BrokerUnavailable: no broker, or no examples topic yet.
    """
    places = [(EXAMPLES, partition) for partition in partitions_of(bootstrap, EXAMPLES)]
    consumer = make_consumer(bootstrap, group_of(surface))
    try:
        kept = [place for place in committed_places(consumer, places) if place.offset >= 0]
    finally:
        consumer.close()
    try:
        # written in one request, so that all say the same
        ((parent, examples, topic_id),) = {tuple(json.loads(place.metadata or "")) for place in kept}
    except (ValueError, TypeError):
        # nothing was kept, or somebody has moved the group by hand
        return PassedOver()
    return PassedOver(parent, {place.partition: place.offset for place in kept}, examples, topic_id)


def keep_passed_over(bootstrap: str, surface: str, passed_over: PassedOver) -> None:
    """Keep it over a restart of the trainer; raises `BrokerUnavailable` where it cannot be."""
    said = json.dumps([passed_over.parent, passed_over.examples, passed_over.topic_id])
    consumer = make_consumer(bootstrap, group_of(surface))
    try:
        # asked first: a new group has no coordinator for a moment, and that waits for one
        committed_places(consumer, [(EXAMPLES, partition) for partition in passed_over.offsets])
        consumer.commit(
            offsets=[TopicPartition(EXAMPLES, partition, offset, said) for partition, offset in passed_over.offsets.items()],
            asynchronous=False,
        )
    except KafkaException as error:
        raise BrokerUnavailable(f"{group_of(surface)} cannot commit: {error.args[0].str()}") from error
    finally:
        consumer.close()
