"""When what was processed becomes durable: a checkpoint is begun, written in pieces, acknowledged, then its offsets are committed.

It is taken one step at a time between batches, so that live traffic never waits for a whole one. Reads no topic; holds no state.
"""

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from confluent_kafka import KafkaError, KafkaException

from schemas.errors import OffsetOutOfRange
from schemas.positions import Place
from schemas.wire.inbound import InboundRecord
from streams.outbox import Parcel
from streams.runner.spread import Spread

# a few milliseconds of work: how long live traffic waits for a piece of a checkpoint
SLICE = 32
# the pieces of a checkpoint are spread over this share of the interval: written at once, they made whatever came in that tenth
# of a second wait, in the broker and in every node
_SPREAD_SHARE = 0.5


class Written(Protocol):
    """What was produced, as an `Outbox` counts it."""

    def seal(self) -> Parcel:
        """Return everything produced since the last seal, to wait for."""
        ...

    def flush_all(self, *, timeout_s: float | None = None) -> None:
        """Wait until everything produced is acknowledged or has failed."""
        ...


@dataclass(frozen=True, slots=True)
class Steps:
    """What a checkpoint is made of; called in this order.

    Attributes:
        begin: seals what was processed so far; returns about how many things are to be written.
        write: writes up to so many of them; False when all are.
        durable: everything is acknowledged; raises when something was not.
        commit: hands offsets to the broker: waits for it, or is told later by `Checkpoints.committed`.
        done: the offsets are committed; takes how long the whole checkpoint took, in seconds.
    """

    begin: Callable[[], int]
    write: Callable[[int], bool]
    durable: Callable[[], None]
    commit: Callable[[Mapping[Place, int], bool], None]
    done: Callable[[float], None]


@dataclass(slots=True)
class _Checkpoint:
    """One under way.

    Attributes:
        positions: to commit once everything in `parcels` is acknowledged.
        parcels: None while state is still written.
        committed: the broker has taken the positions.
    """

    positions: dict[Place, int]
    began_s: float
    spread: Spread
    parcels: Collection[Parcel] | None = None
    committed: bool = False

    @property
    def settled(self) -> bool:
        """Whether all is produced, and each record acknowledged or failed."""
        return self.parcels is not None and all(parcel.settled for parcel in self.parcels)


