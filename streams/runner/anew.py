"""Sets a group back to the beginning of what was created anew, before it reads. The batch runner needs none of it.

Faust takes whatever comes below the committed offset for read already: a topic that was deleted and created again would be passed
over until it is as long as the one before it, in silence.
"""

import threading
import time
from collections.abc import Iterable

from confluent_kafka import Consumer, KafkaException, TopicPartition

from schemas.errors import BrokerUnavailable
from schemas.positions import Place
from schemas.wire.admin import make_admin, partition_counts
from schemas.wire.client import make_consumer
from schemas.wire.committed import committed_offsets
from schemas.wire.ends import beyond_end, log_ends
from streams.runner.resume import NO_MEMBERS_OFFSETS

_ASK_AGAIN_S = 0.5


def set_back(bootstrap: str, group: str, topics: Iterable[str], stop: threading.Event, *, patience_s: float) -> None:
    """Commit the beginning of every partition that ends before what the group has committed; waits for the group to be empty.

    Raises:
        BrokerUnavailable: no answer, or the group has a member still after `patience_s`.
    """
    admin = make_admin(bootstrap)
    counts = partition_counts(admin)
    places = [(topic, partition) for topic in topics for partition in range(counts[topic])]
    consumer = make_consumer(bootstrap, group)
    try:
        committed = committed_offsets(consumer, places)
        found = beyond_end(committed, log_ends(admin, places))
        deadline_s = time.monotonic() + patience_s
        while found and not stop.is_set() and not _committed(consumer, found):
            if time.monotonic() >= deadline_s:
                raise BrokerUnavailable(f"{group} cannot begin anew while it has a member; stop every other process of the group")
            stop.wait(_ASK_AGAIN_S)
    finally:
        consumer.close()


def _committed(consumer: Consumer, places: Iterable[Place]) -> bool:
    try:
        consumer.commit(offsets=[TopicPartition(*place, 0) for place in places], asynchronous=False)
    except KafkaException as error:
        # until the session of the process before this one is over, the broker takes offsets from its member alone
        if error.args[0].code() not in NO_MEMBERS_OFFSETS:
            raise
        return False
    return True
