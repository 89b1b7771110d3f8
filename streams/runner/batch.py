"""The confluent-kafka batch runner: reads a group's partitions in batches, keeps their state, checkpoints. Decodes nothing.

A checkpoint is: state and outputs produced, all of it acknowledged (dead letters too), then the offsets of when it began committed.
Whatever fails before the commit stops the process, and is replayed by the next.

A partition whose next record needs a schema that the registry has not told yet is paused, and one whose records the processor
cannot fold yet; the others go on. With more to do than it can, it takes up the topics last that may wait.
"""

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import attrgetter
from typing import TYPE_CHECKING

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, TopicPartition

from schemas.errors import BrokerUnavailable
from schemas.positions import Place
from schemas.topics import STIR_KEY
from schemas.wire.admin import make_admin
from schemas.wire.client import make_consumer
from schemas.wire.dlq import DeadLetterWriter
from schemas.wire.identities import TopicIds, asking
from schemas.wire.inbound import InboundRecord, inbound
from schemas.wire.tracing import Tracing
from streams.metrics import RunnerMetrics
from streams.outbox import Outbox, raise_for
from streams.processor import Work
from streams.runner.batch_processor import BatchProcessor
from streams.runner.batch_spans import batch_spans
from streams.runner.checkpoints import Checkpoints, Steps
from streams.runner.patient import PatientRecords
from streams.runner.rest import rest_s
from streams.runner.resume import commit_unless_revoked, require_same, to_commit
from streams.runner.stirring import Stirring
from streams.runner.takeover import StoppedRestoring, Surveyor
from streams.runner.waiting import WaitingRecords

if TYPE_CHECKING:
    from streams.runner.changelog import ChangelogStore

log = logging.getLogger(__name__)

_IDLE_POLL_S = 0.1
_SETTLING_POLL_S = 0.01
_TIMEOUT_S = 30.0
_CHANGES_LINGER_MS = 50
_LOOK_AT_IDS_S = 1.0
_Headers = Mapping[bytes, list[tuple[str, bytes]]]
_NO_HEADERS: _Headers = {}


@dataclass(frozen=True, slots=True)
class RunnerSettings:
    """How a runner reads and checkpoints.

    Attributes:
        topics: co-partitioned inputs.
        changelog: compacted topic with the inputs' partition count that holds the state.
        role: names the runner in dead letters and logs.
        instance: static group member: a restarted process gets its partitions back at once, and its predecessor is shut out.
        patient: those of the topics whose records wait where more comes than can be processed.
    """

    bootstrap: str
    group: str
    topics: tuple[str, ...]
    changelog: str
    role: str
    instance: str
    batch_records: int = 2_000
    checkpoint_interval_s: float = 1.0
    checkpoint_inputs: int = 50_000
    session_timeout_s: float = 20.0
    patient: tuple[str, ...] = ()


