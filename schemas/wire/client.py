"""Settings every Kafka client of ours shares, and making a producer or consumer with them. Reads no environment."""

from collections.abc import Mapping

from confluent_kafka import Consumer, Producer

from schemas.wire.partition import PARTITIONER

Setting = str | int | float | bool


def producer_config(bootstrap: str, **overrides: Setting) -> dict[str, Setting]:
    """Return the settings of a producer: acknowledged by all replicas, idempotent, murmur2. `_` in a name means `.`."""
    return {
        "bootstrap.servers": bootstrap,
        "partitioner": PARTITIONER,
        "acks": "all",
        "enable.idempotence": True,
        "linger.ms": 0,
        # librdkafka writes connection trouble to stderr by itself; delivery errors are what callers see
        "log.connection.close": False,
        **_dotted(overrides),
    }


def consumer_config(bootstrap: str, group: str, **overrides: Setting) -> dict[str, Setting]:
    """Return the settings of a consumer: auto-commit off, from the earliest, end of partition reported."""
    return {
        "bootstrap.servers": bootstrap,
        "group.id": group,
        "enable.auto.commit": False,
        "enable.auto.offset.store": False,
        "auto.offset.reset": "earliest",
        "enable.partition.eof": True,
        "log.connection.close": False,
        # the default of 500 ms after a failed fetch hides a topic that was just created
        "fetch.error.backoff.ms": 50,
        **_dotted(overrides),
    }


def make_producer(bootstrap: str, **overrides: Setting) -> Producer:
    """Return a producer with `producer_config`."""
    return Producer(producer_config(bootstrap, **overrides))


def make_consumer(bootstrap: str, group: str, **overrides: Setting) -> Consumer:
    """Return a consumer with `consumer_config`."""
    return Consumer(consumer_config(bootstrap, group, **overrides))


def _dotted(overrides: Mapping[str, Setting]) -> dict[str, Setting]:
    return {name.replace("_", "."): value for name, value in overrides.items()}
