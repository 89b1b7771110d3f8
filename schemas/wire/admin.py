"""Administration: wait for a broker; create topics as the contracts ask, refuse or alter others. Deletes only what it is told."""

import contextlib
import logging
import time
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass

from confluent_kafka import KafkaError, KafkaException, TopicCollection
from confluent_kafka.admin import (  # type: ignore[attr-defined]
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    ConsumerGroupDescription,
    NewTopic,
)

from schemas.errors import BrokerUnavailable, TopicMismatch
from schemas.topics import Topic
from schemas.wire.offsets import ask_offsets

log = logging.getLogger(__name__)

_ATTEMPT_S = 2.0
# what a broker says of a partition whose creation it has not taken in, or whose leader is away
_NOT_LED = (
    KafkaError.UNKNOWN_TOPIC_OR_PART,
    KafkaError.LEADER_NOT_AVAILABLE,
    KafkaError.NOT_LEADER_FOR_PARTITION,
    KafkaError.REPLICA_NOT_AVAILABLE,
    KafkaError.FENCED_LEADER_EPOCH,
    KafkaError.UNKNOWN_LEADER_EPOCH,
    KafkaError.OFFSET_NOT_AVAILABLE,
)


def make_admin(bootstrap: str) -> AdminClient:
    """Return an admin client that logs nothing by itself: its callers say why a call failed."""
    return AdminClient({"bootstrap.servers": bootstrap, "log_level": 0, "reconnect.backoff.max.ms": 1000})


def wait_for_broker(bootstrap: str, *, timeout_s: float, should_stop: Callable[[], bool] = lambda: False) -> AdminClient:
    """Return an admin client once a broker answers; the reason for waiting is logged at every attempt.

    Raises:
        BrokerUnavailable: none answered within `timeout_s`, or `should_stop` became true.
    """
    deadline = time.monotonic() + timeout_s
    admin = make_admin(bootstrap)
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
    """Create the topics that do not exist yet and return their names; then check all, and return once they can be written to.

    A topic is listed some milliseconds before the leaders of its partitions know of it. Of an idempotent producer's requests in
    flight, those that come too early would be refused and the next one taken, whatever its sequence number: brokers before
    Kafka 4.5 then lose the earlier records without an error (KAFKA-15591).

    Raises:
        TopicMismatch: one exists with another partition count or configuration, or the broker refuses to create it.
        BrokerUnavailable: no answer within `timeout_s`, or a partition without a leader.
    """
    wanted = list(topics)
    new = [NewTopic(t.name, num_partitions=t.partitions, replication_factor=replication, config=t.config) for t in wanted]
    created: list[str] = []
    asked = admin.create_topics(new, operation_timeout=timeout_s, request_timeout=timeout_s) if new else {}
    for name, future in asked.items():
        try:
            # here and below the request's own limit ends it, with a reason; one of the future's would race it, and has none
            future.result()
            created.append(name)
        except KafkaException as error:
            if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                raise _typed(error, f"topic {name} cannot be created") from error
    names = {topic.name for topic in wanted}
    _wait_until(lambda: names - partition_counts(admin, timeout_s).keys(), "does not know", timeout_s)
    check_topics(admin, [topic for topic in wanted if topic.name not in created], timeout_s=timeout_s)
    _wait_until(lambda: _without_leader(admin, wanted, timeout_s), "has no leader yet for partitions of", timeout_s)
    return created


@dataclass(frozen=True, slots=True)
class Setting:
    """A configuration entry of a topic that is not as the contracts ask."""

    name: str
    found: str
    wanted: str


@dataclass(frozen=True, slots=True)
class TopicFault:
    """How a topic differs from what the contracts ask.

    Attributes:
        missing: it does not exist.
        setting: the configuration entry that differs; None where it is not a setting, so that nothing can be altered.
    """

    topic: str
    sentence: str
    missing: bool = False
    setting: Setting | None = None


def check_topics(admin: AdminClient, topics: Iterable[Topic], *, timeout_s: float = 30.0) -> None:
    """Check that topics are as the contracts ask.

    Raises:
        TopicMismatch: names the first topic that is missing or differs, and in what.
        BrokerUnavailable: no answer within `timeout_s`.
    """
    if faults := topic_faults(admin, topics, timeout_s=timeout_s):
        raise TopicMismatch(faults[0].sentence)


