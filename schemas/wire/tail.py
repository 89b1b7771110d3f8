"""Reading a topic from given offsets without a consumer group: how state is restored and logs are followed. Decodes nothing."""

import logging
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from types import TracebackType
from typing import Self

from confluent_kafka import OFFSET_BEGINNING, KafkaError, KafkaException, Message, TopicPartition

from schemas.errors import BrokerUnavailable, OffsetOutOfRange, RoostError
from schemas.progress import OnProgress, untold
from schemas.wire.admin import make_admin, partition_counts
from schemas.wire.client import Setting, make_consumer
from schemas.wire.inbound import InboundRecord, inbound
from schemas.wire.offsets import ask_offsets

log = logging.getLogger(__name__)

_METADATA_S = 5.0
_BATCH = 10_000
_FETCH_WAIT_ONCE_MS = 10
# librdkafka never says that an assigned topic does not exist: asked for when nothing came for so long
_IDLE_CHECK_S = 10.0

_SETTLING_PAUSE_S = 0.05
_SETTLING = (KafkaError.NOT_LEADER_FOR_PARTITION, KafkaError.LEADER_NOT_AVAILABLE, KafkaError.UNKNOWN_TOPIC_OR_PART)


class TailReader:
    """Follows partitions of one topic. Not thread-safe: one reader, one thread."""

    def __init__(
        self,
        bootstrap: str,
        topic: str,
        partitions: Sequence[int],
        *,
        start: Mapping[int, int] | None = None,
        read_committed: bool = False,
        once: bool = False,
        **overrides: Setting,
    ) -> None:
        """Begin at `start`'s next offset per partition, or at the log's beginning.

        Args:
            once: for who reads to the end and closes: the broker answers at once that there is no more, and not after half a second
                in which more might have come.
        """
        start = start or {}
        if once:
            overrides = {"fetch_wait_max_ms": _FETCH_WAIT_ONCE_MS, **overrides}
        self.topic = topic
        self._bootstrap = bootstrap
        # no group is joined; the id only names the client
        self._consumer = make_consumer(
            bootstrap,
            "tail",
            isolation_level="read_committed" if read_committed else "read_uncommitted",
            # to go on elsewhere in silence would skip records: whoever asked for an offset must know that it is gone
            **{"auto_offset_reset": "error", **overrides},
        )
        bounds = self._bounds(partitions)
        begin = {**{p: first for p, (first, _) in bounds.items()}, **start}
        # as the reader was made; of a broker that told none then, as the first fetch of the partition does
        self._ends = {p: end for p, (_, end) in bounds.items()}
        self._consumer.assign([TopicPartition(topic, p, begin.get(p, OFFSET_BEGINNING)) for p in partitions])
        self._next = {p: begin.get(p, 0) for p in partitions}
        # one that begins beyond the end has lost its place, which a fetch will tell
        self._at_end = {p: p in bounds and begin[p] == bounds[p][1] for p in partitions}
        self._failure: RoostError | None = None
        self._heard_s = time.monotonic()

    def _bounds(self, partitions: Sequence[int]) -> dict[int, tuple[int, int]]:
        """Return the first offset of each partition and its end, as far as a broker tells.

        Left to the client, the first offset is asked for once partitions are assigned, of each by itself: the first that is known
        is fetched alone, and where it is empty the others wait behind that fetch for half a second, whatever is written to them.
        Known beforehand, all begin within a fifth of a millisecond, and in the first fetch but for a few readers in a hundred.
        """
        found: dict[int, tuple[int, int]] = {}
        try:
            # a partition whose leader is not known yet when it is assigned is looked at again only after half a second
            there = self._consumer.list_topics(self.topic, timeout=_METADATA_S).topics[self.topic].partitions
            for partition in partitions:
                if partition in there:
                    found[partition] = self._consumer.get_watermark_offsets(TopicPartition(self.topic, partition), _METADATA_S)
        except KafkaException:
            # no broker answers yet, or not for a partition that was just made: the reader works once one does
            log.warning("reading %s waits for a broker at %s", self.topic, self._bootstrap)
        return found

    def poll(self, max_messages: int = 1000, timeout_s: float = 0.1) -> list[InboundRecord]:
        """Return the next messages; waits up to `timeout_s` for the first, never for more, and less where an end is reached.

        A broker that is away is no error: reading goes on when it is back. What was read before an error is returned first; the
        error follows at the next call, and at every one after it.

        Raises:
            OffsetOutOfRange: the log no longer, or not yet, holds the next offset of a partition.
            BrokerUnavailable: the topic does not exist (noticed within 10 s), or another error that reading on cannot mend.
        """
        self._raise_failure()
        first = self._consumer.poll(timeout_s)
        if first is None:
            self._check_that_it_exists()
            self._raise_failure()
            return []
        self._heard_s = time.monotonic()
        records = []
        touched: dict[int, int] = {}
        for message in [first, *(self._consumer.consume(max_messages - 1, 0) if max_messages > 1 else ())]:
            error = message.error()
            if error is None:
                record = inbound(message)
                self._next[record.partition] = touched[record.partition] = record.offset + 1
                self._at_end[record.partition] = False
                records.append(record)
            else:
                self._note(message, error)
                touched.pop(message.partition() or 0, None)
        for partition, next_offset in touched.items():
            # a partition that is written all the time is never reported as ended: compare with the end that the last fetch saw
            _, end = self._consumer.get_watermark_offsets(TopicPartition(self.topic, partition), cached=True)
            self._at_end[partition] = 0 <= end <= next_offset
            if end >= 0:
                self._ends.setdefault(partition, end)
        if not records:
            self._raise_failure()
        return records

    def _check_that_it_exists(self) -> None:
        if time.monotonic() - self._heard_s < _IDLE_CHECK_S:
            return
        self._heard_s = time.monotonic()
        # aside, and by another client: on this one's connection the answer comes behind a fetch that waits for up to half a second,
        # and until then this one polls nothing
        threading.Thread(target=self._look_for_topic, name=f"look-for-{self.topic}", daemon=True).start()

    def _look_for_topic(self) -> None:
        try:
            # all of them: asked for one by its name, some brokers make it
            counts = partition_counts(make_admin(self._bootstrap), _METADATA_S)
        except BrokerUnavailable:
            # that is no news of the topic
            return
        if not counts.get(self.topic):
            self._failure = BrokerUnavailable(f"topic {self.topic} does not exist; it was deleted, or never created by `roost up`")

    def _raise_failure(self) -> None:
        if self._failure is not None:
            raise self._failure

    def _note(self, message: Message, error: KafkaError) -> None:
        code, partition, offset = error.code(), message.partition(), message.offset()
        # the client gives its own codes no public names
        if code == KafkaError._PARTITION_EOF:  # noqa: SLF001
            if partition is not None and offset is not None:
                # behind transaction markers, the end lies beyond the last record
                self._next[partition] = offset
                self._at_end[partition] = True
                self._ends.setdefault(partition, offset)
        elif code in (KafkaError._AUTO_OFFSET_RESET, KafkaError.OFFSET_OUT_OF_RANGE):  # noqa: SLF001
            self._failure = OffsetOutOfRange(
                f"{self.topic}[{partition}] does not hold offset {self._next.get(partition or 0)}: {error.str()}; "
                "read the topic again from the beginning"
            )
        elif code in (KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError.TOPIC_AUTHORIZATION_FAILED) or error.fatal():
            self._failure = BrokerUnavailable(f"cannot read {self.topic}: {error.str()}")

    @property
    def next_offsets(self) -> dict[int, int]:
        """The next offset to read, by partition."""
        return dict(self._next)

    def at_end(self, partition: int | None = None) -> bool:
        """Tell whether the reader stood at the end of a partition, or of all, when it last looked."""
        return all(self._at_end.values()) if partition is None else self._at_end[partition]

    @property
    def whole(self) -> bool:
        """Whether all was returned that there was when the reader was made."""
        return all(p in self._ends and self._ends[p] <= following for p, following in self._next.items())

    def to_end(self, *, stall_s: float = 30.0, on_progress: OnProgress = untold) -> Iterator[InboundRecord]:
        """Yield everything up to the present end of all partitions, a batch in memory at a time.

        Of a reader that is new: one that has followed its topic for a while may take an end it saw before for the present one.

        Args:
            on_progress: called as reading begins and after each batch; not for a topic that is empty.

        Raises:
            BrokerUnavailable: nothing came for `stall_s` and the end was not reached; or as `poll`.
        """
        begun, deadline_s = self.next_offsets, time.monotonic() + stall_s
        if not self.at_end():
            self._tell(on_progress, begun)
        while not self.at_end():
            if batch := self.poll(_BATCH, min(1.0, stall_s)):
                yield from batch
                # after them: what the caller does with a batch is no silence of the broker
                deadline_s = time.monotonic() + stall_s
                self._tell(on_progress, begun)
            elif time.monotonic() >= deadline_s:
                raise BrokerUnavailable(f"nothing came of {self.topic} for {stall_s:.0f} s; is the broker up?")

    def _tell(self, on_progress: OnProgress, begun: Mapping[int, int]) -> None:
        # a log that grows is read further than it reached as the reader was made
        there = sum(max(self._ends.get(p, 0), self._next[p]) - first for p, first in begun.items())
        on_progress(self.topic, sum(self._next[p] - first for p, first in begun.items()), there)

    def read_to_end(self, *, stall_s: float = 30.0) -> list[InboundRecord]:
        """Return everything up to the present end of all partitions, as `to_end`. For short logs."""
        return list(self.to_end(stall_s=stall_s))

    def end_offsets(self, timeout_s: float = 10.0, *, committed: bool = False) -> dict[int, int]:
        """Return the high-water mark of each partition; never compare it with record offsets on transactional topics.

        Args:
            committed: the last stable offset instead: a reader of committed records reaches it, also behind transaction markers.

        Raises:
            BrokerUnavailable: no answer within `timeout_s`, or a partition has no leader for so long.
        """
        # by another client: on this one's connection each answer comes behind a fetch that waits for up to half a second
        admin = make_admin(self._bootstrap)
        places = [(self.topic, partition) for partition in self._next]
        deadline_s = time.monotonic() + timeout_s
        while True:
            answers = ask_offsets(admin, places, committed=committed, timeout_s=deadline_s - time.monotonic())
            refused = [answer.args[0] for answer in answers.values() if isinstance(answer, KafkaException)]
            if not refused:
                return {partition: end for (_, partition), end in answers.items() if isinstance(end, int)}
            # a topic created a moment ago has no leader yet on the broker that is asked
            if refused[0].code() not in _SETTLING or time.monotonic() >= deadline_s:
                raise BrokerUnavailable(f"cannot ask for the end of {self.topic}: {refused[0].str()}")
            time.sleep(_SETTLING_PAUSE_S)

    def close(self) -> None:
        """Close the consumer."""
        self._consumer.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()
