"""The contracts on the wire against a real broker: topics, tails, dead letters, and the partition of a key."""

import logging
import threading
import time
import uuid
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from itertools import chain
from typing import Any, Protocol

import pytest
from confluent_kafka import KafkaError, KafkaException, Message, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec  # type: ignore[attr-defined]

from roost.broker import Broker
from schemas.codec import decode, encode
from schemas.errors import BrokerUnavailable, InvalidInput, OffsetOutOfRange, TopicMismatch, UndecodableRecord
from schemas.surfaces import load_surfaces
from schemas.topics import MAX_DEAD_LETTER_BYTES, Topic, dlq, embeddings_topic, standard_topics
from schemas.wire.admin import check_topics, create_topics, delete_topics, offsets_since, topic_id, topic_ids, wait_for_broker
from schemas.wire.client import make_producer, producer_config
from schemas.wire.dlq import DeadLetter, DeadLetterWriter
from schemas.wire.inbound import InboundRecord
from schemas.wire.offsets import ask_offsets
from schemas.wire.partition import partition_of
from schemas.wire.tail import TailReader
from streams.outbox import Outbox
from tests.at_once import at_once
from tests.contract.partition_keys import KEYS

PARTITIONS = 4


class Kafka(Protocol):
    """What the `broker` fixture gives."""

    @property
    def bootstrap(self) -> str:
        """Host and port."""
        ...


@pytest.fixture
def admin(broker: Kafka) -> AdminClient:
    """Return an admin client of the shared broker."""
    return wait_for_broker(broker.bootstrap, timeout_s=30)


def _topic(partitions: int = PARTITIONS, **config: str) -> Topic:
    name = f"wire-{uuid.uuid4().hex[:12]}"
    own = {key.replace("_", "."): value for key, value in config.items()}
    return Topic(name, "candidate", partitions, {"message.timestamp.type": "LogAppendTime", "cleanup.policy": "delete", **own})


@pytest.fixture
def topic(admin: AdminClient) -> Iterator[Topic]:
    """Return a topic of the test's own."""
    own = _topic()
    create_topics(admin, [own])
    yield own
    delete_topics(admin, [own.name])


def _send(bootstrap: str, topic: str, count: int, *, first: int = 0, partition: int = 0) -> None:
    producer = make_producer(bootstrap)
    for number in range(first, first + count):
        producer.produce(topic, str(number), str(number), partition)
    assert producer.flush(30) == 0


def _values(records: list[InboundRecord]) -> list[int]:
    return [int(record.value or b"-1") for record in records]


def test_every_topic_of_the_contracts_can_be_created_and_then_passes_the_check(broker: Kafka, admin: AdminClient) -> None:
    """A key that this Kafka does not know, or reads back otherwise, would refuse every start."""
    surface = load_surfaces()["home-timeline"]
    bundle = uuid.uuid4().hex[:16]
    topics = [
        replace(each, name=f"{bundle}-{each.name}")
        for each in (*standard_topics(PARTITIONS), embeddings_topic(bundle, surface, PARTITIONS))
    ]
    assert sorted(create_topics(admin, topics)) == sorted(each.name for each in topics)
    assert create_topics(admin, topics) == []
    check_topics(admin, topics)
    delete_topics(admin, [each.name for each in topics])


def test_topics_created_by_several_roles_at_once_are_created_once(broker: Kafka) -> None:
    """All roles start together and each makes sure of its topics."""
    topics = [_topic() for _ in range(4)]
    clients = [wait_for_broker(broker.bootstrap, timeout_s=30) for _ in range(3)]
    created = chain.from_iterable(at_once([partial(create_topics, client, topics) for client in clients]))
    assert sorted(created) == sorted(each.name for each in topics)


def test_a_created_topic_has_leaders_that_take_records(admin: AdminClient) -> None:
    """Listed is not led: a broker loses the first records, without an error, that come while its leaders hear of the topic."""
    for topic in [_topic(8) for _ in range(20)]:
        create_topics(admin, [topic])
        newest = OffsetSpec.latest()  # type: ignore[no-untyped-call]  # the client's types name it nowhere
        places = {TopicPartition(topic.name, partition): newest for partition in range(topic.partitions)}
        assert [found.result(10).offset for found in admin.list_offsets(places).values()] == [0] * topic.partitions
        delete_topics(admin, [topic.name])


