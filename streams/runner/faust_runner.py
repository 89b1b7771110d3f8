"""Runs jobs in one Faust application: Faust owns the consumer group, rebalancing and commits; the work happens in plain threads.

The only module that imports faust. What it does about Faust's known traps (issue numbers of faust-streaming/faust):

- An exception in an agent acknowledges its events and restarts the agent (#189, #315, #527): ours stops the process instead, and
  events are acknowledged only after all that came of them is durable.
- Blocking calls stall heartbeats: each job runs in a thread of its own.
- `app.Table` loses writes: a changelog record that could not be sent is logged, never raised, and its offset is committed (#333).
  State lives in `streams.runner.changelog` instead, and outputs leave through our own producer, flushed before the acknowledgement.
- exactly_once is broken (#323, #177, #517): at least once, and processors that repetition cannot hurt.
- After a broker loss the offsets may stop in silence (#523, #175, #594): a watchdog ends the process.
- Without a broker its consumer never stops, and blocks the event loop and the interpreter's end with it: it runs in daemon threads,
  and a stop that takes too long is given up.
- A partition that is paused loses what was fetched of it and not handed out yet: one that waits for the schema registry is reported
  as a full buffer instead, which fetches no more of it and hands out the rest.
- Topics are never created by Faust: `schemas.topics` says how they must be.
"""

import asyncio
import logging
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import faust
from aiokafka import TopicPartition
from faust.transport.drivers.aiokafka import AIOKafkaConsumerThread
from faust.types import TP
from mode.threads import WorkerThread

from schemas.errors import BrokerUnavailable, TopicMismatch
from schemas.positions import Place
from schemas.wire.admin import make_admin
from schemas.wire.inbound import InboundRecord
from streams.metrics import RunnerMetrics
from streams.outbox import Outbox
from streams.processor import Clock
from streams.runner.anew import set_back
from streams.runner.former import await_rebalance
from streams.runner.partitions import Job, OwnedPartitions
from streams.runner.waiting import WaitingRecords
from streams.runner.watchdog import Watchdog
from streams.settings import StreamsSettings

log = logging.getLogger(__name__)

_STOP_POLL_S = 0.2
_ASK_AGAIN_S = 0.1
_METADATA_MS = 15_000
# of each partition; a larger record still comes, alone (KIP-74)
_FETCH_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class GroupSettings:
    """One consumer group.

    Attributes:
        group: its id; the committed offsets are its position.
        instance: tells apart the group's processes. A process that comes back under its name gets its partitions back at once,
            and one that still runs under it is fenced (KIP-345).
        session_timeout_s: a killed member's partitions are given to another after this long.
        commit_interval_s: how often acknowledged offsets are committed.
        flush_timeout_s: how long a batch waits for the broker's acknowledgement before the process ends.
        wedged_after_s: how long a partition may stand still with records to read, or this process be no member of its group while
            the broker answers, before the process ends.
        stop_timeout_s: how long a stop may take before it is given up: without a broker, nothing can be flushed or committed.
    """

    bootstrap: str
    group: str
    instance: str
    session_timeout_s: float = 20.0
    commit_interval_s: float = 1.0
    flush_timeout_s: float = 60.0
    wedged_after_s: float = 60.0
    stop_timeout_s: float = 20.0


def group_settings(settings: StreamsSettings, group: str, *, wedged_after_s: float) -> GroupSettings:
    """Return a role's settings as those of its consumer group."""
    return GroupSettings(
        settings.bootstrap,
        group,
        settings.instance,
        session_timeout_s=settings.session_timeout_s,
        commit_interval_s=settings.checkpoint_interval_s,
        wedged_after_s=wedged_after_s,
    )