class Checkpoints:
    """The checkpoints of one consumer, one at a time. One thread."""

    def __init__(
        self,
        steps: Steps,
        written: Collection[Written],
        *,
        interval_s: float,
        inputs: int,
        clock_s: Callable[[], float] = time.monotonic,
    ) -> None:
        """Begin one every `interval_s`, or after so many inputs."""
        self._steps = steps
        self._written = written
        self._interval_s = interval_s
        self._most_inputs = inputs
        self._clock_s = clock_s
        # next offsets of what was processed
        self.positions: dict[Place, int] = {}
        self._uncommitted: set[Place] = set()
        self._inputs = 0
        self._next_s = 0.0
        self._current: _Checkpoint | None = None
        # whose offsets the broker was asked to commit, and why it did not
        self._asked: _Checkpoint | None = None
        self._refusal: KafkaError | None = None

    @property
    def open(self) -> bool:
        """Whether one is under way."""
        return self._current is not None

    def processed(self, records: Sequence[InboundRecord]) -> None:
        """Note records whose effects were handed to the outbox or are held back for the next checkpoint.

        Raises:
            OffsetOutOfRange: a log went back, which only another one of its name does.
        """
        self._inputs += len(records)
        for record in records:
            place = (record.topic, record.partition)
            if record.offset < self.positions.get(place, 0):
                # the client reads on from its beginning, in silence
                raise OffsetOutOfRange(
                    f"{record.topic}/{record.partition} goes on at {record.offset} after {self.positions[place]}: the topic was "
                    "deleted and created anew; starting again"
                )
            self.positions[place] = record.offset + 1
            self._uncommitted.add(place)

    def postpone(self) -> None:
        """Begin none for an interval."""
        self._next_s = self._clock_s() + self._interval_s

    def advance(self, within_s: float) -> float | None:
        """Take one step further; return the seconds until the next, None when its time is not known.

        Pieces that are late may take `within_s`, as long as the batch before them took: with too much to do, input and checkpoints
        share the time.

        Raises:
            KafkaException: the broker refused the offsets.
        """
        if self._refusal is not None:
            raise KafkaException(self._refusal)
        checkpoint = self._current
        if checkpoint is None:
            if self._inputs < self._most_inputs and self._clock_s() < self._next_s:
                return None
            self._begin()
            return 0.0
        if checkpoint.parcels is None:
            return self._write_due(checkpoint, self._clock_s() + within_s)
        if checkpoint.committed:
            self._finish(checkpoint)
            return None
        if self._inputs >= self._most_inputs and not checkpoint.settled:
            # the broker is slower than the input: wait, or what a crash replays grows without bound
            self._flush()
        if checkpoint.settled and self._asked is None:
            self._steps.durable()
            self._commit(checkpoint)
        return None

    def now(self, *, flush_timeout_s: float | None = None) -> None:
        """Make everything processed so far durable and commit it, without reading on meanwhile."""
        if self._current is not None:
            # what a checkpoint does last may rely on the one before it being durable
            self._flush(flush_timeout_s)
        # overtaken by the commit below
        self._asked = None
        checkpoint = self._begin()
        while self._write(checkpoint):
            pass
        self._flush(flush_timeout_s)
        self._steps.durable()
        if checkpoint.positions:
            self._steps.commit(checkpoint.positions, True)
        self._finish(checkpoint)

    def committed(self, refusal: KafkaError | None) -> None:
        """Hear what became of offsets whose commit nobody waited for."""
        checkpoint, self._asked = self._asked, None
        if checkpoint is not None:
            checkpoint.committed = refusal is None
            self._refusal = refusal

    def forget(self, partitions: Collection[int]) -> None:
        """Commit nothing of these partitions any more: they are another member's."""
        self._uncommitted = {place for place in self._uncommitted if place[1] not in partitions}
        self.positions = _without(self.positions, partitions)
        # should it be refused, then for what is given up; what is kept is asked for again
        self._asked = None
        if self._current is not None:
            self._current.positions = _without(self._current.positions, partitions)

    def _begin(self) -> _Checkpoint:
        now_s = self._clock_s()
        self.postpone()
        self._inputs = 0
        spread = Spread(self._steps.begin() / SLICE, over_s=_SPREAD_SHARE * self._interval_s, now_s=now_s)
        self._current = _Checkpoint({place: self.positions[place] for place in self._uncommitted}, now_s, spread)
        return self._current

    def _write_due(self, checkpoint: _Checkpoint, until_s: float) -> float:
        while checkpoint.parcels is None and checkpoint.spread.due_in_s(self._clock_s()) == 0:
            self._write(checkpoint)
            checkpoint.spread.took()
            if self._clock_s() >= until_s:
                break
        return checkpoint.spread.due_in_s(self._clock_s())

    def _write(self, checkpoint: _Checkpoint) -> bool:
        more = self._steps.write(SLICE)
        if not more:
            checkpoint.parcels = [written.seal() for written in self._written]
        return more

    def _flush(self, timeout_s: float | None = None) -> None:
        for written in self._written:
            written.flush_all(timeout_s=timeout_s)

    def _commit(self, checkpoint: _Checkpoint) -> None:
        if not checkpoint.positions:
            self._finish(checkpoint)
            return
        self._asked = checkpoint
        # nobody waits: the broker takes tens of milliseconds over it, and live traffic would wait as long
        self._steps.commit(checkpoint.positions, False)

    def _finish(self, checkpoint: _Checkpoint) -> None:
        self._uncommitted = {p for p in self._uncommitted if self.positions[p] != checkpoint.positions.get(p)}
        self._current = None
        self._steps.done(self._clock_s() - checkpoint.began_s)


def _without(offsets: Mapping[Place, int], partitions: Collection[int]) -> dict[Place, int]:
    return {place: offset for place, offset in offsets.items() if place[1] not in partitions}
