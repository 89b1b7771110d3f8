"""Events on their way: which topic and key is whose, and what a delivery report says. Sends nothing."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from confluent_kafka import KafkaError, Message

from schemas.errors import DeliveryFailed
from schemas.records.candidates import Account, Article, Tweet
from schemas.records.feedback import Engagement, Impression
from schemas.records.users import User
from schemas.topics import ACCOUNTS, ARTICLES, ENGAGEMENTS, IMPRESSIONS, TWEETS, USERS
from schemas.wire.tracing import Attributes, Span

Event = Tweet | Account | Article | Engagement | Impression | User


@dataclass(frozen=True, slots=True)
class Delivery:
    """Where an acknowledged record lies. `append_time_ms` is the broker's, in Unix milliseconds."""

    topic: str
    partition: int
    offset: int
    append_time_ms: int


OnDelivery = Callable[[Delivery | DeliveryFailed], None]


def address(event: Event) -> tuple[str, bytes]:
    """Return the topic and key of an event."""
    match event:
        case Tweet():
            return TWEETS, event.candidate_id.encode()
        case Account():
            return ACCOUNTS, event.candidate_id.encode()
        case Article():
            return ARTICLES, event.candidate_id.encode()
        case Engagement():
            return ENGAGEMENTS, event.candidate_id.encode()
        case Impression():
            return IMPRESSIONS, event.candidate_id.encode()
        case User():
            return USERS, event.user_id.encode()


def reporting(on_delivery: OnDelivery) -> Callable[[KafkaError | None, Message], None]:
    """Return the client's callback that tells `on_delivery`."""

    def report(error: KafkaError | None, message: Any) -> None:
        if error is None:
            on_delivery(Delivery(message.topic(), message.partition(), message.offset(), message.timestamp()[1]))
        else:
            on_delivery(DeliveryFailed(f"a record for {message.topic()} was not acknowledged: {error.str()}"))

    return report


def ending(span: Span, on_delivery: OnDelivery | None) -> OnDelivery:
    """Return `on_delivery`, after the span has ended with where the record lies."""

    def ended(outcome: Delivery | DeliveryFailed) -> None:
        if isinstance(outcome, DeliveryFailed):
            span.end(error=str(outcome))
        else:
            place: Attributes = {
                "messaging.destination.partition.id": str(outcome.partition),
                "messaging.kafka.offset": outcome.offset,
            }
            span.end(attributes=place)
        if on_delivery is not None:
            on_delivery(outcome)

    return ended