def run_jobs(
    settings: GroupSettings,
    jobs: Sequence[Job],
    stop: threading.Event,
    *,
    metrics: RunnerMetrics | None = None,
    on_wedged: Callable[[str], None] | None = None,
) -> None:
    """Run jobs until `stop` is set: then the batch under way is finished, flushed and committed. Blocks.

    Args:
        on_wedged: called with a sentence, from another thread, when the group stands still; by default the process ends at once.

    Raises:
        DeliveryFailed: a record was not acknowledged.
        BrokerUnavailable: the broker went away, and stopping was given up; whatever was not committed comes again.
        Exception: whatever a processor raised. Nothing of the batch is committed then.
    """
    topics = [topic for job in jobs for topic in job.topics]
    patience_s = 2 * settings.session_timeout_s
    set_back(settings.bootstrap, settings.group, topics, stop, patience_s=patience_s)
    await_rebalance(make_admin(settings.bootstrap), settings.group, settings.instance, topics, stop, patience_s=patience_s)
    with tempfile.TemporaryDirectory(prefix="roost-faust-") as folder:
        run = _FaustRun(settings, jobs, Path(folder), metrics=metrics or RunnerMetrics(), on_wedged=on_wedged)
        ended: Future[None] = Future()

        def work() -> None:
            try:
                ended.set_result(asyncio.run(run.until(stop)))
            except BaseException as error:  # noqa: BLE001  raised again by the caller's thread
                ended.set_exception(error)
            finally:
                run.stopping.set()

        threading.Thread(target=work, name=settings.group, daemon=True).start()
        while not stop.is_set() and not run.stopping.is_set():
            run.stopping.wait(_STOP_POLL_S)
        try:
            ended.result(settings.stop_timeout_s)
        except TimeoutError:
            run.given_up.set()
            # one of the run's own is as good an answer
            raise run.failure or BrokerUnavailable(
                f"{settings.group} did not leave its group within {settings.stop_timeout_s:g} s; is the broker up? "
                "What is not committed comes again"
            ) from None


class _DaemonWorker(WorkerThread):
    """A thread for Faust's consumer that the interpreter does not wait for: without a broker it never ends."""

    def __init__(self, service: Any, **kwargs: Any) -> None:
        super().__init__(service, **kwargs)
        self.daemon = True

    def run(self) -> None:
        # cancelled when it gives up a consumer that does not stop; there is nobody left to tell
        with suppress(asyncio.CancelledError):
            super().run()


AIOKafkaConsumerThread.Worker = _DaemonWorker


class _FaustRun:
    """One life of the application.

    Attributes:
        failure: what ended it, if anything did.
        stopping: set once it begins to stop.
        given_up: set once nobody waits for it any more: what is not acknowledged by then is not waited for either.
    """

    def __init__(
        self,
        settings: GroupSettings,
        jobs: Sequence[Job],
        folder: Path,
        *,
        metrics: RunnerMetrics,
        on_wedged: Callable[[str], None] | None,
    ) -> None:
        self.failure: BaseException | None = None
        self.stopping = threading.Event()
        self.given_up = threading.Event()
        self._settings = settings
        self._metrics = metrics
        self._topics = {topic for job in jobs for topic in job.topics}
        self._app = _build_app(settings, folder)
        # one producer for all: linger gathers a batch's records into few requests
        self._outbox = Outbox(settings.bootstrap, linger_ms=5)
        self._agents = [
            _JobAgent(
                job, self._app, settings, outbox=self._outbox, metrics=metrics, fail=self._fail, given_up=self.given_up.is_set
            )
            for job in jobs
        ]
        self._watchdog = Watchdog(
            settings.bootstrap,
            settings.group,
            settings.instance,
            self._places,
            topics=self._topics,
            wedged_after_s=settings.wedged_after_s,
            on_wedged=on_wedged,
            metrics=metrics,
        )

    async def until(self, stop: threading.Event) -> None:
        await self._app.start()
        self._watchdog.start()
        ticking = [asyncio.create_task(do()) for agent in self._agents for do in (agent.tick_forever, agent.look_again_forever)]
        try:
            # a signal handler sets `stop`, outside any event loop
            while not stop.is_set() and self.failure is None and not self._app.crashed:
                self._metrics.went_round()
                await asyncio.sleep(_STOP_POLL_S)
        finally:
            self.stopping.set()
            await asyncio.to_thread(self._watchdog.stop)
            # no batch begins after this: the one under way is finished and acknowledged, so that stopping commits it
            for agent in self._agents:
                await agent.close()
            # not before: a tick that is cancelled while it works looks like one that failed
            for task in ticking:
                task.cancel()
            await self._app.stop()
        if failure := self.failure or self._app.crash_reason:
            raise failure

    def _fail(self, error: BaseException) -> None:
        if self.failure is None:
            log.critical("stopping before anything is committed: %s: %s", type(error).__name__, error)
            self.failure = error

    def _places(self) -> list[Place]:
        # a long log takes long to restore from, and nothing is committed meanwhile
        restoring = {topic for agent in self._agents if agent.restoring for topic in agent.topics}
        # nor while the schema registry does not answer; that is said elsewhere
        waiting = {place for agent in self._agents for place in agent.waiting}
        owned = [(tp.topic, tp.partition) for tp in self._app.consumer.assignment() if tp.topic in self._topics - restoring]
        return [place for place in owned if place not in waiting]


