"""The control plane, the ends of the input topics and how far the roles are in them, as the broker has it. Asks no node."""

import logging
import threading
from collections import deque
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TYPE_CHECKING, TypeVar

from confluent_kafka import Consumer, KafkaException

from schemas.codec import decode
from schemas.errors import BrokerUnavailable, InvalidInput
from schemas.groups import READERS, Committed, Reader
from schemas.records.control import NodeStatus, Rollout
from schemas.rollout import fold, nothing_yet
from schemas.topics import NODE_STATUS, ROLLOUTS
from schemas.wire.admin import make_admin, topic_ids
from schemas.wire.client import make_consumer
from schemas.wire.committed import committed_offsets
from schemas.wire.inbound import InboundRecord
from schemas.wire.offsets import ask_offsets
from serving.console.readings import BrokerReading, Heartbeat
from serving.node.follower import FollowerCallbacks, TopicFollower
from serving.query.retrieve import wall_clock_ms

if TYPE_CHECKING:
    from confluent_kafka.admin import AdminClient

log = logging.getLogger(__name__)

T = TypeVar("T", Rollout, NodeStatus)

HISTORY = 60
_ASK_S = 2.0


class ControlLog:
    """The records of `rollouts` and `node-status`, folded. Fed on followers' threads, read on any."""

    def __init__(self, *, now_ms: Callable[[], int] = wall_clock_ms) -> None:
        self._now_ms = now_ms
        # heartbeats come as they are written: each tells what time it is at the broker
        self._follows_statuses = False
        self._ahead_ms = 0
        self._states: dict[str, Rollout] = {}
        self._history: dict[str, deque[Rollout]] = {}
        self._heartbeats: dict[str, Heartbeat] = {}
        self._lock = threading.Lock()

    def take_rollouts(self, records: Sequence[InboundRecord]) -> None:
        """Fold rollout records; a second record of one revision, from a controller that came too late, is history's too."""
        for record in records:
            rollout = _decoded(Rollout, record)
            if rollout is None:
                continue
            with self._lock:
                self._states[rollout.surface] = fold(self._states.get(rollout.surface) or nothing_yet(rollout.surface), rollout)
                self._history.setdefault(rollout.surface, deque(maxlen=HISTORY)).append(rollout)

    def take_statuses(self, records: Sequence[InboundRecord]) -> None:
        """Keep the newest report of each instance."""
        if self._follows_statuses and records:
            self._ahead_ms = self._now_ms() - records[-1].timestamp_ms
        for record in records:
            status = None if record.value is None else _decoded(NodeStatus, record)
            with self._lock:
                if status is not None:
                    self._heartbeats[status.instance] = Heartbeat(status, record.timestamp_ms)
                elif record.value is None and record.key is not None:
                    self._heartbeats.pop(record.key.decode(errors="replace"), None)

    def statuses_caught_up(self) -> None:
        """Hear that what comes from now on was written a moment ago."""
        self._follows_statuses = True

    def forget_rollouts(self) -> None:
        """Begin anew: the topic is another one."""
        with self._lock:
            self._states.clear()
            self._history.clear()

    def forget_statuses(self) -> None:
        """Begin anew: the topic is another one, and whoever lives reports every other second."""
        self._follows_statuses = False
        with self._lock:
            self._heartbeats.clear()

    def reading(
        self, trouble: str | None, ends: Mapping[str, Mapping[int, int]], committed: Mapping[str, Committed] | None = None
    ) -> BrokerReading:
        """Return what is known now."""
        with self._lock:
            history = {surface: tuple(records) for surface, records in self._history.items()}
            return BrokerReading(
                trouble, dict(self._states), history, dict(self._heartbeats), ends, committed or {}, ahead_ms=self._ahead_ms
            )


def _decoded(kind: type[T], record: InboundRecord) -> T | None:
    try:
        return decode(kind, record.value or b"")
    except InvalidInput as error:
        # its owner is elsewhere, and says so; here it is one line less in a table
        log.warning("%s/%d/%d is passed over: %s", record.topic, record.partition, record.offset, error)
        return None


class BrokerWatch:
    """Follows the control plane on threads of its own; the ends, and what groups have committed, are asked for at each reading."""

    def __init__(self, bootstrap: str, topics: Sequence[str]) -> None:
        """Follow nothing yet.

        Args:
            topics: those whose ends are wanted, besides what the roles read.
        """
        self._bootstrap = bootstrap
        self._topics = {*topics, *(topic for reader in READERS for topic in reader.topics)}
        self._log = ControlLog()
        self._rollouts = TopicFollower(
            bootstrap, ROLLOUTS, FollowerCallbacks(self._log.take_rollouts, start_over=self._log.forget_rollouts)
        )
        self._statuses = TopicFollower(
            bootstrap,
            NODE_STATUS,
            FollowerCallbacks(self._log.take_statuses, self._log.statuses_caught_up, start_over=self._log.forget_statuses),
        )
        self._admin: AdminClient | None = None
        self._groups: dict[str, Consumer] = {}

    def start(self) -> None:
        """Begin to follow."""
        self._rollouts.start()
        self._statuses.start()

    def stop(self) -> None:
        """End the threads."""
        self._rollouts.stop()
        self._statuses.stop()
        for consumer in self._groups.values():
            consumer.close()

    def read(self) -> BrokerReading:
        """Return what is known now; one thread at a time. A broker that is away is a sentence in it, no error."""
        try:
            ends, untold = self._ends()
            committed = {reader.role: self._committed(reader, ends) for reader in READERS}
        except KafkaException as error:
            reason = error.args[0].str()
            return self._log.reading(f"the broker at {self._bootstrap} does not answer ({reason})", {})
        except BrokerUnavailable as error:
            return self._log.reading(str(error), ends)
        trouble = untold or self._rollouts.trouble or self._statuses.trouble
        return self._log.reading(trouble, ends, committed)

    def topic_ids(self, topics: Collection[str]) -> dict[str, str]:
        """Return Kafka's ids of topics, another one of each that is made anew; without those that the broker does not tell."""
        return {} if self._admin is None else topic_ids(self._admin, topics, timeout_s=_ASK_S)

    def _committed(self, reader: Reader, ends: Mapping[str, Mapping[int, int]]) -> Committed:
        if reader.group not in self._groups:
            # asks for offsets without joining the group: it never subscribes
            self._groups[reader.group] = make_consumer(self._bootstrap, reader.group)
        places = [(topic, partition) for topic in reader.topics for partition in ends.get(topic, ())]
        return committed_offsets(self._groups[reader.group], places, timeout_s=_ASK_S) if places else {}

    def _ends(self) -> tuple[dict[str, dict[int, int]], str | None]:
        """Return the ends by topic and partition, and what is wrong with a partition whose end nobody tells."""
        if self._admin is None:
            self._admin = make_admin(self._bootstrap)
        known = self._admin.list_topics(timeout=_ASK_S).topics
        places = [(name, partition) for name in self._topics if name in known for partition in known[name].partitions]
        ends: dict[str, dict[int, int]] = {}
        untold: dict[str, KafkaException] = {}
        for (topic, partition), answer in ask_offsets(self._admin, places, timeout_s=_ASK_S).items():
            if isinstance(answer, KafkaException):
                untold[f"{topic}/{partition}"] = answer
            else:
                ends.setdefault(topic, {})[partition] = answer
        for place, error in untold.items():
            if not ends:
                raise error
            # of a cluster one broker may be away: the others' partitions go on
            return ends, f"{place} cannot be asked for its end ({error.args[0].str()})"
        return ends, None