class BatchRunner:
    """Drives one processor. All of it happens in the thread that calls `run`."""

    def __init__(
        self,
        settings: RunnerSettings,
        processor: BatchProcessor,
        outbox: Outbox,
        *,
        waiting: WaitingRecords | None = None,
        metrics: RunnerMetrics | None = None,
        tracing: Tracing | None = None,
        crash_point: Callable[[str], None] = lambda _: None,
    ) -> None:
        """Connect in the background.

        Args:
            waiting: holds back records whose schema a registry has yet to tell; None without a registry.
            tracing: makes spans of records that carry a trace; without one no header is looked at.
            crash_point: called with a name at each moment where a crash must be harmless; tests kill the process there.
        """
        self._settings = settings
        self._processor = processor
        self._outbox = outbox
        # of their own: nobody waits for a state but the checkpoint, and each request costs a broker as much as many records
        self._changes = Outbox(settings.bootstrap, linger_ms=_CHANGES_LINGER_MS)
        self._waiting = waiting
        self._patient = PatientRecords(settings.patient)
        self._paused: set[Place] = set()
        self._metrics = metrics or RunnerMetrics()
        self._tracing = tracing
        self._crash_point = crash_point
        self._dead = DeadLetterWriter(outbox, role=settings.role)
        self._stores: dict[int, ChangelogStore] = {}
        # committed when the partition was assigned; None where nothing was
        self._starts: dict[tuple[str, int], int | None] = {}
        self._stirring = Stirring()
        self._checkpoints = Checkpoints(
            Steps(processor.begin_checkpoint, self._write_slice, self._durable, self._commit, self._checkpointed),
            (outbox, self._changes),
            interval_s=settings.checkpoint_interval_s,
            inputs=settings.checkpoint_inputs,
        )
        self._stop = threading.Event()
        self._closing = False
        self._admin = make_admin(settings.bootstrap)
        # of the topics that the assigned partitions are of, and of those that there are
        self._ids: Mapping[str, str] = {}
        self._found = TopicIds(asking(self._admin, settings.topics))
        self._look_s = 0.0
        self._surveyor = Surveyor(
            settings.bootstrap, self._admin, settings.topics, settings.changelog, crash_point=crash_point, timeout_s=_TIMEOUT_S
        )
        self._consumer = make_consumer(
            settings.bootstrap,
            settings.group,
            lambda refusal, _: self._checkpoints.committed(refusal),
            group_instance_id=f"{settings.group}-{settings.instance}",
            session_timeout_ms=int(settings.session_timeout_s * 1000),
            # the same partition numbers of all topics go to the same member
            partition_assignment_strategy="range",
            enable_partition_eof=False,
        )

    @property
    def topic_ids(self) -> Mapping[str, str]:
        """Kafka's ids of the topics that the newest partitions are of, by name; told before a processor is assigned them."""
        return self._ids

    def run(self, stop: threading.Event) -> None:
        """Read and checkpoint until `stop` is set, then checkpoint and leave; raises whatever a batch or a delivery raises.

        Raises:
            OffsetOutOfRange: a topic was created anew: a restart reads it from its beginning.
        """
        self._stop = stop
        self._consumer.subscribe(list(self._settings.topics), on_assign=self._assigned, on_revoke=self._revoked, on_lost=self._lost)
        wait_s: float | None = None
        try:
            while not stop.is_set():
                started_s = time.monotonic()
                took_s = 0.0
                records = self._ready(self._poll(self._patience_s if wait_s is None else min(wait_s, self._patience_s)))
                if records:
                    processing_s = time.monotonic()
                    self._process(records)
                    self._checkpoints.processed(records)
                    took_s = time.monotonic() - processing_s
                    self._metrics.folded(self._settings.role, records, took_s=took_s)
                self._look_at_ids()
                work, wait_s = self._processor.between()
                self._apply(work)
                self._check_deliveries()
                if (slice_in_s := self._checkpoints.advance(took_s)) is not None:
                    wait_s = slice_in_s if wait_s is None else min(wait_s, slice_in_s)
                if not self._patient:
                    stop.wait(rest_s(len(records), time.monotonic() - started_s))
            self._checkpoints.now(flush_timeout_s=_TIMEOUT_S)
        except StoppedRestoring:
            log.warning("%s stopped while it restored its state; what it has not committed comes again", self._settings.role)
        finally:
            # without a checkpoint in `_revoked` when an error is under way: nothing may be committed after it
            self._stores.clear()
            self._closing = True
            self._consumer.close()

    def _process(self, records: Sequence[InboundRecord]) -> None:
        spans = None if self._tracing is None else batch_spans(self._tracing, self._settings.role, records)
        work = self._processor.process(records)
        if spans is None:
            self._apply(work)
        else:
            self._apply(work, spans.processed(work))
            spans.produced()

    def _look_at_ids(self) -> None:
        # the client reads on in another topic of the name, in silence, where that one is longer
        if time.monotonic() >= self._look_s:
            self._look_s = time.monotonic() + _LOOK_AT_IDS_S
            self._found.look()
            require_same(self._ids, self._found.now)

    @property
    def _patience_s(self) -> float:
        if self._patient:
            return 0.0
        return _SETTLING_POLL_S if self._checkpoints.open else _IDLE_POLL_S

    def _write_slice(self, limit: int) -> bool:
        work, more = self._processor.checkpoint(limit)
        self._apply(work)
        if not more:
            self._crash_point("after-produce-before-flush")
        return more

    def _durable(self) -> None:
        self._check_deliveries()
        self._processor.durable()
        self._crash_point("after-flush-before-commit")

    def _commit(self, positions: Mapping[Place, int], wait: bool) -> None:  # noqa: FBT001  as `Steps` calls it
        if wait:
            self._consumer.commit(offsets=to_commit(positions, self._ids), asynchronous=False)
        else:
            self._consumer.commit(offsets=to_commit(positions, self._ids), asynchronous=True)

    def _checkpointed(self, took_s: float) -> None:
        for partition in self._stores:
            if self._stirring.due(partition):
                self._changes.produce(self._settings.changelog, None, STIR_KEY, partition)
        self._metrics.checkpointed(took_s=took_s)
        self._report_lag()

    def _poll(self, timeout_s: float) -> list[InboundRecord]:
        first = self._consumer.poll(timeout_s)
        if first is None:
            return []
        records = []
        more = [] if self._patient.full else self._consumer.consume(self._settings.batch_records - 1, 0)
        for message in [first, *more]:
            error = message.error()
            if error is None:
                record = inbound(message)
                # of a partition that a rebalance took in between
                if record.partition in self._stores:
                    records.append(record)
            # the client gives its own codes no public names; `fatal` tells of producers' errors only
            elif error.code() == KafkaError._FATAL:  # noqa: SLF001
                raise BrokerUnavailable(
                    f"{self._settings.role} cannot read on: {error.str()}; where another process has the instance name "
                    f"{self._settings.instance!r}, give each its own (ROOST_INSTANCE)"
                )
            elif error.code() in (KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError.TOPIC_AUTHORIZATION_FAILED):
                raise BrokerUnavailable(f"{self._settings.role} cannot read on: {error.str()}")
            else:
                log.warning("%s: %s", self._settings.role, error.str())
        return records

    def _ready(self, arrived: list[InboundRecord]) -> list[InboundRecord]:
        ready = arrived if self._waiting is None else self._waiting.sift(arrived)
        self._pause()
        return self._patient.sift(ready)

    def _pause(self) -> None:
        waiting = self._waiting.places if self._waiting is not None else set()
        places = waiting.union(self._processor.not_yet())
        if places != self._paused:
            self._consumer.pause([TopicPartition(*place) for place in places - self._paused])
            self._consumer.resume([TopicPartition(*place) for place in self._paused - places])
            self._paused = places
            self._metrics.paused(self._settings.topics, waiting)

    def _apply(self, work: Work, headers: _Headers = _NO_HEADERS) -> None:
        for record, error in work.dead:
            self._dead.write(record, error)
            self._metrics.dead_lettered(record, error)
        counts = Counter(map(attrgetter("topic"), work.outputs))
        for partition, store in self._stores.items():
            changes = store.take_changes()
            if changes:
                self._changes.produce_all(
                    self._settings.changelog, [(key.encode(), value) for key, value in changes], partition=partition
                )
                counts[self._settings.changelog] += len(changes)
        # as long runs as there are: headers need a call each
        for (topic, has_headers), run in groupby(work.outputs, lambda one: (one.topic, bool(one.headers) or one.key in headers)):
            if has_headers:
                for output in run:
                    sent_along = [*output.headers, *headers.get(output.key, ())]
                    self._outbox.produce(topic, output.value, output.key, headers=sent_along)
            else:
                self._outbox.produce_all(topic, [(output.key, output.value) for output in run])
        self._metrics.produced(counts)

    def _report_lag(self) -> None:
        positions, ends = {}, {}
        for place, start in self._starts.items():
            # what the last fetch said of the partition: asks the broker nothing
            low, high = self._consumer.get_watermark_offsets(TopicPartition(*place), cached=True)
            if high >= 0:
                ends[place] = high
                positions[place] = self._checkpoints.positions.get(place, max(start or 0, low))
        self._metrics.behind(positions, ends)
        self._metrics.went_round()

    def _check_deliveries(self) -> None:
        for outbox in (self._outbox, self._changes):
            outbox.poll(0)
        if failures := [*self._outbox.take_failures(), *self._changes.take_failures()]:
            forgiven = self._processor.forgiven(failures)
            raise_for([failure for failure in failures if failure not in forgiven])

    def _assigned(self, consumer: Consumer, places: list[TopicPartition]) -> None:
        if self._closing:
            # who closes in the middle of joining is told still, and asks in vain: the error would hide why it ends
            return
        started_s = time.monotonic()
        given = [(place.topic, place.partition) for place in places]
        found = self._surveyor.find(consumer, given, known=self._stores.keys(), should_stop=self._stop.is_set)
        self._ids = found.ids
        for partition, store in found.stores.items():
            positions = {topic: found.starts.get((topic, partition)) or 0 for topic in self._settings.topics}
            ends = {topic: found.ends[topic, partition] for topic in self._settings.topics}
            self._processor.assign(partition, store, positions, ends)
        self._stores.update(found.stores)
        # what a processor changed at its start is in the log before anything that follows from it
        self._apply(Work())
        self._changes.flush_all(timeout_s=_TIMEOUT_S)
        if None in found.starts.values():
            # a crash from here on finds the ids of what its state was folded from, and no record is folded twice
            commit_unless_revoked(consumer, {place: offset or 0 for place, offset in found.starts.items()}, found.ids)
        self._starts.update(found.starts)
        begins = {place: OFFSET_BEGINNING if offset is None else offset for place, offset in found.starts.items()}
        consumer.assign([TopicPartition(*place, offset) for place, offset in begins.items()])
        # before the first of their records is fetched
        self._pause()
        self._checkpoints.postpone()
        log.info(
            "%s took over partitions %s with %d entries in %.1f s",
            self._settings.role,
            sorted(found.stores),
            sum(len(store) for store in found.stores.values()),
            time.monotonic() - started_s,
        )

    def _revoked(self, consumer: Consumer, places: Iterable[TopicPartition]) -> None:
        partitions = {place.partition for place in places} & self._stores.keys()
        if partitions:
            self._checkpoints.now()
            self._forget(partitions)
        consumer.unassign()

    def _lost(self, consumer: Consumer, places: Iterable[TopicPartition]) -> None:
        # another member may own them by now: whatever was not committed is its to replay
        self._forget({place.partition for place in places} & self._stores.keys())
        consumer.unassign()

    def _forget(self, partitions: Collection[int]) -> None:
        if self._waiting is not None:
            self._waiting.forget(partitions)
        self._patient.forget(partitions)
        for partition in partitions:
            self._processor.revoke(partition)
            del self._stores[partition]
            log.info("%s gave up partition %d", self._settings.role, partition, extra={"partition": partition})
        # what is given up must not be paused still, should it come back
        self._pause()
        self._checkpoints.forget(partitions)
        self._starts = {place: offset for place, offset in self._starts.items() if place[1] in self._stores}
