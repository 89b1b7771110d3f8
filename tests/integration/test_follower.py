"""Following a topic: a fault costs a retry, never a record."""

import time
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


def test_a_topic_that_outgrew_the_one_before_it_is_read_from_its_beginning(broker: HasBootstrap) -> None:
    """By offsets alone it is the same topic: users deleted in what came first were answered for until the node restarted."""
    topic = f"followed-{uuid4().hex[:8]}"
    admin = wait_for_broker(broker.bootstrap, timeout_s=30)
    handled: list[bytes | None] = []
    callbacks = FollowerCallbacks(lambda records: handled.extend(one.value for one in records), start_over=handled.clear)
    follower = TopicFollower(broker.bootstrap, topic, callbacks)

    def publish(*values: bytes) -> None:
        create_topics(admin, [Topic(topic, "record", 1)])
        producer = make_producer(broker.bootstrap)
        for value in values:
            producer.produce(topic, value)
        producer.flush(10)

    publish(*[b"old"] * 50)
    follower.start()
    try:
        until(lambda: len(handled) == 50 and follower.caught_up)
        # no look at it in between: none of the client's questions finds it gone
        admin.delete_topics([topic], operation_timeout=5)[topic].result()
        publish(*[b"new"] * 200)
        until(lambda: handled == [b"new"] * 200 and follower.caught_up and follower.trouble is None, within_s=30)
    finally:
        follower.stop()


def test_who_asks_for_what_has_come_does_not_wait_for_the_rest_between_two_batches(broker: HasBootstrap) -> None:
    """Rolled back within 15 ms, a node lacked the tweet that had just been found: the old bundle gathered rows for 50 ms."""
    topic = f"followed-{uuid4().hex[:8]}"
    create_topics(wait_for_broker(broker.bootstrap, timeout_s=30), [Topic(topic, "record", 1)])
    handled: list[bytes | None] = []

    def handle(records: Sequence[InboundRecord]) -> None:
        handled.extend(record.value for record in records)

    follower = TopicFollower(broker.bootstrap, topic, FollowerCallbacks(handle), gather_s=lambda: 20.0)
    follower.start()
    try:
        until(lambda: follower.caught_up)
        producer = make_producer(broker.bootstrap)
        producer.produce(topic, b"first")
        producer.flush(10)
        until(lambda: handled == [b"first"])
        producer.produce(topic, b"second")
        producer.flush(10)
        time.sleep(0.5)
        assert handled == [b"first"], "it rests"
        begun_s = time.monotonic()
        assert follower.catch_up(5.0)
        assert handled == [b"first", b"second"]
        assert time.monotonic() - begun_s < 2.0
    finally:
        follower.stop()
    assert follower.catch_up(5.0), "nothing comes any more"
