"""Waits for the member of this process's name that was here before it, where its return would leave partitions to nobody.

A static member that comes back within its session is given the partitions it had, without a rebalance (KIP-345). If they were
handed out while a topic was away, nobody reads that topic from then on, and neither client asks again.
"""

import logging
import threading
import time
from collections.abc import Collection

from confluent_kafka import ConsumerGroupState
from confluent_kafka.admin import AdminClient, ConsumerGroupDescription  # type: ignore[attr-defined]

from schemas.wire.admin import group_description, partition_counts

log = logging.getLogger(__name__)

_ASK_AGAIN_S = 0.5


def await_rebalance(
    admin: AdminClient, group: str, instance: str, topics: Collection[str], stop: threading.Event, *, patience_s: float
) -> None:
    """Return at once, unless the group has a member `instance` and all members together lack partitions of the topics.

    Then once the broker has given that member up, `stop` is set, or `patience_s` are over: it may live, and joining shuts it out.

    Raises:
        BrokerUnavailable: no answer.
    """
    deadline_s = time.monotonic() + patience_s
    told = False
    while time.monotonic() < deadline_s and not stop.is_set():
        described = group_description(admin, group)
        if described.state is not ConsumerGroupState.STABLE or not any(m.group_instance_id == instance for m in described.members):
            return
        missing = _unassigned(admin, described, topics)
        if not missing:
            return
        if not told:
            log.warning("%s was handed out without %s; joining once its member %s is given up", group, ", ".join(missing), instance)
            told = True
        stop.wait(_ASK_AGAIN_S)


def _unassigned(admin: AdminClient, described: ConsumerGroupDescription, topics: Collection[str]) -> list[str]:
    assigned = {(place.topic, place.partition) for member in described.members for place in member.assignment.topic_partitions}
    counts = partition_counts(admin)
    return sorted(topic for topic in topics if any((topic, p) not in assigned for p in range(counts.get(topic, 0))))
