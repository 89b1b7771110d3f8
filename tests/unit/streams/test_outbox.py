"""The outbox where threads share it, on the client's own broker in memory."""

import threading
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from confluent_kafka import Consumer, KafkaError, TopicPartition

from schemas.errors import DeliveryFailed
from schemas.wire.partition import partition_of
from streams.outbox import Outbox

TOPIC = "tweets"


class Interrupted(dict[Any, Any]):
    """A mapping in which the first look-up is followed by something else, as when another thread's turn comes just then."""

    def __init__(self, meanwhile: Callable[[], None]) -> None:
        super().__init__()
        self._meanwhile = [meanwhile]

    def get(self, key: Any, default: Any = None) -> Any:
        """See `dict.get`."""
        found = super().get(key, default)
        if self._meanwhile:
            self._meanwhile.pop()()
        return found


def test_what_is_acknowledged_never_steps_back_when_threads_hear_of_it_at_once() -> None:
    """A caller asks an answer to reflect as much (`min_offset`): with less, one without what it wrote would pass."""
    outbox = Outbox("127.0.0.1:9", test_mock_num_brokers=1)
    others: list[threading.Thread] = []

    def send_another() -> None:
        outbox.produce(TOPIC, b"second", partition=0)
        outbox.flush_all(timeout_s=30)

    def let_another_send() -> None:
        others.append(threading.Thread(target=send_another))
        others[0].start()
        # it may have to wait for us
        others[0].join(2)

    outbox.ends = Interrupted(let_another_send)
    outbox.produce(TOPIC, b"first", partition=0)
    outbox.flush_all(timeout_s=30)
    others[0].join()
    assert outbox.ends == {(TOPIC, 0): 2}


def written(outbox: Outbox, count: int) -> list[tuple[bytes | None, bytes | None]]:
    """Return so many records of partition 0, keys and values, as its log has them."""
    broker = next(iter(outbox.list_topics().brokers.values()))
    consumer = Consumer({"bootstrap.servers": f"{broker.host}:{broker.port}", "group.id": "g"})
    consumer.assign([TopicPartition(TOPIC, 0, 0)])
    try:
        return [(message.key(), message.value()) for message in consumer.consume(count, 30)]
    finally:
        consumer.close()


def test_many_records_in_one_call_stay_in_order_where_the_queue_has_no_room_for_all() -> None:
    """A candidate's newest state must lie behind its older one."""
    outbox = Outbox("127.0.0.1:9", test_mock_num_brokers=1, queue_buffering_max_messages=10)
    records = [(b"t:%d" % (n % 3), None if n == 7 else b"%d" % n) for n in range(35)]
    outbox.produce_all(TOPIC, records, partition=0)
    parcel = outbox.seal()
    outbox.flush_all(timeout_s=30)
    assert parcel.settled
    assert outbox.ends == {(TOPIC, 0): 35}
    assert written(outbox, 35) == records


def test_many_records_in_one_call_go_where_each_would_go_alone() -> None:
    """Nodes and embedders look for a key in its partition only."""
    outbox = Outbox("127.0.0.1:9", test_mock_num_brokers=1)
    keys = [b"t:%d" % n for n in range(30)]
    outbox.produce_all(TOPIC, [(key, b"v") for key in keys])
    outbox.flush_all(timeout_s=30)
    ends = Counter(partition_of(key, 4) for key in keys)
    assert outbox.ends == {(TOPIC, partition): end for partition, end in ends.items()}


def test_of_many_records_in_one_call_those_for_a_partition_that_is_gone_are_noted_and_one_too_large_is_refused() -> None:
    """Nothing is committed after a record that is not in its log."""
    outbox = Outbox("127.0.0.1:9", test_mock_num_brokers=1, message_max_bytes=2_000)
    outbox.produce_all(TOPIC, [(b"t:1", b"v")], partition=0)
    outbox.flush_all(timeout_s=30)
    outbox.produce_all(TOPIC, [(b"t:1", b"v"), (b"t:2", b"v")], partition=77)
    assert [(failure.topic, failure.code) for failure in outbox.take_failures()] == [(TOPIC, KafkaError._UNKNOWN_PARTITION)] * 2
    assert outbox.seal().settled
    with pytest.raises(DeliveryFailed, match="a record for tweets was refused"):
        outbox.produce_all(TOPIC, [(b"t:1", b"v"), (b"t:2", bytes(5_000))], partition=0)
    outbox.flush_all(timeout_s=30)
    assert outbox.ends == {(TOPIC, 0): 2}


def test_to_ask_whether_a_topic_exists_makes_none() -> None:
    """Asked for one by its name, some brokers make it: a retired bundle's would be back, and its failures forgiven no more."""
    outbox = Outbox("127.0.0.1:9", test_mock_num_brokers=1)
    assert not outbox.topic_exists("embeddings.gone")
    assert "embeddings.gone" not in outbox.list_topics(timeout=30).topics


def test_a_wait_is_told_only_when_it_is_longer_than_any_first_record_takes(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Each command that sends one record said that it waits for the broker, which the runbook has for a broker that is not well."""
    outbox = Outbox("127.0.0.1:9")
    outbox.produce(TOPIC, b"value")

    def told(timeout_s: float) -> bool:
        caplog.clear()
        with pytest.raises(DeliveryFailed, match="1 records are not acknowledged yet"):
            outbox.flush_all(timeout_s=timeout_s)
        return "waiting for the broker to acknowledge 1 records" in caplog.text

    assert not told(0.9)
    monkeypatch.setattr("streams.outbox._SAID_AFTER_S", 0.4)
    assert told(0.9)
    outbox.purge()