class _JobAgent:
    """A thin agent: takes batches, has a thread fold them, acknowledges.

    Attributes:
        waiting: partitions that stand still until the schema registry answers; any thread may look.
    """

    def __init__(
        self,
        job: Job,
        app: faust.App,
        settings: GroupSettings,
        *,
        outbox: Outbox,
        metrics: RunnerMetrics,
        fail: Any,
        given_up: Callable[[], bool],
    ) -> None:
        self._job = job
        self._app = app
        self._fail = fail
        self._owned = OwnedPartitions(
            job,
            settings.bootstrap,
            outbox,
            flush_timeout_s=settings.flush_timeout_s,
            given_up=given_up,
            metrics=metrics,
        )
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=job.name)
        # a batch, a tick and a rebalance never overlap
        self._turn = asyncio.Lock()
        self._closed = False
        self.waiting: set[Place] = set()
        self._quiet_since_s: dict[TP, float] = {}
        self._metrics = metrics
        self._waiting = WaitingRecords(job.answered or (lambda _: True))
        # the streams' events of records that are not folded yet, by topic, partition and offset
        self._events: dict[tuple[str, int, int], tuple[Any, Any]] = {}
        topic = app.topic(*job.topics, key_serializer="raw", value_serializer="raw", allow_empty=True, internal=False)
        app.agent(topic, name=job.name)(self._consume)
        app.on_partitions_revoked.connect(self._on_revoked, weak=False)

    @property
    def topics(self) -> tuple[str, ...]:
        """The inputs."""
        return self._job.topics

    @property
    def restoring(self) -> bool:
        """Whether a partition's state is being read from its log just now."""
        return self._owned.restoring

    async def _consume(self, stream: Any) -> None:
        # take() acknowledges what it handed out even when its reader raised; noack_take() leaves it to us
        async for events in stream.noack_take(self._job.batch_records, within=self._job.batch_within_s):
            await self._handle(events, stream)

    async def _handle(self, events: Sequence[Any], stream: Any) -> None:
        async with self._turn:
            # events of before a rebalance may belong to another process now, or will come again
            fresh = [event for event in events if event.message.generation_id == self._app.consumer_generation_id]
            records = [_inbound(event.message) for event in fresh]
            self._events |= {_place(record): (event, stream) for record, event in zip(records, fresh, strict=True)}
            await self._fold(records)

    async def _fold(self, arrived: Sequence[InboundRecord]) -> None:
        ready = self._waiting.sift(arrived)
        self._hold(self._waiting.places)
        batches: dict[int, list[InboundRecord]] = {}
        for record in ready:
            batches.setdefault(record.partition, []).append(record)
        if batches and await self._run(batches, arrived={TP(record.topic, record.partition) for record in ready}):
            for record in ready:
                event, stream = self._events.pop(_place(record))
                await stream.ack(event)

    def _hold(self, places: set[Place]) -> None:
        for place in self.waiting - places:
            self._app.consumer.on_buffer_drop(TP(*place))
        # of those that waited before, too: Faust takes a buffer that was full for itself as well for empty by now
        for place in places:
            self._app.consumer.on_buffer_full(TP(*place))
        if places != self.waiting:
            self._metrics.paused(self._job.topics, places)
        self.waiting = places

    async def look_again_forever(self) -> None:
        """Fold what waited for the schema registry once it has answered."""
        while self._job.answered is not None:
            await asyncio.sleep(_ASK_AGAIN_S)
            async with self._turn:
                if self.waiting and not self._app.rebalancing:
                    await self._fold([])

    async def tick_forever(self) -> None:
        """Let time pass on the partitions this process owns."""
        while self._job.tick_s is not None:
            await asyncio.sleep(self._job.tick_s)
            async with self._turn:
                if not self._app.rebalancing:
                    await self._run(None, arrived=set())

    async def close(self) -> None:
        """Wait for the batch under way, then take no more."""
        async with self._turn:
            self._closed = True
            await asyncio.to_thread(self._thread.shutdown)

    async def _run(self, batches: dict[int, list[InboundRecord]] | None, arrived: set[TP]) -> bool:
        # without batches time passes on all partitions
        if self._closed:
            return False
        try:
            clocks = self._clocks(arrived)
            if batches is None:
                batches = {partition: [] for partition in clocks}
            if batches:
                await asyncio.get_running_loop().run_in_executor(
                    self._thread, self._owned.run, batches, {partition: clocks[partition] for partition in batches}
                )
        # whatever it is, Faust would swallow it, acknowledge the events and go on
        except BaseException as error:
            self._closed = True
            self._fail(error)
            if not isinstance(error, Exception):
                raise
            return False
        return True

    async def _on_revoked(self, *_: Any, **__: Any) -> None:
        async with self._turn:
            self._owned.drop()
            self._quiet_since_s.clear()
            self._waiting.forget()
            self._hold(set())
            self._events.clear()

    def _partitions(self) -> set[int]:
        assigned = self._app.consumer.assignment()
        by_topic = {topic: {tp.partition for tp in assigned if tp.topic == topic} for topic in self._job.topics}
        common = set.intersection(*by_topic.values())
        if any(partitions != common for partitions in by_topic.values()):
            raise TopicMismatch(
                f"{self._job.name} was assigned unequal partitions of its topics: {by_topic}; one was deleted, or another program "
                "is in the group"
            )
        return common

    def _clocks(self, arrived: set[TP]) -> dict[int, Clock]:
        now_s, now_ms = time.monotonic(), time.time_ns() // 1_000_000
        waiting = {message.tp for message in self._app.consumer.unacked}
        clocks = {}
        for partition in self._partitions():
            quiet_ms = {}
            for topic in self._job.topics:
                tp = TP(topic, partition)
                if tp in arrived or tp in waiting or not self._at_end(tp):
                    self._quiet_since_s.pop(tp, None)
                else:
                    quiet_ms[topic] = int((now_s - self._quiet_since_s.setdefault(tp, now_s)) * 1000)
            clocks[partition] = Clock(now_ms, quiet_ms)
        return clocks

    def _at_end(self, tp: TP) -> bool:
        # Faust has no public word for this; its own event-path check reads the same fields
        consumer: Any = self._app.consumer
        consumer = consumer._thread._ensure_consumer()  # noqa: SLF001
        assignment = consumer._subscription.subscription.assignment  # noqa: SLF001
        state = assignment.state_value(TopicPartition(tp.topic, tp.partition)) if assignment is not None else None
        if state is None or state.highwater is None or not state.has_valid_position:
            return False
        return bool(state.position >= state.highwater)


