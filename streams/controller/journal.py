"""The topics of the control plane as the controller and its clients use them: `rollouts` read and written, heartbeats followed."""

import logging
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from operator import attrgetter

from confluent_kafka.admin import AdminClient

from schemas.codec import SchemaLookup, decode, encode
from schemas.errors import BrokerUnavailable, InvalidInput
from schemas.records.control import NodeStatus, Rollout, RolloutCommand
from schemas.surfaces import Surface
from schemas.topics import NODE_STATUS, ROLLOUT_COMMANDS, ROLLOUTS, embeddings_topic, embeddings_topic_name
from schemas.wire.admin import create_topics, delete_topics
from schemas.wire.inbound import InboundRecord
from schemas.wire.tail import TailReader
from streams.controller.log import RolloutLog
from streams.intake import read
from streams.outbox import Outbox, raise_for

log = logging.getLogger(__name__)

_ONLY = 0
_TIMEOUT_S = 30.0


class RolloutReader:
    """Follows `rollouts` from its beginning. One thread at a time."""

    def __init__(self, bootstrap: str) -> None:
        self.log = RolloutLog()
        self._reader = TailReader(bootstrap, ROLLOUTS, [_ONLY])

    def wait(self, timeout_s: float) -> None:
        """Take what comes within `timeout_s`; returns with the first records."""
        for record in self._reader.poll(1000, timeout_s):
            try:
                self.log.take(decode(Rollout, record.value or b""))
            except InvalidInput as error:
                log.warning("passed over %s/%d: %s", ROLLOUTS, record.offset, error, extra=record.place)

    def catch_up(self) -> None:
        """Read to the present end; raises `BrokerUnavailable` when the broker does not answer."""
        self.read_to(self._reader.end_offsets()[_ONLY])

    def read_to(self, next_offset: int) -> None:
        """Read until `next_offset` is the next to read."""
        deadline = time.monotonic() + _TIMEOUT_S
        while self._reader.next_offsets[_ONLY] < next_offset:
            if time.monotonic() >= deadline:
                raise BrokerUnavailable(f"{ROLLOUTS} could not be read to offset {next_offset} within {_TIMEOUT_S:g} s; try again")
            self.wait(0.5)

    def close(self) -> None:
        """Stop following."""
        self._reader.close()


def read_commands(bootstrap: str, *, lookup: SchemaLookup | None = None) -> list[RolloutCommand]:
    """Return the commands on `rollout-commands` so far, in log order, without those that are dead letters."""
    found: list[RolloutCommand] = []
    with TailReader(bootstrap, ROLLOUT_COMMANDS, [_ONLY], once=True) as reader:
        for record in reader.read_to_end():
            try:
                found.append(read_command(record, lookup=lookup))
            except InvalidInput:
                # its dead letter was written when it came
                continue
    return found


def read_command(record: InboundRecord, *, lookup: SchemaLookup | None = None) -> RolloutCommand:
    """Return the command in a record; raises as `streams.intake.read`."""
    return read(RolloutCommand, record, attrgetter("surface"), lookup=lookup)


class TopicJournal:
    """See `streams.controller.controller.Journal`: on the real topic."""

    def __init__(self, bootstrap: str, outbox: Outbox, *, crash_point: Callable[[str], None] = lambda _: None) -> None:
        """Fold the log as it is: a restart goes on where it was.

        Args:
            crash_point: called with a name before and after each record; tests kill the process there.
        """
        self._reader = RolloutReader(bootstrap)
        self._outbox = outbox
        self._crash_point = crash_point
        self.log = self._reader.log
        self.catch_up()

    def catch_up(self) -> None:
        """Take in all that is there; raises `BrokerUnavailable` when the broker does not answer."""
        self._reader.catch_up()

    def refresh(self) -> None:
        """Take in what others wrote; never waits."""
        self._reader.wait(0.0)

    def append(self, record: Rollout) -> None:
        """See `Journal.append`. Raises `DeliveryFailed` when the broker does not take it."""
        self._crash_point("before-record")
        self._outbox.produce(ROLLOUTS, encode(record), record.surface.encode())
        self._outbox.flush_all(timeout_s=_TIMEOUT_S)
        raise_for(self._outbox.take_failures())
        self._crash_point("after-record")
        self._reader.read_to(self._outbox.ends[ROLLOUTS, _ONLY])

    def close(self) -> None:
        """Stop following."""
        self._reader.close()


class Heartbeats:
    """The newest heartbeat of every instance, from `node-status`."""

    def __init__(self, bootstrap: str) -> None:
        self._reader = TailReader(bootstrap, NODE_STATUS, [_ONLY])
        self._newest: dict[bytes, NodeStatus] = {}
        self._ahead_ms = 0

    def refresh(self) -> None:
        """Take what has arrived; never waits."""
        while records := self._reader.poll(1000, 0.0):
            self._take(records)
            # appended a moment ago
            self._ahead_ms = _now_ms() - records[-1].timestamp_ms

    def now_ms(self) -> int:
        """Return the broker's time, by which who is silent is told, as a heartbeat tells it that came after all were taken.

        Until then it is this machine's.
        """
        return _now_ms() - self._ahead_ms

    def catch_up(self) -> None:
        """Take everything there is; raises `BrokerUnavailable` when no broker answers."""
        self._take(self._reader.read_to_end())

    def _take(self, records: Iterable[InboundRecord]) -> None:
        for record in records:
            key = record.key or b""
            if record.value is None:
                self._newest.pop(key, None)
                continue
            try:
                status = decode(NodeStatus, record.value)
            except InvalidInput as error:
                log.warning("passed over %s/%d: %s", NODE_STATUS, record.offset, error, extra=record.place)
                continue
            # when it was heard, by the broker's clock: the instance's own may be wrong
            self._newest[key] = replace(status, time_ms=record.timestamp_ms)

    def all(self) -> list[NodeStatus]:
        """Return them; `time_ms` is when each was heard."""
        return list(self._newest.values())

    def close(self) -> None:
        """Stop following."""
        self._reader.close()


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


class ClusterTopics:
    """See `streams.controller.controller.BundleTopics`: on the real cluster."""

    def __init__(self, admin: AdminClient, *, partitions: int, replication: int) -> None:
        self._admin = admin
        self._partitions = partitions
        self._replication = replication

    def create_anew(self, bundle: str, surface: Surface) -> None:
        """See `BundleTopics.create_anew`."""
        self.delete(bundle)
        create_topics(self._admin, [embeddings_topic(bundle, surface, self._partitions)], replication=self._replication)

    def delete(self, bundle: str) -> None:
        """See `BundleTopics.delete`; returns when the cluster no longer lists it."""
        delete_topics(self._admin, [embeddings_topic_name(bundle)])
