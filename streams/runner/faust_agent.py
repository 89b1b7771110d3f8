"""One job's agent in a Faust application: takes batches, has a thread fold them, acknowledges. Decodes nothing.

The traps of Faust that it steps around are listed in `streams.runner.faust_runner`.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from schemas.errors import TopicMismatch
from schemas.positions import Place
from schemas.wire.inbound import InboundRecord
from streams.metrics import RunnerMetrics
from streams.processor import Clock
from streams.runner.partitions import Job, OwnedPartitions
from streams.runner.waiting import WaitingRecords

_ASK_AGAIN_S = 0.1


class JobAgent:
    """Lives in the application's event loop; nothing of it blocks.

    Attributes:
        waiting: partitions that stand still until the schema registry answers; any thread may look.
    """

    def __init__(
        self,
        job: Job,
        app: Any,
        owned: OwnedPartitions,
        *,
        metrics: RunnerMetrics,
        fail: Callable[[BaseException], None],
    ) -> None:
        """Subscribe the application to the job's topics.

        Args:
            app: as `streams.runner.faust_app` makes it; Faust is imported there alone.
            owned: the job's partitions of this process.
            fail: told what a batch or a tick raised; no other is begun then.
        """
        self._job = job
        self._app = app
        self._owned = owned
        self._fail = fail
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=job.name)
        # a batch, a tick and a rebalance never overlap
        self._turn = asyncio.Lock()
        self._closed = False
        # between the end of one generation and the next one's beginning: what was gathered before is handed out in this time, too,
        # and taken would open a partition that was given up
        self._given_up: int | None = None
        self.waiting: set[Place] = set()
        self._quiet_since_s: dict[Place, float] = {}
        self._metrics = metrics
        self._waiting = WaitingRecords(job.answered or (lambda _: True))
        # the streams' events of records that are not folded yet, by topic, partition and offset
        self._events: dict[tuple[str, int, int], tuple[Any, Any]] = {}
        topic = app.topic(*job.topics, key_serializer="raw", value_serializer="raw", allow_empty=True, internal=False)
        app.agent(topic, name=job.name)(self._consume)
        app.on_partitions_revoked.connect(self._on_revoked, weak=False)
        app.on_partitions_assigned.connect(self._on_assigned, weak=False)

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
            generation = self._app.consumer_generation_id
            fresh = [event for event in events if self._given_up != event.message.generation_id == generation]
            records = [_inbound(event.message) for event in fresh]
            self._events |= {_place(record): (event, stream) for record, event in zip(records, fresh, strict=True)}
            await self._fold(records)

    async def _fold(self, arrived: Sequence[InboundRecord]) -> None:
        ready = self._waiting.sift(arrived)
        self._hold(self._waiting.places)
        batches: dict[int, list[InboundRecord]] = {}
        for record in ready:
            batches.setdefault(record.partition, []).append(record)
        if batches and await self._run(batches):
            for record in ready:
                event, stream = self._events.pop(_place(record))
                await stream.ack(event)

    def _hold(self, places: set[Place]) -> None:
        self._app.consumer.hold(places, self.waiting - places)
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
                    await self._run(None)

    async def close(self) -> None:
        """Wait for the batch under way, then take no more."""
        async with self._turn:
            self._closed = True
            await asyncio.to_thread(self._thread.shutdown)

    async def _run(self, batches: dict[int, list[InboundRecord]] | None) -> bool:
        # without batches time passes on all partitions
        if self._closed:
            return False
        try:
            clocks = self._clocks()
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
            self._given_up = self._app.consumer_generation_id
            self._owned.drop()
            self._quiet_since_s.clear()
            self._waiting.forget()
            self._hold(set())
            self._events.clear()

    async def _on_assigned(self, *_: Any, **__: Any) -> None:
        # a group that its broker made anew counts from the beginning
        self._given_up = None

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

    def _clocks(self) -> dict[int, Clock]:
        now_s, now_ms = time.monotonic(), time.time_ns() // 1_000_000
        clocks = {}
        for partition in self._partitions():
            quiet_ms = {}
            for topic in self._job.topics:
                place = (topic, partition)
                # beyond the last record, too: behind a transaction's marker, or what was compacted away
                if (end := self._app.consumer.read_to_end(place)) is None:
                    self._quiet_since_s.pop(place, None)
                else:
                    quiet_ms[topic] = int((now_s - self._quiet_since_s.setdefault(place, now_s)) * 1000)
                    self._job.folded({place: end})
            clocks[partition] = Clock(now_ms, quiet_ms)
        return clocks


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