def test_a_topic_of_another_shape_is_named_with_what_differs(admin: AdminClient, topic: Topic) -> None:
    """Another partition count silently splits ids between owners; another timestamp type lets a clock drop records."""
    with pytest.raises(TopicMismatch, match=f"{topic.name} has 4 partitions, not 8"):
        create_topics(admin, [replace(topic, partitions=8)])
    with pytest.raises(TopicMismatch, match=r"cleanup\.policy=delete, not compact"):
        check_topics(admin, [replace(topic, config={"cleanup.policy": "compact"})])
    with pytest.raises(TopicMismatch, match="does not exist"):
        check_topics(admin, [_topic()])
    with pytest.raises(TopicMismatch, match="cannot be created"):
        create_topics(admin, [_topic(no_such_key="1")])


def test_a_recreated_topic_has_another_id(admin: AdminClient, topic: Topic) -> None:
    """A snapshot's offsets mean nothing on a topic that was deleted and made again."""
    first = topic_id(admin, topic.name)
    assert topic_id(admin, topic.name) == first
    delete_topics(admin, [topic.name])
    assert create_topics(admin, [topic]) == [topic.name]
    assert topic_id(admin, topic.name) != first
    assert topic_ids(admin, [topic.name, "no-such-topic"]) == {topic.name: topic_id(admin, topic.name)}, "of one question"
    delete_topics(admin, [topic.name, "no-such-topic"])
    with pytest.raises(TopicMismatch, match="cannot be described"):
        topic_id(admin, "no-such-topic")


def test_a_topic_is_looked_up_by_the_time_of_its_records(broker: Kafka, admin: AdminClient, topic: Topic) -> None:
    """The last hour of a week is an hour to read; a partition with nothing newer is not read from its beginning."""
    _send(broker.bootstrap, topic.name, 3, partition=0)
    _send(broker.bootstrap, topic.name, 2, partition=1)
    with TailReader(broker.bootstrap, topic.name, range(PARTITIONS)) as tail:
        then_ms = max(record.timestamp_ms for record in tail.read_to_end()) + 1
    while time.time_ns() // 1_000_000 <= then_ms:
        time.sleep(0.001)
    _send(broker.bootstrap, topic.name, 1, first=3, partition=0)
    since = offsets_since(admin, topic.name, range(PARTITIONS), then_ms)
    assert since == {0: 3, 1: 2} | dict.fromkeys(range(2, PARTITIONS), 0)
    assert offsets_since(admin, topic.name, range(PARTITIONS), 0) == dict.fromkeys(range(PARTITIONS), 0)


