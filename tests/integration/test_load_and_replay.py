"""Load and replay against a real broker: what is counted as acknowledged lies in the log, in order."""

import time

from lab.load import EncodedSender, encoded, publish
from lab.replay import replay
from lab.world import Clock, LiveWorld, World, WorldSettings
from lab.world.settings import HOUR_S
from schemas.codec import MessageT, decode
from schemas.records.base import Message
from schemas.records.candidates import Tweet
from schemas.records.feedback import Engagement, Impression
from schemas.topics import ENGAGEMENTS, IMPRESSIONS, TWEETS, standard_topics
from schemas.wire.admin import create_topics, wait_for_broker
from schemas.wire.tail import TailReader
from streams.producer import Producer
from tests.integration.conftest import RunningKafka


def test_a_replay_lies_in_the_log_in_its_real_order(broker: RunningKafka) -> None:
    """Real input through the real topics: nothing lost, each candidate's ratings in the order people gave them."""
    create_topics(wait_for_broker(broker.bootstrap, timeout_s=30), standard_topics())
    with Producer(broker.bootstrap) as producer:
        summary = replay("movielens-100k", producer, count=5_000)
    shown = [event for event in _read(broker, IMPRESSIONS, Impression) if event.surface == "movies"]
    liked = [event for event in _read(broker, ENGAGEMENTS, Engagement) if event.candidate_id.startswith("t:ml-")]
    films = [event for event in _read(broker, TWEETS, Tweet) if event.candidate_id.startswith("t:ml-")]
    assert len(shown) == summary["impressions"] == 5_000
    assert len(liked) == summary["engagements"] > 2_000
    assert len(films) == summary["candidates"]
    latest: dict[str, int] = {}
    for event in shown:
        assert event.source_time_ms is not None
        assert event.source_time_ms >= latest.get(event.candidate_id, 0)
        latest[event.candidate_id] = event.source_time_ms


def test_a_load_counts_what_the_broker_acknowledged(broker: RunningKafka) -> None:
    """The count a throughput figure stands on, by the encoded path and by the producer."""
    create_topics(wait_for_broker(broker.bootstrap, timeout_s=30), standard_topics())
    settings = WorldSettings(users=200, authors=50, tweets_per_day=300)
    for run in ("encoded", "typed"):
        live = LiveWorld(World(settings), Clock(time.time_ns() // 1_000_000, 6 * HOUR_S, 360.0), run=run)
        events = [event for event in live.events(until_s=6 * HOUR_S) if isinstance(event, Message)]
        if run == "encoded":
            report = publish(list(encoded(events)), EncodedSender(broker.bootstrap))
        else:
            with Producer(broker.bootstrap) as producer:
                report = publish(events, producer)
        assert report.sent == report.acknowledged == len(events)
        requests = {
            event.request_id for event in _read(broker, IMPRESSIONS, Impression) if event.request_id.startswith(f"w-{run}-")
        }
        assert requests == {event.request_id for event in events if isinstance(event, Impression)}


def _read(broker: RunningKafka, topic: str, kind: type[MessageT]) -> list[MessageT]:
    with TailReader(broker.bootstrap, topic, range(4), once=True) as reader:
        return [decode(kind, record.value) for record in reader.read_to_end() if record.value]
