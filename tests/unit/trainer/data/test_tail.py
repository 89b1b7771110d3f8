"""Following a topic of several partitions, with a reader that says what a broker would, in the order that the test gives."""

from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from schemas.wire.inbound import InboundRecord
from trainer.data import tail
from trainer.data.tail import TopicTail


class Reader:
    """A reader that has read two empty partitions to their ends; then each has a record, and the second's comes later."""

    def __init__(self, *_: object, **__: Any) -> None:
        """Stand at the beginning."""
        self.next_offsets = {0: 0, 1: 0}
        self._asked = 0
        self._coming = [_record(0), _record(1)]

    def end_offsets(self, *, committed: bool = False) -> Mapping[int, int]:
        """Return the ends: of nothing at first, then behind a record each."""
        self._asked += 1
        return {0: 0, 1: 0} if self._asked == 1 else {0: 1, 1: 1}

    def at_end(self, partition: int) -> bool:
        """Say what was seen when there was nothing yet."""
        return self.next_offsets[partition] == 0

    def poll(self, *_: object) -> Sequence[InboundRecord]:
        """Return one partition's record."""
        record = self._coming.pop(0)
        self.next_offsets[record.partition] = record.offset + 1
        return [record]


class Kept(TopicTail):
    """Keeps what it takes."""

    def read(self) -> dict[int, int]:
        """Read to the present end."""
        return self._catch_up()

    def _begin(self, partitions: Sequence[int], start: Mapping[int, int]) -> None:
        self.taken: list[int] = []

    def _take(self, record: InboundRecord) -> None:
        self.taken.append(record.partition)


def test_a_partition_that_had_ended_before_is_read_on_though_another_ones_records_come_first(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """An audit compares what was served with candidates that are newer: an edit that was left unread passed for a skew."""
    monkeypatch.setattr(tail, "TailReader", Reader)
    monkeypatch.setattr(tail, "partitions_of", lambda *_: [0, 1])
    monkeypatch.setattr(tail, "identity_of", lambda *_: "the topic")
    told: list[tuple[str, int, int]] = []
    kept = Kept("127.0.0.1:9092", "candidates", on_progress=lambda *how_far: told.append(how_far))
    assert kept.read() == {0: 0, 1: 0}
    assert told == [], "there is nothing to read"
    assert kept.read() == {0: 1, 1: 1}
    assert kept.taken == [0, 1]
    assert told == [("candidates", 1, 2), ("candidates", 2, 2)]


def _record(partition: int) -> InboundRecord:
    return InboundRecord("candidates", partition, 0, 0, b"t:1", b"")
