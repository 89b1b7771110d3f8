"""What every role does before its first record: wait for a broker, see to the topics. Runs no job."""

import logging
import time
from collections.abc import Callable

from confluent_kafka.admin import AdminClient

from schemas.errors import BrokerUnavailable
from schemas.topics import standard_topics
from schemas.wire.admin import create_topics, wait_for_broker
from streams.settings import StreamsSettings

log = logging.getLogger(__name__)
_RETRY_S = 0.2


def ready_broker(settings: StreamsSettings, should_stop: Callable[[], bool]) -> AdminClient:
    """Return an admin client of a broker that has every standard topic; one that goes away meanwhile is waited for again.

    Raises:
        BrokerUnavailable: none answered in time, or `should_stop` became true.
        TopicMismatch: a topic differs from the contracts.
    """
    deadline_s = time.monotonic() + settings.broker_wait_s
    while True:
        left_s = max(0.0, deadline_s - time.monotonic())
        admin = wait_for_broker(settings.bootstrap, timeout_s=left_s, should_stop=should_stop)
        try:
            create_topics(admin, standard_topics(settings.partitions), replication=settings.replication)
        except BrokerUnavailable as error:
            if should_stop() or time.monotonic() >= deadline_s:
                raise
            log.warning("%s; trying again", error)
            time.sleep(_RETRY_S)
        else:
            return admin
