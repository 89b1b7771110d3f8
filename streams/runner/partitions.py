"""The partitions a process owns, each with its processor and state: runs batches and makes them durable. Knows no consumer.

The order keeps the promise of CONTRACTS, 'What "the same state" means': outputs and dead letters are acknowledged first, then the
state's changes, and only then may the caller commit offsets. Whatever fails raises, and the process must end: its memory is ahead
of the log.
"""

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from operator import attrgetter

from schemas.positions import Place
from schemas.topics import STIR_KEY
from schemas.wire.dlq import DeadLetterWriter
from schemas.wire.inbound import InboundRecord
from streams.metrics import RunnerMetrics
from streams.outbox import Outbox, raise_for
from streams.processor import Clock, PartitionProcessor
from streams.runner.changelog import ChangelogStore, restore
from streams.runner.stirring import Stirring
from streams.state import StateStore


@dataclass(frozen=True, slots=True)
class Job:
    """One role's work, for a runner to drive.

    Attributes:
        name: names the role in dead letters and logs.
        topics: the inputs; they share one partition count, and partition p of all is one processor's.
        changelog: compacted topic that holds the state, partition p for partition p; None for a processor that needs none.
        open_partition: makes the processor of a partition from its restored state.
        before_batch: called before every batch, in the thread that runs it; tails of other topics catch up here.
        batch_records: most records in a batch.
        batch_within_s: longest time a batch waits for more records.
        tick_s: how often time passes for idle partitions; None for processors that care only for records.
        dropped: called when all partitions are given up, before others are opened.
        answered: tells whether a record's value can be decoded now, or is known never to be: without that its partition waits. None
            without a schema registry.
        folded: told the next offset of each place once all that came of what lies before is durable; from any thread.
        stirs: compacted inputs that are written to now and then beside the changelog, so that the broker cleans them.
    """

    name: str
    topics: tuple[str, ...]
    changelog: str | None
    open_partition: Callable[[int, StateStore], PartitionProcessor]
    before_batch: Callable[[], None] = lambda: None
    batch_records: int = 2_000
    batch_within_s: float = 0.1
    tick_s: float | None = None
    dropped: Callable[[], None] = lambda: None
    answered: Callable[[bytes | None], bool] | None = None
    folded: Callable[[Mapping[Place, int]], None] = lambda _: None
    stirs: tuple[str, ...] = ()


@dataclass(slots=True)
class _Open:
    processor: PartitionProcessor
    store: ChangelogStore


class OwnedPartitions:
    """Processors by partition, opened when first needed. One thread at a time.

    Attributes:
        restoring: a partition is being opened just now; any thread may look.
    """

    def __init__(
        self,
        job: Job,
        bootstrap: str,
        outbox: Outbox,
        *,
        flush_timeout_s: float,
        given_up: Callable[[], bool],
        metrics: RunnerMetrics,
    ) -> None:
        self._job = job
        self._bootstrap = bootstrap
        self._outbox = outbox
        self._dead = DeadLetterWriter(outbox, role=job.name)
        self._metrics = metrics
        self._flush_timeout_s = flush_timeout_s
        self._given_up = given_up
        self._open: dict[int, _Open] = {}
        self._stirring = Stirring()
        self.restoring = False

    def run(self, batches: Mapping[int, Sequence[InboundRecord]], clocks: Mapping[int, Clock]) -> None:
        """Fold a batch per partition and make all that came of it durable.

        Raises:
            DeliveryFailed: something is not in its log; nothing may be committed, and this object is of no more use.
        """
        started_s = time.monotonic()
        self._job.before_batch()
        counts: Counter[str] = Counter()
        touched = [(partition, self._opened(partition)) for partition in batches]
        for partition, entry in touched:
            work = entry.processor.process(batches[partition], clocks[partition])
            for output in work.outputs:
                self._outbox.produce(output.topic, output.value, output.key, headers=list(output.headers))
            counts.update(map(attrgetter("topic"), work.outputs))
            for record, error in work.dead:
                self._dead.write(record, error)
                self._metrics.dead_lettered(record, error)
        self._flush()
        for partition, entry in touched:
            changes = entry.store.take_changes()
            if self._job.changelog is not None and changes:
                for key, value in changes:
                    self._outbox.produce(self._job.changelog, value, key.encode(), partition)
                counts[self._job.changelog] += len(changes)
            if self._stirring.due(partition):
                for topic in filter(None, (*self._job.stirs, self._job.changelog)):
                    self._outbox.produce(topic, None, STIR_KEY, partition)
        self._flush()
        # the last of a place counts: each topic's records come in order
        self._job.folded({(record.topic, record.partition): record.offset + 1 for batch in batches.values() for record in batch})
        self._metrics.produced(counts)
        self._metrics.folded(
            self._job.name, [record for batch in batches.values() for record in batch], took_s=time.monotonic() - started_s
        )

    def drop(self) -> None:
        """Forget all partitions: their state may change under another owner. The next batch restores it from the log."""
        self._open.clear()
        self._job.dropped()

    def _opened(self, partition: int) -> _Open:
        entry = self._open.get(partition)
        if entry is None:
            self.restoring = True
            changelog = self._job.changelog
            store = ChangelogStore(restore(self._bootstrap, changelog, partition) if changelog is not None else None)
            entry = self._open[partition] = _Open(self._job.open_partition(partition, store), store)
            self.restoring = False
        return entry

    def _flush(self) -> None:
        if len(self._outbox):
            self._outbox.flush_all(timeout_s=self._flush_timeout_s, should_stop=self._given_up)
        raise_for(self._outbox.take_failures())
