"""What a follower does with its callbacks' faults, without a broker; with one: tests/integration/test_follower.py."""

from types import SimpleNamespace

import pytest

from serving.node import follower as follower_module
from serving.node.follower import FollowerCallbacks, TopicFollower
from tests.fake_tail import FakeTail

TOPIC = "rollouts"


def test_that_everything_was_read_is_told_again_after_a_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    """A node whose first tails could not be started went on reading its rollouts for ever, until somebody wrote another."""
    admin = SimpleNamespace(list_topics=lambda **_: SimpleNamespace(topics={TOPIC: SimpleNamespace(partitions={0: None})}))
    monkeypatch.setattr(follower_module, "wait_for_broker", lambda *_, **__: admin)
    monkeypatch.setattr(follower_module, "topic_id", lambda *_: "id")
    monkeypatch.setattr(follower_module, "TailReader", lambda *_, **__: FakeTail())
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
