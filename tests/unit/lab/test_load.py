"""The open-loop load generator: on schedule, counted by what was acknowledged."""

import pytest

from lab.load import Encoded, at_rate, encoded, publish
from lab.world import Clock, LiveWorld, World, WorldSettings
from lab.world.settings import HOUR_S
from schemas.codec import decode
from schemas.errors import DeliveryFailed
from schemas.records.base import Message
from schemas.records.users import User
from streams.producer import Delivery, OnDelivery

START_S = 1_700_000_000.0


class SlowBroker:
    """A sender that takes `cost_s` of its own clock for each event and acknowledges on flush; may refuse the n-th."""

    def __init__(self, cost_s: float = 0.0, *, refuses: int | None = None) -> None:
        self.now_s = START_S
        self.sent_at_s: list[float] = []
        self._cost_s = cost_s
        self._refuses = refuses
        self._waiting: list[OnDelivery] = []

    def send(self, event: object, /, *, on_delivery: OnDelivery | None = None) -> None:
        """Take an event."""
        self.sent_at_s.append(self.now_s)
        self.now_s += self._cost_s
        if on_delivery:
            self._waiting.append(on_delivery)

    def poll(self) -> None:
        """Acknowledge nothing yet."""

    def flush(self) -> None:
        """Acknowledge everything but what is refused."""
        for number, report in enumerate(self._waiting):
            report(DeliveryFailed("refused") if number == self._refuses else Delivery("tweets", 0, number, 0))
        if self._refuses is not None:
            raise DeliveryFailed("1 records were not acknowledged")

    def sleep(self, seconds: float) -> None:
        """Let time pass."""
        self.now_s += seconds

    def clock(self) -> float:
        """Return the time, Unix seconds."""
        return self.now_s


def test_events_are_sent_at_the_rate_asked_for() -> None:
    """A load of 200/s that comes in clumps measures the clumps."""
    broker = SlowBroker()
    schedule = at_rate(200.0, start_s=START_S)
    report = publish(range(600), broker, schedule=schedule, now_s=broker.clock, sleep=broker.sleep)
    assert (report.sent, report.acknowledged) == (600, 600)
    assert report.seconds == pytest.approx(3.0, abs=0.01)
    assert report.rate_per_s == pytest.approx(200, rel=0.01)
    for number, sent_at_s in enumerate(broker.sent_at_s):
        assert abs(sent_at_s - START_S - number / 200) <= 0.003


def test_a_slow_broker_shows_as_lateness_not_as_a_lower_rate() -> None:
    """Closed-loop generators hide exactly the overload they should show."""
    broker = SlowBroker(cost_s=0.01)
    report = publish(range(100), broker, schedule=at_rate(200.0, start_s=START_S), now_s=broker.clock, sleep=broker.sleep)
    assert report.late_s == pytest.approx(99 * 0.005, abs=0.005)


def test_the_world_is_published_at_its_own_event_times() -> None:
    """Live means: an event reaches the broker when it happens."""
    live = LiveWorld(World(WorldSettings(users=100, authors=30, tweets_per_day=200)), Clock(round(START_S * 1000), 0.0, 3_600.0))
    broker = SlowBroker()
    events = [event for event in live.events(until_s=4 * HOUR_S) if isinstance(event, Message)]
    publish(events, broker, schedule=lambda _, event: event.event_time_ms / 1000, now_s=broker.clock, sleep=broker.sleep)
    assert len(broker.sent_at_s) == len(events) > 50
    for event, sent_at_s in zip(events, broker.sent_at_s, strict=True):
        assert event.event_time_ms / 1000 - 0.003 <= sent_at_s <= event.event_time_ms / 1000 + 0.06


def test_only_what_was_acknowledged_counts_and_a_loss_is_an_error() -> None:
    """A throughput of lost events is no throughput."""
    with pytest.raises(DeliveryFailed):
        publish(range(10), SlowBroker(refuses=3))


def test_an_endless_stream_stops_when_told() -> None:
    """The demo ends before the world does."""
    broker = SlowBroker()
    left = iter(range(50))
    report = publish(iter(int, 1), broker, should_stop=lambda: next(left, None) is None)
    assert report.sent == 50


def test_encoded_events_are_the_events() -> None:
    """Encoding beforehand must not change what is sent, nor its key: the key decides the partition."""
    live = LiveWorld(World(WorldSettings(users=50, authors=20, tweets_per_day=200)), Clock(0))
    events = [*live.users(), *(event for event in live.events(until_s=6 * HOUR_S) if isinstance(event, Message))]
    for event, sent in zip(events, encoded(events), strict=True):
        assert isinstance(sent, Encoded)
        assert decode(type(event), sent.value) == event
        key = event.user_id if isinstance(event, User) else event.candidate_id
        assert sent.key == key.encode()
    assert {sent.topic for sent in encoded(events)} == {"users", "tweets", "impressions", "engagements"}


def test_a_rate_of_zero_is_refused() -> None:
    """It would wait for ever."""
    with pytest.raises(ValueError, match="above 0"):
        at_rate(0, start_s=0)
