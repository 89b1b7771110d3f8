"""The producer SDK against a real broker."""

from collections import defaultdict

from schemas.codec import decode
from schemas.records.candidates import Tweet
from schemas.records.feedback import Engagement
from schemas.topics import standard_topics
from schemas.wire.admin import create_topics, wait_for_broker
from schemas.wire.inbound import InboundRecord
from schemas.wire.partition import partition_of
from schemas.wire.tail import TailReader
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
