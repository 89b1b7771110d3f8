"""Holding back records whose schema is not known yet: order within a partition, freedom between partitions."""

from schemas.wire.inbound import InboundRecord
from streams.runner.waiting import WaitingRecords


def record(topic: str, partition: int, offset: int, value: bytes) -> InboundRecord:
    """Return a record whose value names its schema."""
    return InboundRecord(topic, partition, offset, 0, b"key", value)


def test_what_comes_behind_a_record_that_waits_waits_too_and_other_partitions_go_on() -> None:
    """A delete that overtook its create would be undone by it; a partition of another producer has nothing to wait for."""
    known = {b"ours"}
    waiting = WaitingRecords(lambda value: value in known)
    a, b, c = record("tweets", 0, 0, b"ours"), record("tweets", 0, 1, b"theirs"), record("tweets", 0, 2, b"ours")
    d, e = record("tweets", 1, 0, b"ours"), record("engagements", 0, 0, b"ours")
    assert waiting.sift([a, b, c, d, e]) == [a, d, e]
    assert waiting.places == {("tweets", 0)}
    f, g = record("tweets", 0, 3, b"third"), record("tweets", 1, 1, b"ours")
    assert waiting.sift([f, g]) == [g]
    known.add(b"theirs")
    assert waiting.sift([]) == [b, c]
    assert waiting.places == {("tweets", 0)}
    known.add(b"third")
    assert waiting.sift([record("tweets", 0, 4, b"ours")]) == [f, record("tweets", 0, 4, b"ours")]
    assert waiting.places == set()


def test_a_partition_that_is_given_up_is_held_no_longer() -> None:
    """Its next owner reads those records itself; folded here as well, they would be written by two."""
    known: set[bytes | None] = set()
    waiting = WaitingRecords(known.__contains__)
    ours, theirs = record("tweets", 0, 0, b"x"), record("tweets", 1, 0, b"x")
    assert waiting.sift([ours, theirs]) == []
    waiting.forget({1})
    assert waiting.places == {("tweets", 0)}
    known.add(b"x")
    assert waiting.sift([]) == [ours]
    waiting.sift([record("tweets", 0, 1, b"y")])
    waiting.forget()
    assert waiting.places == set()
