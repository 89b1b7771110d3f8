"""The producer SDK against librdkafka's mock broker: what it refuses, what it fills in, and that failures surface."""

import threading
from collections.abc import Iterator
from typing import Any

import pytest

from schemas.errors import DeliveryFailed, InvalidInput, InvalidRecord
from schemas.records.candidates import Tweet
from schemas.records.feedback import Impression, QueryToken
from schemas.records.users import QueryFeatures
from schemas.tokens import read_token
from streams.outbox import Failure, Outbox
from streams.producer import Delivery, Event, OnDelivery, Producer


@pytest.fixture
def producer() -> Iterator[Producer]:
    """Yield a producer whose broker is librdkafka's in-process mock."""
    with Producer("127.0.0.1:9", test_mock_num_brokers=1) as producer:
        yield producer


def test_a_sent_tweet_reports_where_it_lies(producer: Producer) -> None:
    """`publish --wait` prints partition and offset: the caller's proof that the event is in the log."""
    deliveries: list[Delivery | DeliveryFailed] = []
    for _ in range(2):
        producer.tweet("t:1", author_id="a:1", on_delivery=deliveries.append)
    producer.flush()
    assert [(d.topic, d.offset) for d in deliveries if isinstance(d, Delivery)] == [("tweets", 0), ("tweets", 1)]


def test_waiting_for_one_event_returns_its_place(producer: Producer) -> None:
    """A script that goes on only when its event is safe needs no callback."""
    delivery = producer.send_and_wait(Tweet("t:1", 1_000, 0, "a:1", 1_000), timeout_s=10)
    assert (delivery.topic, delivery.offset) == ("tweets", 0)


@pytest.mark.parametrize("name", ["", "n" * 65])
def test_a_producer_s_name_is_refused_before_anything_is_sent(name: str) -> None:
    """It goes with every record: one that was a whole sentence would be paid for a thousand times a second."""
    with pytest.raises(InvalidInput, match="1 to 64 bytes"):
        Producer("127.0.0.1:9", name=name)


@pytest.mark.parametrize("candidate_id", ["", "t:", "plain", "t:" + "\N{BIRD}" * 16])
def test_an_id_that_breaks_the_rules_is_refused_before_it_is_sent(producer: Producer, candidate_id: str) -> None:
    """The sender can mend it; in the dead-letter topic nobody is left who can."""
    with pytest.raises(InvalidRecord, match="candidate id"):
        producer.tweet(candidate_id, author_id="a:1")


def test_an_unknown_kind_names_the_known_ones(producer: Producer) -> None:
    """`like` for `favorite` is the first thing anybody types."""
    with pytest.raises(InvalidRecord, match="unretweet"):
        producer.engagement("t:1", user_id="ann", kind="like")


def test_a_time_ahead_of_the_clock_is_refused(producer: Producer) -> None:
    """Seconds for milliseconds, or a wrong clock: one future version could never be updated or deleted."""
    with pytest.raises(InvalidRecord, match="clock"):
        producer.tweet("t:1", author_id="a:1", event_time_ms=4_000_000_000_000)


def test_a_value_of_the_wrong_type_is_refused_with_a_sentence(producer: Producer) -> None:
    """Untyped callers exist; they get our error, not the Avro writer's."""
    with pytest.raises(InvalidRecord, match="does not fit"):
        producer.tweet("t:1", author_id="a:1", author_followers="many")  # type: ignore[call-overload]


@pytest.mark.parametrize("bad_id", ["\ud800", 7])
def test_an_id_that_is_no_text_is_refused_with_a_sentence(producer: Producer, bad_id: Any) -> None:
    """Half a surrogate pair comes of a text cut in the middle; whoever catches `InvalidRecord` was ended by an error of Unicode."""
    with pytest.raises(InvalidRecord, match=r"half a surrogate pair|does not fit"):
        producer.user(bad_id)
    with pytest.raises(InvalidRecord, match=r"half a surrogate pair|does not fit"):
        producer.send(Tweet(f"t:{bad_id}" if isinstance(bad_id, str) else bad_id, 1_000, 0, "a:1", 1_000))


def test_a_full_queue_waits_and_loses_nothing() -> None:
    """Back-pressure: the client's BufferError would otherwise drop the event that met it."""
    deliveries: list[object] = []
    with Producer("127.0.0.1:9", test_mock_num_brokers=1, queue_buffering_max_messages=10) as producer:
        for n in range(500):
            producer.engagement("t:1", user_id="ann", kind="click", event_id=str(n), on_delivery=deliveries.append)
    assert len(deliveries) == 500
    assert all(isinstance(delivery, Delivery) for delivery in deliveries)