def topic_faults(admin: AdminClient, topics: Iterable[Topic], *, timeout_s: float = 30.0) -> list[TopicFault]:
    """Return everything in which topics differ from what the contracts ask: those of another shape first, then settings.

    Raises:
        TopicMismatch: the broker refuses to describe a topic.
        BrokerUnavailable: no answer within `timeout_s`.
    """
    wanted = {topic.name: topic for topic in topics}
    if not wanted:
        return []
    existing = partition_counts(admin, timeout_s)
    faults = []
    for topic in wanted.values():
        if topic.name not in existing:
            sentence = f"topic {topic.name} does not exist; run `roost topics create`, or create it as `roost doctor` prints"
            faults.append(TopicFault(topic.name, sentence, missing=True))
        elif existing[topic.name] != topic.partitions:
            sentence = (
                f"topic {topic.name} has {existing[topic.name]} partitions, not {topic.partitions}: "
                "partition p of one topic must hold the ids of partition p of all; recreate it"
            )
            faults.append(TopicFault(topic.name, sentence))
    found = topic_configs(admin, [name for name in wanted if name in existing], timeout_s=timeout_s)
    for name, config in found.items():
        for key, value in wanted[name].config.items():
            if config[key] != value:
                sentence = f"topic {name} has {key}={config[key]}, not {value}; `roost topics alter` sets it"
                faults.append(TopicFault(name, sentence, setting=Setting(key, config[key], value)))
    return faults


def alter_topics(admin: AdminClient, faults: Iterable[TopicFault], *, timeout_s: float = 30.0) -> list[tuple[str, Setting]]:
    """Set the settings among the faults to what the contracts ask; return them with their topics, once the broker shows them.

    Raises:
        TopicMismatch: the broker refuses to alter or to describe a topic.
        BrokerUnavailable: no answer within `timeout_s`, or the old value is still shown after it.
    """
    altered = [(fault.topic, fault.setting) for fault in faults if fault.setting is not None]
    wanted: dict[str, dict[str, str]] = {}
    for topic, setting in altered:
        wanted.setdefault(topic, {})[setting.name] = setting.wanted
    changes = [
        ConfigResource(
            ConfigResource.Type.TOPIC,
            name,
            incremental_configs=[
                ConfigEntry(key, value, incremental_operation=AlterConfigOpType.SET) for key, value in settings.items()
            ],
        )
        for name, settings in wanted.items()
    ]
    for resource, future in (admin.incremental_alter_configs(changes, request_timeout=timeout_s) if changes else {}).items():
        try:
            future.result()
        except KafkaException as error:
            raise _typed(error, f"topic {resource.name} cannot be altered") from error

    def unaltered() -> set[str]:
        found = topic_configs(admin, wanted, timeout_s=timeout_s)
        return {name for name, settings in wanted.items() if not settings.items() <= found[name].items()}

    _wait_until(unaltered, "still shows the old settings of", timeout_s)
    return altered


def topic_configs(admin: AdminClient, topics: Iterable[str], *, timeout_s: float = 30.0) -> dict[str, dict[str, str]]:
    """Return the configuration in force of topics that exist, by name.

    Raises:
        TopicMismatch: the broker refuses to describe a topic.
        BrokerUnavailable: no answer within `timeout_s`.
    """
    resources = [ConfigResource(ConfigResource.Type.TOPIC, name) for name in topics]
    found = {}
    for resource, future in (admin.describe_configs(resources, request_timeout=timeout_s) if resources else {}).items():
        try:
            found[resource.name] = {key: str(entry.value) for key, entry in future.result().items()}
        except KafkaException as error:
            raise _typed(error, f"topic {resource.name} cannot be described") from error
    return found


def topic_id(admin: AdminClient, topic: str, *, timeout_s: float = 10.0) -> str:
    """Return the Kafka topic id, which changes when a topic is recreated.

    Raises:
        TopicMismatch: there is no such topic.
        BrokerUnavailable: no answer within `timeout_s`.
    """
    try:
        description = admin.describe_topics(TopicCollection([topic]), request_timeout=timeout_s)[topic].result()
    except KafkaException as error:
        raise _typed(error, f"topic {topic} cannot be described") from error
    return str(description.topic_id)


