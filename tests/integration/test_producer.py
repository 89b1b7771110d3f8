"""The producer SDK against a real broker."""

import os
import signal
import time
from collections import defaultdict

from roost.broker import Broker
from schemas.codec import decode
from schemas.records.candidates import Tweet
from schemas.records.feedback import Engagement
from schemas.topics import ENGAGEMENTS, standard_topics
from schemas.wire.admin import create_topics, wait_for_broker
from schemas.wire.inbound import InboundRecord
from schemas.wire.partition import partition_of
from schemas.wire.tail import TailReader
from streams.outbox import Outbox
from streams.producer import Delivery, OnDelivery, Producer
from tests.integration.conftest import RunningKafka


def test_events_lie_where_their_delivery_says_and_read_back_equal(broker: RunningKafka) -> None:
    """Partition rule, framing and append time in one: what every consumer of ours relies on."""
    topics = standard_topics()
    create_topics(wait_for_broker(broker.bootstrap, timeout_s=30), topics)
    ids = [f"t:sdk-{n}-\N{BIRD}" for n in range(50)]
    places: dict[str, list[Delivery]] = defaultdict(list)
    with Producer(broker.bootstrap) as producer:
        for candidate_id in ids:
            producer.tweet(candidate_id, author_id="a:1", text="hé", on_delivery=_into(places[candidate_id]))
            producer.engagement(candidate_id, user_id="ann", kind="click", on_delivery=_into(places[candidate_id]))
        producer.delete(ids[0], on_delivery=_into(places[ids[0]]))
    for sent in places.values():
        sent.sort(key=lambda place: place.topic, reverse=True)
    assert all({place.partition for place in places[i]} == {partition_of(i.encode(), 4)} for i in ids)
    assert all(place.append_time_ms > 1_600_000_000_000 for i in ids for place in places[i])
    written = {(r.topic, r.partition, r.offset): r for topic in ("tweets", "engagements") for r in _read(broker.bootstrap, topic)}
    for candidate_id in ids[1:]:
        tweet, engagement = (written[place.topic, place.partition, place.offset] for place in places[candidate_id][:2])
        assert decode(Tweet, tweet.value or b"").candidate_id == candidate_id
        assert decode(Engagement, engagement.value or b"").candidate_id == candidate_id
        assert tweet.timestamp_ms == places[candidate_id][0].append_time_ms


def _read(bootstrap: str, topic: str) -> list[InboundRecord]:
    with TailReader(bootstrap, topic, range(4), once=True) as reader:
        return reader.read_to_end()


def _into(places: list[Delivery]) -> OnDelivery:
    def note(outcome: object) -> None:
        assert isinstance(outcome, Delivery)
        places.append(outcome)

    return note


def test_a_producer_is_at_rest_while_its_broker_is_held_up(fresh_broker: Broker) -> None:
    """Behind a request under way, records that had lingered kept the client's thread spinning: a core, from the broker itself."""
    create_topics(wait_for_broker(fresh_broker.bootstrap, timeout_s=30), standard_topics())
    outbox = Outbox(fresh_broker.bootstrap, linger_ms=25)

    def produce_for(seconds: float) -> float:
        """Return the cores that this process used meanwhile."""
        begun_s, begun_cpu_s = time.monotonic(), time.process_time()
        while time.monotonic() - begun_s < seconds:
            for number in range(40):
                outbox.produce(ENGAGEMENTS, b"e" * 100, str(number).encode())
            time.sleep(0.01)
        return (time.process_time() - begun_cpu_s) / (time.monotonic() - begun_s)

    produce_for(0.2)
    outbox.flush_all(timeout_s=30)
    os.kill(fresh_broker.pid, signal.SIGSTOP)
    try:
        cores = produce_for(1.5)
    finally:
        os.kill(fresh_broker.pid, signal.SIGCONT)
    outbox.flush_all(timeout_s=30)
    assert outbox.take_failures() == []
    assert cores < 0.4
