"""What every role does before its first record: wait for a broker, see to the topics. Runs no job."""

from collections.abc import Callable

from confluent_kafka.admin import AdminClient

from schemas.topics import standard_topics
from schemas.wire.admin import create_topics, wait_for_broker
from streams.settings import StreamsSettings


def ready_broker(settings: StreamsSettings, should_stop: Callable[[], bool]) -> AdminClient:
    """Return an admin client of a broker that has every standard topic.

    Raises:
        BrokerUnavailable: none answered in time, or `should_stop` became true.
        TopicMismatch: a topic differs from the contracts.
    """
    admin = wait_for_broker(settings.bootstrap, timeout_s=settings.broker_wait_s, should_stop=should_stop)
    create_topics(admin, standard_topics(settings.partitions), replication=settings.replication)
    return admin
