"""Where a group goes on: at what it has committed, unless that is of a topic that is gone. Reads no record.

Offsets are committed together with the id of the topic that they count in: another topic of the same name may be the longer one.
"""

import logging
import time
from collections.abc import Collection, Mapping

from confluent_kafka import Consumer, TopicPartition
from confluent_kafka.admin import AdminClient

from schemas.errors import BrokerUnavailable, OffsetOutOfRange
from schemas.positions import Place
from schemas.wire.admin import topic_id
from schemas.wire.committed import committed_places

log = logging.getLogger(__name__)
_RETRY_S = 0.2


def awaited_ids(admin: AdminClient, topics: Collection[str], *, timeout_s: float) -> dict[str, str]:
    """Return the ids of topics, by name; a broker that goes away while it is asked is asked again.

    Raises:
        TopicMismatch: there is no such topic.
        BrokerUnavailable: no answer within `timeout_s`.
    """
    deadline_s = time.monotonic() + timeout_s
    while True:
        try:
            return {topic: topic_id(admin, topic, timeout_s=timeout_s) for topic in topics}
        except BrokerUnavailable:
            if time.monotonic() > deadline_s:
                raise
            time.sleep(_RETRY_S)


def committed_of(
    consumer: Consumer, places: Collection[Place], ids: Mapping[str, str], *, timeout_s: float
) -> tuple[dict[Place, int | None], set[Place]]:
    """Return the next offsets committed, None where nothing was, and the places where they are of a topic that is gone.

    Args:
        ids: of the topics that there are now, by name. What earlier releases committed says of none, and is taken for theirs.

    Raises:
        BrokerUnavailable: as `committed_places`.
    """
    answered = committed_places(consumer, list(places), timeout_s=timeout_s)
    gone = set()
    for place in answered:
        if place.offset >= 0 and place.metadata not in (None, "", ids[place.topic]):
            gone.add((place.topic, place.partition))
            log.warning(
                "%s/%d was read up to %d of a topic that was deleted; the one of that name now is read from its beginning",
                place.topic,
                place.partition,
                place.offset,
                extra={"topic": place.topic, "partition": place.partition},
            )
    return {(place.topic, place.partition): place.offset if place.offset >= 0 else None for place in answered}, gone


def to_commit(positions: Mapping[Place, int], ids: Mapping[str, str]) -> list[TopicPartition]:
    """Return next offsets as they are committed."""
    return [TopicPartition(topic, partition, offset, ids[topic]) for (topic, partition), offset in sorted(positions.items())]


def require_same(before: Mapping[str, str], now: Mapping[str, str]) -> None:
    """Raise `OffsetOutOfRange` where a topic has another id now."""
    for topic, known in before.items():
        if now.get(topic, known) != known:
            raise OffsetOutOfRange(f"{topic} was deleted and created anew; starting again, to read it from its beginning")
