"""Following one topic into a fold: committed records, from given offsets to the present, again and again. Knows no record type."""

import logging
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from schemas.codec import MessageT, decode
from schemas.errors import BrokerUnavailable, InvalidInput, OffsetOutOfRange, TopicMismatch
from schemas.progress import OnProgress, untold
from schemas.wire.admin import make_admin, topic_id
from schemas.wire.client import kafka_log
from schemas.wire.inbound import InboundRecord
from schemas.wire.tail import TailReader

log = logging.getLogger(__name__)

_BATCH = 10_000
# a broker that answers nothing for this long is away
_SILENCE_POLLS = 30
# from how many beginnings a topic is read that loses its place in the course of it
_MOST_BEGUN = 4


def partitions_of(bootstrap: str, topic: str, *, timeout_s: float = 10.0) -> list[int]:
    """Return a topic's partitions.

    Raises:
        BrokerUnavailable: no broker answers, or the topic does not exist yet.
    """
    try:
        found = AdminClient({"bootstrap.servers": bootstrap}, logger=kafka_log).list_topics(timeout=timeout_s).topics
    except KafkaException as error:
        raise BrokerUnavailable(f"no broker at {bootstrap}: {error.args[0].str()}; start one with `roost up`") from error
    if topic not in found:
        raise BrokerUnavailable(f"topic {topic} does not exist at {bootstrap}; `roost up` or the role that writes it creates it")
    return sorted(found[topic].partitions)


def identity_of(admin: AdminClient, topic: str) -> str:
    """Return Kafka's id of the topic that has the name now; raises `BrokerUnavailable` where none has, or nobody answers."""
    try:
        return topic_id(admin, topic)
    except TopicMismatch as error:
        raise BrokerUnavailable(f"{error}; `roost up` or the role that writes it creates it") from error


class TopicTail(ABC):
    """Keeps its reader and what it folded, so that catching up again costs only what is new. One thread's."""

    def __init__(
        self, bootstrap: str, topic: str, *, until: Mapping[int, int] | None = None, on_progress: OnProgress = untold
    ) -> None:
        """Connect to nothing yet.

        Args:
            until: next offsets, by partition, behind which nothing is read: for reading again what was read once.
            on_progress: called after each batch.
        """
        self._bootstrap = bootstrap
        self._topic = topic
        self._until = until
        self._on_progress = on_progress
        self._reader: TailReader | None = None
        self._admin: AdminClient | None = None
        self._identity: str | None = None

    def close(self) -> None:
        """Let go of the broker and of what was folded."""
        if self._reader is not None:
            self._reader.close()
        self._reader = self._admin = None
        self._begin((), {})

    def _catch_up(self, start: Mapping[int, int] | None = None) -> dict[int, int]:
        """Read to the end that the topic has now and return the next offsets.

        Args:
            start: where a reader that is made anew begins; the log's beginning for a partition that is missing.

        Raises:
            BrokerUnavailable: no broker, or no such topic, or another one at each look; all is read anew the next time.
        """
        start = start or {}
        for _ in range(_MOST_BEGUN):
            try:
                admin = self._admin = self._admin or make_admin(self._bootstrap)
                self._require_same(admin)
                found = self._read(start)
                # what was read behind the old one's offsets may be of the new one
                self._require_same(admin)
            except OffsetOutOfRange as error:
                # retention has passed it, or the topic was recreated
                log.warning("%s", error)
                self.close()
                start = {}
            except BrokerUnavailable:
                self.close()
                raise
            else:
                return found
        raise BrokerUnavailable(f"{self._topic} was begun {_MOST_BEGUN} times and lost its place each time; who deletes it?")

    def _read(self, start: Mapping[int, int]) -> dict[int, int]:
        if self._reader is None:
            partitions = partitions_of(self._bootstrap, self._topic)
            self._reader = TailReader(self._bootstrap, self._topic, partitions, start=start, read_committed=True)
            self._begin(partitions, start)
        reader, ends, silent = self._reader, self._ends(self._reader), 0
        beyond = {p: offset for p, offset in reader.next_offsets.items() if offset > ends[p]}
        # whoever reads up to what was read once may find a log that begins behind it
        if beyond and self._until is None:
            raise OffsetOutOfRange(f"{self._topic} ends before offsets {beyond}: it was recreated; reading it from the beginning")
        # by offsets alone: that it stood at the end of a partition is what the reader saw when it last came to it
        begun = {p: offset for p, offset in reader.next_offsets.items() if offset < ends[p]}
        unread = set(begun)
        while unread:
            records = reader.poll(_BATCH, 1.0)
            silent = 0 if records else silent + 1
            if silent > _SILENCE_POLLS:
                raise BrokerUnavailable(f"{self._topic} yields nothing although it is not read to its end; is a broker down?")
            for record in records:
                if record.offset < ends[record.partition] or self._until is None:
                    self._take(record)
            following = reader.next_offsets
            unread = {p for p in unread if following[p] < ends[p]}
            read = sum(min(following[p], ends[p]) - first for p, first in begun.items())
            self._on_progress(self._topic, read, sum(ends[p] - first for p, first in begun.items()))
        return reader.next_offsets if self._until is None else ends

    def _require_same(self, admin: AdminClient) -> None:
        """Raise `OffsetOutOfRange` where another topic has the name than at the last look."""
        before, self._identity = self._identity, identity_of(admin, self._topic)
        if before not in (None, self._identity):
            # it may be longer by now than the one before, and the offsets alone would say nothing
            raise OffsetOutOfRange(f"{self._topic} was deleted and created anew; reading it from the beginning")

    def _ends(self, reader: TailReader) -> dict[int, int]:
        ends = reader.end_offsets(committed=True)
        return ends if self._until is None else {p: min(self._until.get(p, 0), end) for p, end in ends.items()}

    @abstractmethod
    def _begin(self, partitions: Sequence[int], start: Mapping[int, int]) -> None:
        """Forget everything folded: reading begins at `start`."""

    @abstractmethod
    def _take(self, record: InboundRecord) -> None:
        """Fold one record."""


def decoded(message_type: type[MessageT], record: InboundRecord) -> MessageT | None:
    """Return the message; None for a tombstone, and for bytes that only their topic's owner may dead-letter."""
    if record.value is None:
        return None
    try:
        return decode(message_type, record.value)
    except InvalidInput as error:
        log.warning("skipped %s/%d/%d: %s", record.topic, record.partition, record.offset, error, extra=record.place)
        return None
