"""What every role does before its first record: wait for a broker, see to the topics, open the schema registry. Runs no job."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from confluent_kafka.admin import AdminClient

from schemas.topics import standard_topics
from schemas.wire.admin import create_topics, wait_for_broker
from schemas.wire.registry import RegistrySchemas
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


@contextmanager
def registry_schemas(settings: StreamsSettings) -> Iterator[RegistrySchemas | None]:
    """Yield the schemas of the settings' registry, closed at the end; None where no registry is set."""
    if settings.schema_registry_url is None:
        yield None
        return
    with RegistrySchemas(settings.schema_registry_url) as schemas:
        yield schemas