def test_what_is_appended_while_a_topic_is_looked_up_is_not_passed_over(
    broker: Kafka, admin: AdminClient, topic: Topic, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A canary begins while its users engage: those of one moment were never counted."""
    begun_ms = time.time_ns() // 1_000_000

    def ask_and_append(*args: Any, **options: Any) -> dict[tuple[str, int], int | KafkaException]:
        answers = ask_offsets(*args, **options)
        _send(broker.bootstrap, topic.name, 1, partition=0)
        return answers

    monkeypatch.setattr("schemas.wire.admin.ask_offsets", ask_and_append)
    assert offsets_since(admin, topic.name, [0], begun_ms) == {0: 0}


def test_a_tail_of_an_empty_topic_ends_at_once(broker: Kafka, topic: Topic) -> None:
    """State is restored from it at every first start: nothing is waited for."""
    with TailReader(broker.bootstrap, topic.name, range(PARTITIONS), fetch_wait_max_ms=20_000) as tail:
        assert tail.at_end()
        assert tail.read_to_end() == []
        assert tail.at_end()
        assert tail.next_offsets == dict.fromkeys(range(PARTITIONS), 0)
        assert tail.end_offsets() == dict.fromkeys(range(PARTITIONS), 0)


def test_where_a_topic_ends_is_told_while_a_fetch_waits(broker: Kafka, topic: Topic) -> None:
    """Nodes and embedders ask it of every bundle that they meet: each answer came behind a fetch of half a second."""
    with TailReader(broker.bootstrap, topic.name, range(PARTITIONS), fetch_wait_max_ms=20_000) as tail:
        assert tail.poll(timeout_s=1.0) == []
        assert tail.end_offsets(timeout_s=5.0) == dict.fromkeys(range(PARTITIONS), 0)


def test_an_empty_partition_holds_up_no_other(broker: Kafka, admin: AdminClient) -> None:
    """A bundle's topic is empty when nodes come to it, and filled a partition at a time: its first rows came half a second late.

    Of five readers of six, where the client asked for the beginnings; it starts partitions one by one, so that of a few in a
    hundred the first fetch lacks some still.
    """
    readers, late = 7, 0
    for _ in range(readers):
        own = _topic(PARTITIONS)
        create_topics(admin, [own])
        with TailReader(broker.bootstrap, own.name, range(PARTITIONS), fetch_wait_max_ms=20_000) as tail:
            assert tail.poll(timeout_s=0.3) == []
            for partition in range(PARTITIONS):
                _send(broker.bootstrap, own.name, 1, first=partition, partition=partition)
                found = _next_values(tail, 1, within_s=8.0)
                assert found in ([partition], [])
                if not found:
                    late += 1
                    break
        delete_topics(admin, [own.name])
    assert late < readers / 2


def test_a_tail_begins_at_the_given_offsets_and_says_where_it_stands(broker: Kafka, topic: Topic) -> None:
    """A snapshot is caught up from its next offsets, neither missing one record nor reading one twice."""
    _send(broker.bootstrap, topic.name, 10, partition=0)
    _send(broker.bootstrap, topic.name, 3, first=100, partition=2)
    with TailReader(broker.bootstrap, topic.name, [0, 2], start={0: 7}) as tail:
        records = tail.read_to_end()
        assert sorted(_values(records)) == [7, 8, 9, 100, 101, 102]
        assert tail.next_offsets == {0: 10, 2: 3}
        assert tail.at_end(0)
        assert all(record.timestamp_ms > 1_700_000_000_000 for record in records)
        _send(broker.bootstrap, topic.name, 1, first=10, partition=0)
        assert _next_values(tail, 1) == [10]
        assert tail.next_offsets[0] == 11


def test_a_tail_whose_offset_is_gone_says_so_instead_of_skipping(broker: Kafka, admin: AdminClient, topic: Topic) -> None:
    """The records between, deletes among them, would be missed in silence: the snapshot must be thrown away."""
    _send(broker.bootstrap, topic.name, 10)
    for future in admin.delete_records([TopicPartition(topic.name, 0, 5)]).values():
        future.result(10)
    for start in (2, 99):
        with TailReader(broker.bootstrap, topic.name, [0], start={0: start}) as tail:
            with pytest.raises(OffsetOutOfRange, match=rf"does not hold offset {start}"):
                tail.read_to_end()
            with pytest.raises(OffsetOutOfRange):
                tail.poll()
    for start in (5, 10):
        with TailReader(broker.bootstrap, topic.name, [0], start={0: start}) as tail:
            assert _values(tail.read_to_end()) == list(range(start, 10))
    with TailReader(broker.bootstrap, topic.name, [0]) as tail:
        assert _values(tail.read_to_end()) == [5, 6, 7, 8, 9]


def test_an_idle_tail_reads_on_while_it_asks_whether_its_topic_is_there(
    broker: Kafka, admin: AdminClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The broker answers behind a fetch that waits for half a second: asked every ten seconds, live traffic waited as long."""
    own = _topic(1)
    create_topics(admin, [own])
    asking, answered = threading.Event(), threading.Event()

    def ask(_: TailReader) -> None:
        asking.set()
        answered.wait(30)

    monkeypatch.setattr("schemas.wire.tail._IDLE_CHECK_S", 0.2)
    monkeypatch.setattr(TailReader, "_look_for_topic", ask)
    with TailReader(broker.bootstrap, own.name, [0]) as tail:
        while not asking.is_set():
            tail.poll(10, 0.05)
        _send(broker.bootstrap, own.name, 3)
        read: list[InboundRecord] = []
        while len(read) < 3:
            read += tail.poll(10, 0.5)
        answered.set()
    assert _values(read) == [0, 1, 2]


def test_a_tail_of_a_deleted_topic_says_so(broker: Kafka, admin: AdminClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """A retired bundle's topic goes while nodes still read it; the client itself would stay silent for ever."""
    own = _topic(1)
    create_topics(admin, [own])
    _send(broker.bootstrap, own.name, 5)
    with TailReader(broker.bootstrap, own.name, [0]) as tail:
        assert _values(tail.read_to_end()) == [0, 1, 2, 3, 4]
        monkeypatch.setattr("schemas.wire.tail._IDLE_CHECK_S", 0.2)
        # it looks, and the topic is there
        _poll_for(tail, 1)
        delete_topics(admin, [own.name])
        with pytest.raises(BrokerUnavailable, match=f"{own.name} does not exist"):
            _poll_for(tail, 20)
        with pytest.raises(BrokerUnavailable, match="does not exist"):
            tail.poll()


def test_whoever_waits_is_told_how_far_the_reading_is(broker: Kafka, topic: Topic) -> None:
    """In offsets, against the ends that the topic has, so that a bar can say when it will be done."""
    told: list[tuple[str, int, int]] = []
    with TailReader(broker.bootstrap, topic.name, range(PARTITIONS), once=True) as tail:
        assert list(tail.to_end(on_progress=lambda *how_far: told.append(how_far))) == []
    assert told == [], "of an empty topic there is nothing to tell"
    _send(broker.bootstrap, topic.name, 3, partition=0)
    _send(broker.bootstrap, topic.name, 4, partition=2)
    with TailReader(broker.bootstrap, topic.name, range(PARTITIONS), start={0: 1}, once=True) as tail:
        assert len(list(tail.to_end(on_progress=lambda *how_far: told.append(how_far)))) == 6
    assert (told[0], told[-1]) == ((topic.name, 0, 6), (topic.name, 6, 6))


def _next_values(tail: TailReader, count: int, within_s: float = 20.0) -> list[int]:
    """Return the next `count` values, or fewer, not in time; a poll that hears of an end returns nothing, and early."""
    seen: list[int] = []
    deadline = time.monotonic() + within_s
    while len(seen) < count and time.monotonic() < deadline:
        seen.extend(_values(tail.poll(timeout_s=0.5)))
    return seen


def _poll_for(tail: TailReader, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        tail.poll(timeout_s=0.2)


def test_a_tail_of_a_topic_created_a_moment_later_begins_by_itself(broker: Kafka, admin: AdminClient) -> None:
    """A node may learn of a bundle before the controller's topic is known everywhere."""
    own = _topic(1)
    with TailReader(broker.bootstrap, own.name, [0]) as tail:
        assert tail.poll(timeout_s=0.5) == []
        create_topics(admin, [own])
        _send(broker.bootstrap, own.name, 3)
        # not to the end: the tail may have seen the topic empty, and its end, before the records came
        assert _next_values(tail, 3) == [0, 1, 2]
    delete_topics(admin, [own.name])


def test_a_tail_without_a_broker_gives_up_reading_to_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """It must not wait for ever at start, before any probe can tell why."""
    monkeypatch.setattr("schemas.wire.tail._METADATA_S", 0.2)
    with (
        TailReader("127.0.0.1:1", "nowhere", [0]) as tail,
        pytest.raises(BrokerUnavailable, match="nothing came of nowhere"),
    ):
        tail.read_to_end(stall_s=1)


@pytest.mark.usefixtures("impatient")
def test_waiting_for_a_broker_says_why_and_ends(caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]) -> None:
    """The reason belongs in the log, once, and stderr stays ours."""
    with caplog.at_level(logging.WARNING), pytest.raises(BrokerUnavailable, match="KAFKA_BOOTSTRAP_SERVERS"):
        wait_for_broker("127.0.0.1:1", timeout_s=1)
    assert "waiting for the broker at 127.0.0.1:1" in caplog.text
    assert "rdkafka" not in capfd.readouterr().err
    with pytest.raises(BrokerUnavailable):
        wait_for_broker("127.0.0.1:1", timeout_s=60, should_stop=lambda: True)


def test_a_client_that_cannot_connect_says_so_once_in_a_while(
    caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Librdkafka tries ten times a second and would fill stderr with it."""
    monkeypatch.setattr("schemas.wire.tail._METADATA_S", 0.2)
    with caplog.at_level(logging.DEBUG), TailReader("127.0.0.1:1", "nowhere", [0]) as tail:
        _poll_for(tail, 2)
    refused = [record for record in caplog.records if "Connection refused" in record.getMessage()]
    assert 1 <= len(refused) <= 3
    assert "rdkafka" not in capfd.readouterr().err


def test_a_tail_resumes_after_the_broker_was_killed(fresh_broker: Broker) -> None:
    """The broker dies by kill -9 and returns; the reader goes on with the next record, none lost, none twice."""
    own = _topic(1)
    create_topics(wait_for_broker(fresh_broker.bootstrap, timeout_s=30), [own])
    _send(fresh_broker.bootstrap, own.name, 5)
    with TailReader(fresh_broker.bootstrap, own.name, [0]) as tail:
        assert _values(tail.read_to_end()) == [0, 1, 2, 3, 4]
        fresh_broker.kill()
        assert tail.poll(timeout_s=0.5) == []
        fresh_broker.start()
        _send(fresh_broker.bootstrap, own.name, 5, first=5)
        assert _next_values(tail, 5) == [5, 6, 7, 8, 9]


def test_a_redelivered_bad_record_is_the_same_dead_letter(broker: Kafka, admin: AdminClient) -> None:
    """After a crash the same record fails again: compaction must leave one entry, with the original bytes."""
    source = _topic(1)
    target = replace(next(t for t in standard_topics() if t.name == "tweets.dlq"), name=dlq(source.name))
    create_topics(admin, [source, target])
    producer = make_producer(broker.bootstrap)
    producer.produce(source.name, b"\x00\xffjunk", b"t:1", headers={"trace": b"\xfe", "none": None})
    producer.flush(10)
    with TailReader(broker.bootstrap, source.name, [0]) as tail:
        (bad,) = tail.read_to_end()
    writer = DeadLetterWriter(producer, role="embedder")
    for _ in range(2):
        with pytest.raises(InvalidInput) as caught:
            decode(DeadLetter, bad.value or b"")
        writer.write(bad, caught.value)
    assert producer.flush(10) == 0
    assert writer.written == 2
    with TailReader(broker.bootstrap, target.name, [0]) as tail:
        entries = tail.read_to_end()
    assert [entry.key for entry in entries] == [f"{source.name}/0/0".encode()] * 2
    letter = decode(DeadLetter, entries[-1].value or b"")
    assert (letter.key, letter.value, letter.error_kind, letter.attempts) == (b"t:1", b"\x00\xffjunk", "UnknownSchema", 1)
    assert [(header.key, header.value) for header in letter.headers] == [("trace", b"\xfe"), ("none", None)]
    assert letter.timestamp_ms == bad.timestamp_ms
    delete_topics(admin, [source.name, target.name])


def test_a_record_that_was_larger_before_it_was_compressed_than_a_dead_letter_may_be_gets_one_all_the_same(
    broker: Kafka, admin: AdminClient
) -> None:
    """Brokers measure what is compressed: five megabytes of nothing came through, and its processor ended at every restart."""
    source = _topic(1)
    target = replace(next(t for t in standard_topics() if t.name == "tweets.dlq"), name=dlq(source.name))
    create_topics(admin, [source, target])
    foreign = make_producer(broker.bootstrap, compression_type="gzip", message_max_bytes=10_000_000)
    foreign.produce(source.name, b"\0" * 5_000_000, b"t:1", headers=[("trace", b"\0" * 5_000)])
    foreign.flush(10)
    with TailReader(broker.bootstrap, source.name, [0]) as tail:
        (bad,) = tail.read_to_end()
    assert len(bad.value or b"") == 5_000_000
    outbox = Outbox(broker.bootstrap)
    DeadLetterWriter(outbox, role="embedder").write(bad, UndecodableRecord("no tweet"))
    outbox.flush_all(timeout_s=10)
    assert outbox.take_failures() == []
    with TailReader(broker.bootstrap, target.name, [0]) as tail:
        (entry,) = tail.read_to_end()
    letter = decode(DeadLetter, entry.value or b"")
    assert entry.key == letter.record_key == f"{source.name}/0/0".encode()
    assert letter.left_out
    assert (letter.key, letter.value, letter.headers) == (None, None, ())
    assert letter.error.startswith(f"no tweet; too large for a dead letter, the record is in {source.name}/0 at offset 0 alone")
    delete_topics(admin, [source.name, target.name])


def test_the_largest_record_a_topic_takes_fits_its_dead_letter(broker: Kafka, admin: AdminClient) -> None:
    """If it did not, one junk record of a megabyte would stop its processor at every restart."""
    source = _topic(1)
    target = replace(next(t for t in standard_topics() if t.name == "tweets.dlq"), name=dlq(source.name))
    create_topics(admin, [source, target])
    largest = b"\xff" * 1_048_000
    producer = make_producer(broker.bootstrap)
    producer.produce(source.name, largest, b"t:1")
    producer.flush(10)
    with TailReader(broker.bootstrap, source.name, [0]) as tail:
        (bad,) = tail.read_to_end()
    DeadLetterWriter(producer, role="embedder").write(bad, UndecodableRecord("x" * 10_000))
    producer.flush(10)
    with TailReader(broker.bootstrap, target.name, [0]) as tail:
        (entry,) = tail.read_to_end()
    assert bad.value == largest
    assert decode(DeadLetter, entry.value or b"").value == largest
    assert len(entry.value or b"") < MAX_DEAD_LETTER_BYTES
    delete_topics(admin, [source.name, target.name])


def test_every_key_lands_on_the_partition_of_the_rule_and_the_default_would_not(broker: Kafka, admin: AdminClient) -> None:
    """1,000 keys through the real client: an embedder owns partition p of every topic, so p must be the same everywhere."""
    ours, default = _topic(7), _topic(7)
    create_topics(admin, [ours, default])
    expected = [partition_of(key, 7) for key in KEYS]
    assert _partitions(Producer(producer_config(broker.bootstrap, linger_ms=5)), ours.name) == expected
    assert _partitions(Producer({"bootstrap.servers": broker.bootstrap}), default.name) != expected
    delete_topics(admin, [ours.name, default.name])


def _partitions(producer: Producer, topic: str) -> list[int]:
    found: dict[bytes, int] = {}

    def delivered(error: KafkaError | None, message: Message, key: bytes) -> None:
        assert error is None
        found[key] = message.partition() or 0

    for key in KEYS:
        producer.produce(topic, b"", key, on_delivery=partial(delivered, key=key))
    assert producer.flush(30) == 0
    return [found[key] for key in KEYS]


def test_a_record_comes_back_as_it_was_sent(broker: Kafka, topic: Topic) -> None:
    """Keys are the id's UTF-8, never framed; a null value is a tombstone, not an empty value."""
    producer = make_producer(broker.bootstrap)
    producer.produce(topic.name, None, "t:é".encode())
    producer.produce(topic.name, b"", "t:é".encode())
    producer.flush(10)
    with TailReader(broker.bootstrap, topic.name, range(PARTITIONS)) as tail:
        first, second = tail.read_to_end()
    assert (first.key, first.value, second.value) == ("t:é".encode(), None, b"")
    assert first.partition == partition_of("t:é".encode(), PARTITIONS)
    assert encode(DeadLetter(topic.name, 0, 0, 0, None, None, "", "", "")) != b""
