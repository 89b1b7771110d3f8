"""What a follower does with its callbacks' faults, without a broker; with one: tests/integration/test_follower.py."""

from collections.abc import Sequence
from types import SimpleNamespace

import pytest

from schemas.wire.inbound import InboundRecord
from serving.node import follower as follower_module
from serving.node.follower import MAX_RECORDS, FollowerCallbacks, TopicFollower
from tests.fake_tail import FakeTail

TOPIC = "rollouts"

RECORD = InboundRecord(TOPIC, 0, 0, 0, b"key", b"value")


def topic_of(monkeypatch: pytest.MonkeyPatch, tail: FakeTail) -> None:
    """Have followers read a topic by `tail`."""
    admin = SimpleNamespace(
        list_topics=lambda **_: SimpleNamespace(topics={TOPIC: SimpleNamespace(partitions={0: None})}),
        describe_topics=lambda *_, **__: {},
    )
    monkeypatch.setattr(follower_module, "wait_for_broker", lambda *_, **__: admin)
    monkeypatch.setattr(follower_module, "topic_id", lambda *_: "id")
    monkeypatch.setattr(follower_module, "TailReader", lambda *_, **__: tail)


def test_that_everything_was_read_is_told_again_after_a_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    """A node whose first tails could not be started went on reading its rollouts for ever, until somebody wrote another."""
    topic_of(monkeypatch, FakeTail())
    monkeypatch.setattr(follower_module, "_RETRY_S", 0.0)
    told: list[bool] = []

    def caught_up() -> None:
        told.append(follower.caught_up)
        if len(told) == 1:
            raise RuntimeError("can't start new thread")
        follower.stop()

    follower = TopicFollower("127.0.0.1:1", TOPIC, FollowerCallbacks(handle=lambda _: None, caught_up=caught_up))
    follower.start()
    follower._thread.join(30)
    assert told == [True, True]


def test_no_more_records_are_waited_for_while_more_are_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ends of partitions take places of records in a batch: one that lacked two of 500 made a building bundle rest for 50 ms."""
    batches = [[RECORD] * (MAX_RECORDS - lacking) for lacking in (2, 1, 0, MAX_RECORDS - 1)]
    topic_of(monkeypatch, FakeTail(batches))
    handled: list[int] = []

    def handle(records: Sequence[InboundRecord]) -> None:
        handled.append(len(records))
        if len(handled) == len(batches):
            follower.stop()

    follower = TopicFollower("127.0.0.1:1", TOPIC, FollowerCallbacks(handle), gather_s=lambda: 3600.0)
    follower.start()
    follower._thread.join(30)
    assert handled == [len(batch) for batch in batches]
    follower.stop()
