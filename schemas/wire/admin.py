"""Administration: wait for a broker, create topics as the contracts ask, refuse those that differ. Deletes only what it is told."""

import logging
import time
from collections.abc import Callable, Iterable

from confluent_kafka import KafkaError, KafkaException, TopicCollection
from confluent_kafka.admin import AdminClient, ConfigResource, NewTopic  # type: ignore[attr-defined]

from schemas.errors import BrokerUnavailable, TopicMismatch
from schemas.topics import Topic

log = logging.getLogger(__name__)

_ATTEMPT_S = 2.0


def wait_for_broker(bootstrap: str, *, timeout_s: float, should_stop: Callable[[], bool] = lambda: False) -> AdminClient:
    """Return an admin client once a broker answers; the reason for waiting is logged at every attempt.

    Raises:
        BrokerUnavailable: none answered within `timeout_s`, or `should_stop` became true.
    """
    deadline = time.monotonic() + timeout_s
    admin = AdminClient({"bootstrap.servers": bootstrap, "log.connection.close": False})
    while True:
        try:
            admin.list_topics(timeout=_ATTEMPT_S)
        except KafkaException as error:
            reason = error.args[0].str()
        else:
            return admin
        if time.monotonic() >= deadline or should_stop():
            raise BrokerUnavailable(
                f"no broker at {bootstrap} within {timeout_s:.0f} s ({reason}); start one or set KAFKA_BOOTSTRAP_SERVERS"
            )
        log.warning("waiting for the broker at %s: %s", bootstrap, reason)
        time.sleep(0.2)


def create_topics(admin: AdminClient, topics: Iterable[Topic], *, replication: int = 1, timeout_s: float = 30.0) -> list[str]:
    """Create the topics that do not exist yet and return their names; then check all.

    Raises:
        TopicMismatch: one exists with another partition count or configuration.
    """
    wanted = list(topics)
    new = [NewTopic(t.name, num_partitions=t.partitions, replication_factor=replication, config=t.config) for t in wanted]
    created: list[str] = []
    for name, future in (admin.create_topics(new, operation_timeout=timeout_s) if new else {}).items():
        try:
            future.result(timeout_s)
            created.append(name)
        except KafkaException as error:
            if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                raise
    check_topics(admin, [topic for topic in wanted if topic.name not in created], timeout_s=timeout_s)
    return created


def check_topics(admin: AdminClient, topics: Iterable[Topic], *, timeout_s: float = 30.0) -> None:
    """Raise `TopicMismatch` for the first topic that is missing or differs from what the contracts ask for."""
    wanted = {topic.name: topic for topic in topics}
    if not wanted:
        return
    existing = admin.list_topics(timeout=timeout_s).topics
    for topic in wanted.values():
        found = existing.get(topic.name)
        if found is None:
            raise TopicMismatch(f"topic {topic.name} does not exist; run `roost up` or create it as `roost doctor` prints")
        if len(found.partitions) != topic.partitions:
            raise TopicMismatch(
                f"topic {topic.name} has {len(found.partitions)} partitions, not {topic.partitions}: "
                "partition p of one topic must hold the ids of partition p of all; recreate it"
            )
    resources = [ConfigResource(ConfigResource.Type.TOPIC, name) for name in wanted]
    for resource, future in admin.describe_configs(resources, request_timeout=timeout_s).items():
        entries = future.result(timeout_s)
        for key, value in wanted[resource.name].config.items():
            if entries[key].value != value:
                raise TopicMismatch(f"topic {resource.name} has {key}={entries[key].value}, not {value}; alter it")


def topic_id(admin: AdminClient, topic: str, *, timeout_s: float = 10.0) -> str:
    """Return the Kafka topic id, which changes when a topic is recreated; raises `TopicMismatch` when there is no such topic."""
    try:
        description = admin.describe_topics(TopicCollection([topic]), request_timeout=timeout_s)[topic].result(timeout_s)
    except KafkaException as error:
        raise TopicMismatch(f"topic {topic} cannot be described: {error.args[0].str()}") from error
    return str(description.topic_id)


def delete_topics(admin: AdminClient, names: Iterable[str], *, timeout_s: float = 30.0) -> None:
    """Delete topics; those that do not exist are passed over."""
    for future in admin.delete_topics(list(names), operation_timeout=timeout_s).values():
        try:
            future.result(timeout_s)
        except KafkaException as error:
            if error.args[0].code() != KafkaError.UNKNOWN_TOPIC_OR_PART:
                raise
