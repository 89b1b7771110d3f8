"""Load: events onto the broker on an open-loop schedule, and the count of what it acknowledged. Makes no events.

Open loop: an event is due at its time whether or not earlier ones were acknowledged, so a slow broker shows as lateness, not as
a lower rate that nobody asked for.
"""

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol, TypeVar

from confluent_kafka import KafkaError, Message

from schemas.codec import encode
from schemas.errors import DeliveryFailed
from schemas.records.candidates import Tweet
from schemas.records.feedback import Engagement, Impression
from schemas.records.users import User
from schemas.topics import ENGAGEMENTS, IMPRESSIONS, TWEETS, USERS
from streams.outbox import Outbox, raise_for
from streams.producer import Delivery, Event, OnDelivery

_LONGEST_SLEEP_S = 0.05
# above this rate sleeping for each event costs more than the event
_BURST_S = 0.002

EventT = TypeVar("EventT")
SentT_contra = TypeVar("SentT_contra", contravariant=True)


class Sender(Protocol[SentT_contra]):
    """What load asks of a producer: `streams.producer.Producer` is one, `EncodedSender` another."""

    def send(self, event: SentT_contra, /, *, on_delivery: OnDelivery | None = None) -> None:
        """Queue an event; waits while the queue is full."""
        ...

    def poll(self) -> None:
        """Call what `on_delivery` calls are due."""
        ...

    def flush(self) -> None:
        """Return once everything is acknowledged, raise where something was not."""
        ...


@dataclass(frozen=True, slots=True)
class LoadReport:
    """What became of a load.

    Attributes:
        sent, acknowledged: events.
        seconds: from the first send to the last acknowledgement.
        late_s: how far the sending fell behind its schedule at most.
    """

    sent: int
    acknowledged: int
    seconds: float
    late_s: float

    @property
    def rate_per_s(self) -> float:
        """Acknowledged events a second."""
        return self.acknowledged / self.seconds if self.seconds else 0.0


@dataclass(frozen=True, slots=True)
class Encoded:
    """An event as it goes over the wire, so that a measurement pays for sending alone."""

    topic: str
    key: bytes
    value: bytes


def encoded(events: Iterable[Event]) -> Iterator[Encoded]:
    """Encode events beforehand."""
    for event in events:
        match event:
            case Tweet():
                yield Encoded(TWEETS, event.candidate_id.encode(), encode(event))
            case Impression():
                yield Encoded(IMPRESSIONS, event.candidate_id.encode(), encode(event))
            case Engagement():
                yield Encoded(ENGAGEMENTS, event.candidate_id.encode(), encode(event))
            case User():
                yield Encoded(USERS, event.user_id.encode(), encode(event))


class EncodedSender:
    """Sends events that are encoded already."""

    def __init__(self, bootstrap: str, *, linger_ms: int = 5) -> None:
        """Connect in the background."""
        self._outbox = Outbox(bootstrap, linger_ms=linger_ms)

    def send(self, event: Encoded, *, on_delivery: OnDelivery | None = None) -> None:
        """Queue an event; waits while the queue is full; raises `DeliveryFailed` for an earlier one."""
        raise_for(self._outbox.take_failures())

        def report(error: KafkaError | None, message: Message) -> None:
            if on_delivery is None:
                return
            if error is not None:
                on_delivery(DeliveryFailed(f"a record for {event.topic} was not acknowledged: {error.str()}"))
                return
            partition, offset = message.partition() or 0, message.offset() or 0
            on_delivery(Delivery(event.topic, partition, offset, message.timestamp()[1]))

        self._outbox.produce(event.topic, event.value, event.key, on_delivery=report)

    def poll(self) -> None:
        """Call what `on_delivery` calls are due."""
        self._outbox.poll(0)

    def flush(self) -> None:
        """Return once everything is acknowledged; raises `DeliveryFailed` when something was not."""
        self._outbox.flush_all()
        raise_for(self._outbox.take_failures())


def at_rate(rate_per_s: float, *, start_s: float) -> Callable[[int, object], float]:
    """Return the schedule of evenly spaced events from `start_s` (Unix seconds) on."""
    if rate_per_s <= 0:
        raise ValueError(f"a rate must be above 0 events a second, not {rate_per_s:g}")
    return lambda number, _event: start_s + number / rate_per_s


def publish(
    events: Iterable[EventT],
    sender: Sender[EventT],
    *,
    schedule: Callable[[int, EventT], float] | None = None,
    should_stop: Callable[[], bool] = lambda: False,
    now_s: Callable[[], float] = time.time,
    sleep: Callable[[float], None] = time.sleep,
) -> LoadReport:
    """Send events when they are due; returns once all are acknowledged.

    Args:
        events: in the order they are due; drawn one at a time, so an endless stream will do with `should_stop`.
        sender: a producer.
        schedule: from an event's number and the event to the Unix time, in seconds, it is due at; without one, as fast as the
            sender takes them.
        should_stop: asked before every event.
        now_s: the clock, Unix seconds.
        sleep: waits so many seconds.

    Raises:
        DeliveryFailed: an event was not acknowledged.
    """
    acknowledged = 0

    def count(outcome: Delivery | DeliveryFailed) -> None:
        nonlocal acknowledged
        acknowledged += isinstance(outcome, Delivery)

    started_s, sent, late_s = now_s(), 0, 0.0
    for event in events:
        if should_stop():
            break
        if schedule:
            due_s = schedule(sent, event)
            while (early_s := due_s - now_s()) > _BURST_S and not should_stop():
                sender.poll()
                sleep(min(early_s, _LONGEST_SLEEP_S))
            late_s = max(late_s, -early_s)
        sender.send(event, on_delivery=count)
        sent += 1
    sender.flush()
    return LoadReport(sent, acknowledged, now_s() - started_s, late_s)
