"""Following a topic: a fault costs a retry, never a record."""

from collections.abc import Sequence
from typing import Protocol
from uuid import uuid4

from schemas.topics import Topic
from schemas.wire.admin import create_topics, wait_for_broker
from schemas.wire.client import make_producer
from schemas.wire.inbound import InboundRecord
from serving.node.follower import FollowerCallbacks, TopicFollower
from tests.served_node import until


class HasBootstrap(Protocol):
    """The broker fixture."""

    bootstrap: str


class Faulty:
    """A handler that fails on its first batch."""

    def __init__(self) -> None:
        self.failed = False
        self.handled: list[bytes | None] = []

    def handle(self, records: Sequence[InboundRecord]) -> None:
        """Fail once, then keep the values."""
        if not self.failed:
            self.failed = True
            raise OSError("disk full")
        self.handled.extend(record.value for record in records)


def test_a_batch_that_failed_comes_again_whole(broker: HasBootstrap) -> None:
    """The index must hold every acknowledged record, whatever happened while it was put in."""
    topic = f"followed-{uuid4().hex[:8]}"
    faulty = Faulty()
    follower = TopicFollower(broker.bootstrap, topic, FollowerCallbacks(faulty.handle))
    follower.start()
    try:
        until(lambda: f"{topic} does not exist yet" in str(follower.trouble))
        create_topics(wait_for_broker(broker.bootstrap, timeout_s=30), [Topic(topic, "record", 1)])
        producer = make_producer(broker.bootstrap)
        values = [str(n).encode() for n in range(50)]
        for value in values:
            producer.produce(topic, value)
        producer.flush(10)
        until(lambda: len(faulty.handled) >= len(values))
        assert faulty.failed
        assert faulty.handled == values
        until(lambda: follower.caught_up and follower.trouble is None and follower.position == {0: 50})
    finally:
        follower.stop()
