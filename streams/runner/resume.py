"""Where a group goes on: at what it has committed, unless that is of a topic that is gone. Reads no record.

Offsets are committed together with the ids of all inputs: another topic of the same name may be the longer one, and a broker that
deletes a topic forgets what was committed of it, so that only the offsets beside it tell what the state was folded from.
"""

import logging
import time
from collections.abc import Collection, Mapping

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient

from schemas.errors import BrokerUnavailable, OffsetOutOfRange
from schemas.positions import Place
from schemas.wire.admin import topic_id
from schemas.wire.committed import committed_places

log = logging.getLogger(__name__)
_RETRY_S = 0.2

NO_MEMBERS_OFFSETS = (KafkaError.UNKNOWN_MEMBER_ID, KafkaError.ILLEGAL_GENERATION, KafkaError.REBALANCE_IN_PROGRESS)
"""How a broker refuses offsets from whoever is no member of the group just then."""


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
    """Return the next offsets committed, None where nothing was, and the places of which a topic was read that is gone.

    Args:
        places: whole partitions: the places of one tell of each other.
        ids: of the topics that there are now, by name. What earlier releases committed says of none, and is taken for theirs.

    Raises:
        BrokerUnavailable: as `committed_places`.
    """
    starts: dict[Place, int | None] = {}
    told: dict[Place, str] = {}
    for place in committed_places(consumer, list(places), timeout_s=timeout_s):
        starts[place.topic, place.partition] = place.offset if place.offset >= 0 else None
        for topic, known in _read_ids(place.metadata or "", place.topic).items():
            if topic == place.topic:
                told[topic, place.partition] = known
            else:
                told.setdefault((topic, place.partition), known)
    gone = {place for place in starts if told.get(place, ids[place[0]]) != ids[place[0]]}
    for topic, partition in sorted(gone):
        log.warning(
            "%s/%d was read up to %s of a topic that was deleted; the one of that name now is read from its beginning",
            topic,
            partition,
            "an offset forgotten with it" if starts[topic, partition] is None else starts[topic, partition],
            extra={"topic": topic, "partition": partition},
        )
    return starts, gone


def to_commit(positions: Mapping[Place, int], ids: Mapping[str, str]) -> list[TopicPartition]:
    """Return next offsets as they are committed."""
    metadata = " ".join(f"{topic}={known}" for topic, known in ids.items())
    return [TopicPartition(topic, partition, offset, metadata) for (topic, partition), offset in sorted(positions.items())]


def commit_unless_revoked(consumer: Consumer, positions: Mapping[Place, int], ids: Mapping[str, str]) -> None:
    """Commit next offsets and wait for it; where partitions are dealt out anew just then, whoever gets these does so."""
    try:
        consumer.commit(offsets=to_commit(positions, ids), asynchronous=False)
    except KafkaException as error:
        if error.args[0].code() not in NO_MEMBERS_OFFSETS:
            raise


def _read_ids(metadata: str, topic: str) -> dict[str, str]:
    pairs = dict(word.split("=", 1) for word in metadata.split() if "=" in word)
    # earlier releases told the topic's own, bare
    return pairs or ({topic: metadata} if metadata else {})


def require_same(before: Mapping[str, str], now: Mapping[str, str]) -> None:
    """Raise `OffsetOutOfRange` where a topic has another id now."""
    for topic, known in before.items():
        if now.get(topic, known) != known:
            raise OffsetOutOfRange(f"{topic} was deleted and created anew; starting again, to read it from its beginning")
