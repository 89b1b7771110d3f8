"""The newest records of a topic, a bounded number at a time, whatever its rate: for samples. Follows nothing."""

import contextlib
import time
from collections.abc import Iterable

from confluent_kafka import Consumer, KafkaException, TopicPartition

from schemas.wire.client import make_consumer
from schemas.wire.inbound import InboundRecord, inbound

_ASK_S = 1.0
_READ_S = 0.5


class NewestRecords:
    """Samples topics. One thread at a time; a record is given once.

    Attributes:
        whole: whether the last reading came to the ends: one that took too long, or failed, gives what it has, nothing perhaps.
        firsts: where the partitions of the last reading begin: what was before is cleaned away.
        passed_over: partitions of which it left out records not given before, with the offset of the first that it could give.
    """

    def __init__(self, bootstrap: str) -> None:
        self.whole = False
        self.firsts: dict[int, int] = {}
        self.passed_over: dict[int, int] = {}
        self._bootstrap = bootstrap
        self._consumer: Consumer | None = None
        self._next: dict[tuple[str, int], int] = {}

    def read(self, topic: str, partitions: Iterable[int], *, per_partition: int) -> list[InboundRecord]:
        """Return at most so many of each partition's newest records not given before; none when the broker or topic is away."""
        self.whole, self.firsts, self.passed_over = False, {}, {}
        if self._consumer is None:
            self._consumer = make_consumer(self._bootstrap, "console", auto_offset_reset="latest")
        places: dict[int, int] = {}
        try:
            for partition in partitions:
                first, end = self._consumer.get_watermark_offsets(TopicPartition(topic, partition), _ASK_S)
                self.firsts[partition] = first
                following = max(first, self._next.get((topic, partition), 0))
                # behind the end when the topic was deleted and made anew
                following = following if following <= end else first
                start = max(following, end - per_partition)
                if start > following:
                    self.passed_over[partition] = start
                if start < end:
                    places[partition] = end
                    self._consumer.incremental_assign([TopicPartition(topic, partition, start)])
            return self._consume(topic, places)
        except KafkaException:
            # a sample that is missing is seen as missing; what is wrong is said by those who follow the topics
            return []
        finally:
            with contextlib.suppress(KafkaException):
                self._consumer.unassign()

    def _consume(self, topic: str, ends: dict[int, int]) -> list[InboundRecord]:
        consumer = self._consumer
        records: list[InboundRecord] = []
        deadline_s = time.monotonic() + _READ_S
        while consumer is not None and ends and (left_s := deadline_s - time.monotonic()) > 0:
            for message in consumer.consume(1_000, min(left_s, 0.1)):
                if message.error() is None:
                    records.append(inbound(message))
                    self._next[topic, records[-1].partition] = records[-1].offset + 1
                partition, offset = message.partition(), message.offset()
                # an end behind transaction markers is told by the end-of-partition event alone
                if partition in ends and offset is not None and (message.error() is not None or offset + 1 >= ends[partition]):
                    del ends[partition]
        self.whole = not ends
        return records

    def forget(self, topic: str) -> None:
        """Give all of a topic again: it is another one, whose offsets begin anew."""
        self._next = {place: offset for place, offset in self._next.items() if place[0] != topic}

    def close(self) -> None:
        """Disconnect."""
        if self._consumer is not None:
            self._consumer.close()
            self._consumer = None
