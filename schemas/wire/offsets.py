"""Asking a broker where logs end, or stood at a time. Decides nothing about a partition that cannot be asked for."""

import time
from collections.abc import Iterable

from confluent_kafka import IsolationLevel, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec  # type: ignore[attr-defined]

from schemas.positions import Place

_LEAST_S = 0.1


def ask_offsets(
    admin: AdminClient, places: Iterable[Place], *, since_ms: int | None = None, committed: bool = False, timeout_s: float = 10.0
) -> dict[Place, int | KafkaException]:
    """Return the end of each log, by topic and partition; of one that the broker does not tell, its reason.

    Args:
        since_ms: asks for the first record appended at this time or later instead; -1 where there is none.
        committed: the end is where the first transaction begins that is still open, which is as far as committed records are read.
    """
    deadline_s = time.monotonic() + max(timeout_s, _LEAST_S)
    wanted = list(places)
    try:
        # a client that is new, and does not know a partition's leader yet, asks again after three seconds only
        admin.list_topics(timeout=max(timeout_s, _LEAST_S))
    except KafkaException as error:
        return dict.fromkeys(wanted, error)
    # the client's types name these nowhere
    spec = OffsetSpec.latest() if since_ms is None else OffsetSpec.for_timestamp(since_ms)  # type: ignore[no-untyped-call]
    asked = {TopicPartition(*place): spec for place in wanted}
    left_s = max(deadline_s - time.monotonic(), _LEAST_S)
    answers: dict[Place, int | KafkaException] = {}
    level = IsolationLevel.READ_COMMITTED if committed else IsolationLevel.READ_UNCOMMITTED
    for place, future in (admin.list_offsets(asked, isolation_level=level, request_timeout=left_s) if asked else {}).items():
        try:
            # the request's own limit ends it, with a reason; one of the future's would race it, and has none
            answers[place.topic, place.partition] = future.result().offset
        except KafkaException as error:
            answers[place.topic, place.partition] = error
    return answers
