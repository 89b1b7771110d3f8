"""A Kafka producer that waits when its queue is full and remembers what was not acknowledged. Knows no records."""

import logging
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial as bound
from typing import Any

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from schemas.errors import BrokerUnavailable, DeliveryFailed
from schemas.wire.client import Setting, kafka_log, producer_config

log = logging.getLogger(__name__)

_FULL_QUEUE_WAIT_S = 0.05
_METADATA_S = 10.0
# a client's first record takes over half a second with a broker that is well
_SAID_AFTER_S = 1.5

Report = Callable[[KafkaError | None, Message], None]


@dataclass(frozen=True, slots=True)
class Failure:
    """A record that is not in the log."""

    topic: str
    code: int
    reason: str


@dataclass(slots=True)
class Parcel:
    """Records handed over between two calls of `Outbox.seal`. Counted for one thread that produces and polls."""

    under_way: int = 0

    @property
    def settled(self) -> bool:
        """Whether each of them is acknowledged or has failed."""
        return self.under_way == 0


class Outbox(Producer):
    """The producer every writer of the write path uses: acks=all, idempotent, murmur2. May be shared by threads."""

    def __init__(self, bootstrap: str, **overrides: Setting) -> None:
        """Connect in the background; settings as `schemas.wire.client.producer_config`."""
        super().__init__(dict(producer_config(bootstrap, **overrides)), logger=kafka_log)
        self._failures: list[Failure] = []
        # of failures and ends, which are reported in whichever threads poll
        self._lock = threading.Lock()
        self._parcel = Parcel()
        # next offset behind the last acknowledged record, by (topic, partition)
        self.ends: dict[tuple[str, int], int] = {}

    def produce(  # noqa: PLR0917  as the client's own, so that code written for it takes this one
        self,
        topic: str,
        value: str | bytes | None = None,
        key: str | bytes | None = None,
        partition: int = -1,
        callback: Report | None = None,
        on_delivery: Report | None = None,
        timestamp: int = 0,
        headers: Any = None,
    ) -> None:
        """Queue a record; waits while the queue is full.

        Raises:
            DeliveryFailed: the client refused the record outright, such as one over the size limit. A topic that is gone is a
                failure like those reported later: see `take_failures`.
        """
        report = on_delivery or callback
        parcel = self._parcel
        note = bound(self._note, parcel, report)
        extra = {"headers": headers} if headers else {}
        while True:
            try:
                super().produce(topic, value, key, partition, on_delivery=note, timestamp=timestamp, **extra)
            except BufferError:
                self.poll(_FULL_QUEUE_WAIT_S)
            except KafkaException as error:
                self._refused(topic, error.args[0])
                return
            else:
                parcel.under_way += 1
                self.poll(0)
                return

    def produce_all(self, topic: str, records: Iterable[tuple[bytes, bytes | None]], *, partition: int = -1) -> None:
        """Queue records without headers, each a key and a value, in one call of the client: otherwise as `produce`.

        It costs this thread half, and the broker .7, of what records one by one take, which go out in more requests.
        """
        parcel = self._parcel
        note = bound(self._note, parcel, None)
        left: list[dict[str, Any]] = [{"key": key, "value": value} for key, value in records]
        while left:
            parcel.under_way += self.produce_batch(topic, left, partition, on_delivery=note)
            tried, left = left, []
            for record in tried:
                reason: KafkaError | None = record.pop("_error", None)
                # the client gives its own codes no public names
                if reason is not None and reason.code() == KafkaError._QUEUE_FULL:  # noqa: SLF001
                    # nor was any that follows taken: they stay in order
                    left.append(record)
                elif reason is not None:
                    self._refused(topic, reason)
            self.poll(_FULL_QUEUE_WAIT_S if left else 0)

    def _refused(self, topic: str, reason: KafkaError) -> None:
        # the client gives these no public names
        if reason.code() not in (KafkaError._UNKNOWN_TOPIC, KafkaError._UNKNOWN_PARTITION):  # noqa: SLF001
            raise DeliveryFailed(f"a record for {topic} was refused: {reason.str()}")
        # the topic was deleted: noted as for the records before it, which the broker no longer took
        self._fail(Failure(topic, reason.code(), reason.str()))

    def seal(self) -> Parcel:
        """Return everything produced since the last seal, to wait for without stopping."""
        sealed, self._parcel = self._parcel, Parcel()
        return sealed

    def take_failures(self) -> list[Failure]:
        """Return the failures reported since the last call, and forget them."""
        if not self._failures:
            return []
        with self._lock:
            failures, self._failures = self._failures, []
        return failures

    def _fail(self, failure: Failure) -> None:
        with self._lock:
            self._failures.append(failure)

    def topic_exists(self, topic: str) -> bool:
        """Tell whether the broker knows a topic; raises `BrokerUnavailable` when none answers."""
        try:
            # all of them: asked for one by its name, some brokers make it
            found = self.list_topics(timeout=_METADATA_S).topics.get(topic)
        except KafkaException as error:
            raise BrokerUnavailable(f"cannot ask whether topic {topic} exists: {error.args[0].str()}") from error
        return found is not None and found.error is None

    def flush_all(self, *, timeout_s: float | None = None, should_stop: Callable[[], bool] = lambda: False) -> None:
        """Wait until every queued record is acknowledged or has failed; see `take_failures` for those.

        Raises:
            DeliveryFailed: records were still under way after `timeout_s`, or when `should_stop` became true.
        """
        begun_s = time.monotonic()
        while left := self.flush(0.5):
            waited_s = time.monotonic() - begun_s
            if should_stop() or (timeout_s is not None and waited_s >= timeout_s):
                raise DeliveryFailed(f"{left} records are not acknowledged yet; is the broker up?")
            if waited_s >= _SAID_AFTER_S:
                log.warning("waiting for the broker to acknowledge %d records", left)

    def _note(self, parcel: Parcel, report: Report | None, error: KafkaError | None, message: Message) -> None:
        topic = message.topic() or ""
        if error is None:
            place, end = (topic, message.partition() or 0), (message.offset() or 0) + 1
            with self._lock:
                if end > self.ends.get(place, 0):
                    self.ends[place] = end
        else:
            self._fail(Failure(topic, error.code(), error.str()))
        # last: whoever sees a settled parcel must find its failures and ends noted
        parcel.under_way -= 1
        if report is not None:
            report(error, message)


def raise_for(failures: list[Failure]) -> None:
    """Raise `DeliveryFailed` that counts and names the failures, when there are any."""
    if failures:
        first = failures[0]
        raise DeliveryFailed(
            f"{len(failures)} records were not acknowledged, the first for {first.topic}: {first.reason}; send them again"
        )
