"""Settings every Kafka client of ours shares, and making a producer or consumer with them. Reads no environment."""

import logging
import re
import time
from collections.abc import Callable, Mapping

from confluent_kafka import Consumer, KafkaError, Producer, TopicPartition

from schemas.topics import MAX_DEAD_LETTER_BYTES
from schemas.wire.partition import PARTITIONER

Setting = str | int | float | bool
# what became of offsets committed without waiting; called while the consumer is polled
OnCommit = Callable[[KafkaError | None, list[TopicPartition]], None]

_DURATION = re.compile(r"\d+ms\b")


class _OnceInAWhile(logging.Filter):
    """Lets the same text through once in 10 s: a client repeats "connection refused (after 3ms …)" ten times a second."""

    def __init__(self, quiet_s: float = 10.0) -> None:
        super().__init__()
        self._quiet_s = quiet_s
        self._last_s: dict[str, float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        # how many milliseconds an attempt took makes it no other message
        text, now_s = _DURATION.sub("", record.getMessage()), time.monotonic()
        if now_s - self._last_s.get(text, -self._quiet_s) < self._quiet_s:
            return False
        if len(self._last_s) > 1000:
            self._last_s.clear()
        self._last_s[text] = now_s
        return True


def _is_news(record: logging.LogRecord) -> bool:
    # a broker that has just started says so to whoever begins to produce, and is asked again after half a second
    return "Coordinator load in progress: retrying" not in record.getMessage()


# every client's `logger=`: without one, librdkafka writes to stderr by itself
kafka_log = logging.getLogger("schemas.wire.kafka")
kafka_log.addFilter(_is_news)
kafka_log.addFilter(_OnceInAWhile())

_ALWAYS: dict[str, Setting] = {
    "log.connection.close": False,
    # the default of 10 s would keep a client away from a broker that is back
    "reconnect.backoff.max.ms": 1000,
}


def producer_config(bootstrap: str, **overrides: Setting) -> dict[str, Setting]:
    """Return the settings of a producer: acknowledged by all replicas, idempotent, murmur2. `_` in a name means `.`."""
    return {
        "bootstrap.servers": bootstrap,
        "partitioner": PARTITIONER,
        "acks": "all",
        "enable.idempotence": True,
        "linger.ms": 0,
        # A broker takes one request of a connection at a time, so that a second one under way gains nothing but the way there. And
        # records that have lingered behind it keep the client's thread spinning: a core, for as long as the broker is held up.
        "max.in.flight.requests.per.connection": 1,
        # a record of the largest size must fit its dead letter; topics keep the broker's own limit
        "message.max.bytes": MAX_DEAD_LETTER_BYTES,
        **_ALWAYS,
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
        **_ALWAYS,
        # the default of 500 ms after a failed fetch hides a topic that was just created
        "fetch.error.backoff.ms": 50,
        **_dotted(overrides),
    }


def make_producer(bootstrap: str, **overrides: Setting) -> Producer:
    """Return a producer with `producer_config`."""
    return Producer(producer_config(bootstrap, **overrides), logger=kafka_log)


def make_consumer(bootstrap: str, group: str, on_commit: OnCommit | None = None, /, **overrides: Setting) -> Consumer:
    """Return a consumer with `consumer_config`; `on_commit` hears of commits that nobody waits for."""
    told = {} if on_commit is None else {"on_commit": on_commit}
    return Consumer({**consumer_config(bootstrap, group, **overrides), **told}, logger=kafka_log)


def _dotted(overrides: Mapping[str, Setting]) -> dict[str, Setting]:
    return {name.replace("_", "."): value for name, value in overrides.items()}
