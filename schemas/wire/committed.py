"""Asking where a consumer group stands. Commits nothing."""

import time
from collections.abc import Sequence

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from schemas.errors import BrokerUnavailable

# a broker that has just started, or a group never seen before, has no coordinator for a moment: the client does not ask again
_SETTLING = (KafkaError.NOT_COORDINATOR, KafkaError.COORDINATOR_NOT_AVAILABLE, KafkaError.COORDINATOR_LOAD_IN_PROGRESS)
_PAUSE_S = 0.1


def committed_offsets(
    consumer: Consumer, places: Sequence[tuple[str, int]], *, timeout_s: float = 10.0
) -> dict[tuple[str, int], int | None]:
    """Return the next offset that a consumer's group has committed, by topic and partition; None where it has committed nothing.

    Raises:
        BrokerUnavailable: as `committed_places`.
    """
    answered = committed_places(consumer, places, timeout_s=timeout_s)
    return {(place.topic, place.partition): place.offset if place.offset >= 0 else None for place in answered}


def committed_places(consumer: Consumer, places: Sequence[tuple[str, int]], *, timeout_s: float = 10.0) -> list[TopicPartition]:
    """Return what a consumer's group has committed, with its metadata; the offset is negative where it has committed nothing.

    Raises:
        BrokerUnavailable: no answer within `timeout_s`, or a partition's offset cannot be told.
    """
    deadline_s = time.monotonic() + timeout_s
    asked = [TopicPartition(topic, partition) for topic, partition in places]
    while True:
        try:
            answered = consumer.committed(asked, max(deadline_s - time.monotonic(), _PAUSE_S))
            break
        except KafkaException as error:
            if error.args[0].code() not in _SETTLING or time.monotonic() >= deadline_s:
                raise BrokerUnavailable(f"cannot ask for committed offsets: {error.args[0].str()}") from error
            time.sleep(_PAUSE_S)
    for place in answered:
        if place.error is not None:
            raise BrokerUnavailable(f"cannot ask for the committed offset of {place.topic}: {place.error.str()}")
    return answered