def topic_ids(admin: AdminClient, topics: Collection[str], *, timeout_s: float = 10.0) -> dict[str, str]:
    """Return the Kafka topic ids that the broker tells within `timeout_s`, by name, of one question for all."""
    if not topics:
        return {}
    ids: dict[str, str] = {}
    for topic, asked in admin.describe_topics(TopicCollection(list(topics)), request_timeout=timeout_s).items():
        with contextlib.suppress(KafkaException):
            ids[topic] = str(asked.result().topic_id)
    return ids


def group_description(admin: AdminClient, group: str, *, timeout_s: float = 10.0) -> ConsumerGroupDescription:
    """Return a consumer group's state and members; one that nobody ever joined has none.

    Raises:
        BrokerUnavailable: no answer within `timeout_s`.
        TopicMismatch: the broker refuses to describe it.
    """
    try:
        asked = admin.describe_consumer_groups([group], request_timeout=timeout_s)
        description: ConsumerGroupDescription = asked[group].result()
    except KafkaException as error:
        raise _typed(error, f"consumer group {group} cannot be described") from error
    return description


def delete_topics(admin: AdminClient, names: Iterable[str], *, timeout_s: float = 30.0) -> None:
    """Delete topics, and return once the broker knows them no more; those that do not exist are passed over.

    Raises:
        TopicMismatch: the broker refuses.
        BrokerUnavailable: no answer within `timeout_s`.
    """
    wanted = list(names)
    asked = admin.delete_topics(wanted, operation_timeout=timeout_s, request_timeout=timeout_s) if wanted else {}
    for name, future in asked.items():
        try:
            future.result()
        except KafkaException as error:
            if error.args[0].code() != KafkaError.UNKNOWN_TOPIC_OR_PART:
                raise _typed(error, f"topic {name} cannot be deleted") from error
    _wait_until(lambda: set(wanted) & partition_counts(admin, timeout_s).keys(), "still lists", timeout_s)


def partition_counts(admin: AdminClient, timeout_s: float = 10.0) -> dict[str, int]:
    """Return how many partitions each topic has, by name; raises `BrokerUnavailable` without an answer."""
    try:
        return {name: len(found.partitions) for name, found in admin.list_topics(timeout=timeout_s).topics.items()}
    except KafkaException as error:
        raise _typed(error, "topics cannot be listed") from error


def offsets_since(
    admin: AdminClient, topic: str, partitions: Collection[int], append_time_ms: int, *, timeout_s: float = 10.0
) -> dict[int, int]:
    """Return, by partition, the offset of the first record appended at a time or later; the end where there is none.

    Raises:
        TopicMismatch: the broker refuses to tell.
        BrokerUnavailable: no answer within `timeout_s`.
    """
    found: dict[int, int] = {}
    # the ends first: what is appended between the two questions comes after them, and is read
    for since_ms in (None, append_time_ms):
        places = [(topic, partition) for partition in partitions]
        for (_, partition), answer in ask_offsets(admin, places, since_ms=since_ms, timeout_s=timeout_s).items():
            if isinstance(answer, KafkaException):
                raise _typed(answer, f"topic {topic} cannot be looked up by time") from answer
            if answer >= 0:
                found[partition] = answer
    return found


def _without_leader(admin: AdminClient, topics: Iterable[Topic], timeout_s: float) -> set[str]:
    places = [(topic.name, partition) for topic in topics for partition in range(topic.partitions)]
    left = set()
    for (name, partition), answer in ask_offsets(admin, places, timeout_s=timeout_s).items():
        if isinstance(answer, KafkaException):
            if answer.args[0].code() not in _NOT_LED:
                raise _typed(answer, f"partition {partition} of topic {name} cannot be read") from answer
            left.add(name)
    return left


def _wait_until(left: Callable[[], set[str]], what: str, timeout_s: float) -> None:
    # the controller has done it; the broker that clients ask learns of it a moment later
    deadline_s = time.monotonic() + timeout_s
    while names := left():
        if time.monotonic() >= deadline_s:
            raise BrokerUnavailable(f"the broker {what} {sorted(names)} after {timeout_s:.0f} s; look at its log")
        time.sleep(0.05)


def _typed(error: KafkaException, what: str) -> BrokerUnavailable | TopicMismatch:
    reason: KafkaError = error.args[0]
    # the client's own codes, such as a timeout, are negative
    away = reason.retriable() or reason.code() < 0
    return BrokerUnavailable(f"{what}: {reason.str()}") if away else TopicMismatch(f"{what}: {reason.str()}")