def _place(record: InboundRecord) -> tuple[str, int, int]:
    return (record.topic, record.partition, record.offset)


def _inbound(message: Any) -> InboundRecord:
    headers = message.headers.items() if isinstance(message.headers, dict) else message.headers or ()
    return InboundRecord(
        message.topic,
        message.partition,
        message.offset,
        round(message.timestamp * 1000),
        message.key,
        message.value,
        tuple((str(name), value) for name, value in headers),
    )


def _build_app(settings: GroupSettings, folder: Path) -> faust.App:
    return faust.App(
        settings.group,
        broker=[f"kafka://{server.strip()}" for server in settings.bootstrap.split(",")],
        datadir=folder,
        store="memory://",
        web_enabled=False,
        topic_allow_declare=False,
        topic_disable_leader=True,
        consumer_auto_offset_reset="earliest",
        consumer_group_instance_id=settings.instance,
        # Faust hands out all that it fetched before it asks for more: with the default of 1 MiB a partition, one topic's backlog
        # kept the others standing still for a minute and more, and the watchdog took that for a wedge
        consumer_max_fetch_size=_FETCH_BYTES,
        # a topic that was deleted and created anew belongs to nobody until the next look: five minutes, unless told otherwise
        consumer_metadata_max_age_ms=_METADATA_MS,
        broker_session_timeout=settings.session_timeout_s,
        broker_heartbeat_interval=settings.session_timeout_s / 4,
        broker_request_timeout=max(40.0, settings.session_timeout_s * 2),
        broker_commit_interval=settings.commit_interval_s,
        stream_wait_empty=False,
        stream_recovery_delay=0.0,
        # nothing leaves through Faust's producer; should that change, its partitions must be ours: murmur2 is its default
    )
