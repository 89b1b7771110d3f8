"""Where logs end, and what was read beyond that: of a topic that was deleted, whose name another has now. Reads no record."""

import logging
from collections.abc import Iterable, Mapping

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from schemas.errors import BrokerUnavailable
from schemas.positions import Place
from schemas.wire.offsets import ask_offsets

log = logging.getLogger(__name__)


def log_ends(
    admin: AdminClient, places: Iterable[Place], *, since_ms: int | None = None, timeout_s: float = 10.0
) -> dict[Place, int]:
    """Return the end of each log, by topic and partition.

    Args:
        since_ms: as `ask_offsets`: the first record appended at this time or later instead, -1 where there is none.

    Raises:
        BrokerUnavailable: no answer within `timeout_s`, or a partition has no leader.
    """
    ends = {}
    for place, answer in ask_offsets(admin, places, since_ms=since_ms, timeout_s=timeout_s).items():
        if isinstance(answer, KafkaException):
            raise BrokerUnavailable(f"cannot ask for the end of {place[0]}: {answer.args[0].str()}") from answer
        ends[place] = answer
    return ends


def beyond_end(committed: Mapping[Place, int | None], ends: Mapping[Place, int]) -> list[Place]:
    """Return the places of which more was read than there is, and say so: they are to be read from the beginning.

    Args:
        ends: asked for later than `committed`, or a log that grows would seem to be another.
    """
    found = [place for place, offset in committed.items() if offset is not None and offset > ends[place]]
    for topic, partition in found:
        log.warning(
            "%s/%d ends at %d, and was read up to %d: the topic was deleted and created anew; it is read from its beginning",
            topic,
            partition,
            ends[topic, partition],
            committed[topic, partition],
            extra={"topic": topic, "partition": partition},
        )
    return found
