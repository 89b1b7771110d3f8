"""Checkpoints taken in steps: what is committed, when, and that neither input nor checkpoints starve."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import pytest
from confluent_kafka import KafkaError, KafkaException

from schemas.errors import OffsetOutOfRange
from schemas.wire.inbound import InboundRecord
from streams.outbox import Parcel
from streams.runner.checkpoints import SLICE, Checkpoints, Steps


@dataclass
class Log:
    """A broker, a processor and a clock in memory. Writing a piece takes `piece_s`; what is produced is acknowledged by hand."""

    piece_s: float = 0.0
    now_s: float = 0.0
    dirty: int = 0
    sealed: int = 0
    parcel: Parcel = field(default_factory=Parcel)
    parcels: list[Parcel] = field(default_factory=list)
    asked: list[tuple[dict[tuple[str, int], int], bool]] = field(default_factory=list)
    done: int = 0

    def begin(self) -> int:
        """See `Steps`."""
        self.sealed, self.dirty = self.sealed + self.dirty, 0
        return self.sealed

    def write(self, limit: int) -> bool:
        """See `Steps`."""
        self.now_s += self.piece_s
        written = min(limit, self.sealed)
        self.sealed -= written
        self.parcel.under_way += written
        return written > 0

    def commit(self, positions: Mapping[tuple[str, int], int], wait: bool) -> None:  # noqa: FBT001
        """See `Steps`."""
        self.asked.append((dict(positions), wait))

    def finished(self, _: float) -> None:
        """See `Steps`."""
        self.done += 1

    def seal(self) -> Parcel:
        """See `Written`."""
        sealed, self.parcel = self.parcel, Parcel()
        self.parcels.append(sealed)
        return sealed

    def acknowledge(self) -> None:
        """Let the broker take everything that was produced."""
        for parcel in (*self.parcels, self.parcel):
            parcel.under_way = 0

    def flush_all(self, *, timeout_s: float | None = None) -> None:
        """See `Written`."""
        del timeout_s
        self.acknowledge()


def checkpoints_of(log: Log, *others: Log, inputs: int = 1_000_000) -> Checkpoints:
    """Return checkpoints of a log, one a second; `others` are written to as well."""
    steps = Steps(log.begin, log.write, lambda: None, log.commit, log.finished)
    return Checkpoints(steps, (log, *others), interval_s=1.0, inputs=inputs, clock_s=lambda: log.now_s)


def read(checkpoints: Checkpoints, log: Log, *offsets: int, partition: int = 0, dirty: int = 0) -> None:
    """Process records of a partition that leave so many things to be written."""
    checkpoints.processed([InboundRecord("in", partition, offset, 0, b"k", b"v") for offset in offsets])
    log.dirty += dirty


def advance_until_written(checkpoints: Checkpoints, log: Log) -> None:
    """Advance over time until all pieces are written."""
    written = len(log.parcels)
    while len(log.parcels) == written:
        wait_s = checkpoints.advance(0.0)
        log.now_s += wait_s or 0.001


def test_a_log_that_goes_back_ends_the_run() -> None:
    """The topic was deleted and made again: what is read now would be committed, and taken for folded."""
    log = Log()
    checkpoints = checkpoints_of(log)
    read(checkpoints, log, 5, 6)
    read(checkpoints, log, 0, partition=1)
    with pytest.raises(OffsetOutOfRange, match="in/0 goes on at 0 after 8"):
        read(checkpoints, log, 7, 0)
    checkpoints.forget({0})
    read(checkpoints, log, 0)


def test_offsets_of_when_it_began_are_committed_once_all_is_acknowledged() -> None:
    """What is read while a checkpoint is written belongs to the next: it may not be durable yet."""
    log = Log()
    checkpoints = checkpoints_of(log)
    read(checkpoints, log, 0, 1, 2, dirty=100)
    checkpoints.advance(0.0)
    read(checkpoints, log, 3, dirty=1)
    advance_until_written(checkpoints, log)

    checkpoints.advance(0.0)
    assert log.asked == [], "nothing is acknowledged"
    log.acknowledge()
    checkpoints.advance(0.0)
    checkpoints.advance(0.0)
    assert log.asked == [({("in", 0): 3}, False)], "asked once, and nobody waits"
    assert log.done == 0
    checkpoints.committed(None)
    checkpoints.advance(0.0)
    assert log.done == 1


def test_offsets_wait_for_every_producer_that_was_written_to() -> None:
    """Committed before the state is durable, its input would never be folded again."""
    outputs, states = Log(), Log()
    checkpoints = checkpoints_of(outputs, states)
    read(checkpoints, outputs, 0)
    states.parcel.under_way = 1
    checkpoints.advance(0.0)
    advance_until_written(checkpoints, outputs)
    outputs.acknowledge()
    checkpoints.advance(0.0)
    assert outputs.asked == []
    states.acknowledge()
    checkpoints.advance(0.0)
    assert outputs.asked == [({("in", 0): 1}, False)]


def test_pieces_come_over_half_of_the_interval_and_not_at_once() -> None:
    """In one burst they would hold up, in the broker and in every node, whatever was published at that moment."""
    log = Log()
    checkpoints = checkpoints_of(log)
    read(checkpoints, log, 0, dirty=20 * SLICE)
    checkpoints.advance(0.0)
    began_s = log.now_s
    left = []
    while log.sealed:
        checkpoints.advance(1.0)
        left.append(log.sealed)
        log.now_s += 0.005

    assert 0.4 < log.now_s - began_s < 0.55
    assert max(before - after for before, after in zip([20 * SLICE, *left], left, strict=False)) == SLICE


@pytest.mark.parametrize("batch_s", [0.01, 0.1])
def test_an_input_that_never_ends_does_not_starve_the_checkpoint(batch_s: float) -> None:
    """One piece a batch was the rule once: with large batches a checkpoint took minutes, and a crash would have replayed them."""
    log = Log(piece_s=0.003)
    checkpoints = checkpoints_of(log)
    read(checkpoints, log, 0, dirty=400 * SLICE)
    checkpoints.advance(0.0)
    began_s, batches = log.now_s, 0
    while log.sealed:
        batches += 1
        log.now_s += batch_s
        checkpoints.advance(batch_s)

    work_s = 400 * log.piece_s
    assert log.now_s - began_s < 2.2 * work_s, "half of the time is the checkpoint's"
    assert batches * batch_s > 0.8 * work_s, "and half the input's"


def test_a_refused_commit_stops_the_process() -> None:
    """Another member has the partitions, perhaps: to read on would be to write beside it."""
    log = Log()
    checkpoints = checkpoints_of(log)
    read(checkpoints, log, 0, dirty=1)
    advance_until_written(checkpoints, log)
    log.acknowledge()
    checkpoints.advance(0.0)
    checkpoints.committed(KafkaError(KafkaError.ILLEGAL_GENERATION))

    with pytest.raises(KafkaException):
        checkpoints.advance(0.0)


def test_partitions_that_went_are_not_committed_and_their_refusal_is_no_news() -> None:
    """They are another member's; what is kept is asked for again."""
    log = Log()
    checkpoints = checkpoints_of(log)
    read(checkpoints, log, 0, dirty=1)
    read(checkpoints, log, 7, partition=1, dirty=1)
    advance_until_written(checkpoints, log)
    log.acknowledge()
    checkpoints.advance(0.0)
    checkpoints.forget({1})
    checkpoints.committed(KafkaError(KafkaError.ILLEGAL_GENERATION))
    checkpoints.advance(0.0)

    assert log.asked == [({("in", 0): 1, ("in", 1): 8}, False), ({("in", 0): 1}, False)]


def test_a_last_checkpoint_commits_everything_and_waits_for_it() -> None:
    """A process that leaves must leave nothing to be replayed, whatever step the checkpoint under way is in."""
    log = Log()
    checkpoints = checkpoints_of(log)
    read(checkpoints, log, 0, dirty=100)
    checkpoints.advance(0.0)
    checkpoints.advance(0.0)
    read(checkpoints, log, 1, 2, dirty=5)
    checkpoints.now()

    assert log.asked == [({("in", 0): 3}, True)]
    assert (log.sealed, log.dirty, log.done) == (0, 0, 1)
    assert not checkpoints.open


def test_a_checkpoint_begins_early_after_many_inputs() -> None:
    """What a crash replays is bounded in records too."""
    log = Log()
    checkpoints = checkpoints_of(log, inputs=10)
    checkpoints.postpone()
    read(checkpoints, log, *range(9))
    assert checkpoints.advance(0.0) is None
    assert not checkpoints.open
    read(checkpoints, log, 9)
    checkpoints.advance(0.0)
    assert checkpoints.open