def test_an_unacknowledged_event_fails_the_flush() -> None:
    """Silence would read as success: nothing listens at this address."""
    producer = Producer("127.0.0.1:9", delivery_timeout_s=0.3)
    producer.tweet("t:1", author_id="a:1")
    with pytest.raises(DeliveryFailed, match="1 records were not acknowledged"):
        producer.flush()


def test_a_failure_that_nobody_waits_for_is_told_with_the_one_that_is_waited_for() -> None:
    """It was forgotten with the other's, and a later flush told the caller that all was well."""
    producer = Producer("127.0.0.1:9", delivery_timeout_s=0.3)
    producer.tweet("t:1", author_id="a:1")
    with pytest.raises(DeliveryFailed, match="2 records were not acknowledged"):
        producer.send_and_wait(Tweet("t:2", 1_000, 0, "a:1", 1_000), timeout_s=10)


def test_a_failure_reported_while_another_thread_takes_them_is_not_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    """A producer may be shared: a report came between one thread's look and its swap, and no call ever raised for it."""
    outbox = Outbox("127.0.0.1:9", message_timeout_ms=100)
    taken: list[Failure] = []

    def interrupted(*fields: Any) -> Failure:
        taker = threading.Thread(target=lambda: taken.extend(outbox.take_failures()))
        taker.start()
        taker.join(5)
        return Failure(*fields)

    monkeypatch.setattr("streams.outbox.Failure", interrupted)
    outbox.produce("tweets", b"", b"t:1")
    outbox.flush(10)
    assert [failure.topic for failure in (*taken, *outbox.take_failures())] == ["tweets"]


def test_leaving_the_block_raises_for_an_unacknowledged_event() -> None:
    """Most programs never call flush: the end of the `with` is their only chance to hear of a loss."""
    with pytest.raises(DeliveryFailed, match="tweets"), Producer("127.0.0.1:9", delivery_timeout_s=0.3) as producer:
        producer.tweet("t:1", author_id="a:1")


def test_a_failing_block_keeps_its_own_exception() -> None:
    """The caller's error is the cause; the loss is added to it as a note."""

    def fail_after_sending() -> None:
        with Producer("127.0.0.1:9", delivery_timeout_s=0.3) as producer:
            producer.tweet("t:1", author_id="a:1")
            raise KeyError("mine")

    with pytest.raises(KeyError) as raised:
        fail_after_sending()
    assert "not acknowledged" in raised.value.__notes__[0]


def test_sequences_count_up_across_producers() -> None:
    """Two updates in one millisecond: the later one must win, also after the program was restarted."""
    first = Producer("127.0.0.1:9")
    second = Producer("127.0.0.1:9")
    numbers = [first._sequence(None), first._sequence(None), second._sequence(None)]
    assert numbers == sorted(set(numbers))


def test_accounts_articles_and_deletes_go_to_the_topic_of_their_kind(producer: Producer) -> None:
    """A delete on another topic than its create would delete nothing."""
    deliveries: list[Delivery | DeliveryFailed] = []
    producer.account("a:1", followers=7, text="Ada", on_delivery=deliveries.append)
    producer.article("n:1", publisher_id="a:1", text="Herons", on_delivery=deliveries.append)
    for candidate_id in ("a:1", "n:1", "t:1"):
        producer.delete(candidate_id, on_delivery=deliveries.append)
    producer.flush()
    topics = sorted(delivery.topic for delivery in deliveries if isinstance(delivery, Delivery))
    assert topics == ["accounts", "accounts", "articles", "articles", "tweets"]


class Keeping(Producer):
    """A producer that keeps what it would send."""

    kept: Event | None = None

    def send(self, event: Event, *, on_delivery: OnDelivery | None = None) -> None:
        """Keep the event."""
        self.kept = event


def test_an_impression_of_no_answer_says_what_it_was_asked_from() -> None:
    """Nobody could reconstruct which tweet was clicked on; too much of it is refused here, where it can be mended."""
    impression: dict[str, Any] = {"user_id": "ann", "request_id": "r", "surface": "notification-landing", "position": 0}
    producer = Keeping("127.0.0.1:9", test_mock_num_brokers=1)
    producer.impression("t:1", context={"author_id": "a:7"}, **impression)
    assert isinstance(producer.kept, Impression)
    token = read_token(QueryToken, producer.kept.query_token)
    assert token == QueryToken("", QueryFeatures(context={"author_id": "a:7"}))
    with pytest.raises(InvalidRecord, match="at most 8"):
        producer.impression("t:1", context={str(n): "" for n in range(9)}, **impression)
