"""What the embedder reports of itself each second: what of input and embeddings is acknowledged. Folds nothing, sends nothing.

A report says of input only what a checkpoint has made durable, and of a bundle's topic the end behind what was acknowledged: a node
that has applied as much holds all that follows from that input.
"""

import time
from collections.abc import Callable, Mapping, MutableMapping

from schemas.codec import encode
from schemas.positions import write_source_ids
from schemas.records.control import EMBEDDER, NodeStatus, Progress, SourcePosition
from schemas.surfaces import Surfaces
from schemas.topics import NODE_STATUS, embeddings_topic_name
from streams.candidates.partition import CandidatePartition
from streams.embedder.backfill import Backfills
from streams.embedder.passed_over import PassedOver
from streams.embedder.targets import Targets
from streams.metrics import EmbedderMetrics
from streams.state import OutboundRecord

_EVERY_S = 1.0

Source = Mapping[str, SourcePosition]


class Reports:
    """Reads what the processor holds, by reference, and notes what each checkpoint makes durable. One thread calls it."""

    def __init__(
        self,
        instance: str,
        partitions: Mapping[int, CandidatePartition],
        *,
        targets: Targets,
        backfills: Backfills,
        passed_over: PassedOver,
        surfaces: Surfaces,
        partition_count: int,
        source_ids: Mapping[int, Mapping[str, str]],
        ends: MutableMapping[tuple[str, int], int],
        metrics: EmbedderMetrics,
        clock: Callable[[], int],
    ) -> None:
        """Look at nothing yet.

        Args:
            partitions: those assigned; `assign` follows each that is added, `revoke` each that is removed.
            partition_count: of every topic.
            source_ids: by partition, of which topics its input is, by name; followed as `partitions` is.
            ends: next offset behind the last acknowledged record, by (topic, partition); other threads add to it.
            clock: Unix milliseconds.
        """
        self._instance = EMBEDDER + instance
        self._partitions = partitions
        self._targets = targets
        self._backfills = backfills
        self._passed_over = passed_over
        self._surfaces = surfaces
        self._partition_count = partition_count
        self._source_ids = source_ids
        self._ends = ends
        self._metrics = metrics
        self._clock = clock
        # by partition, how far its input was read when the last checkpoint began: the one under way, the last that is acknowledged
        self._sealed: dict[int, Source] = {}
        self._durable: dict[int, Source] = {}
        self._next_s = 0.0

    def assign(self, partition: int) -> None:
        """Note that what a partition was restored to is durable."""
        self._durable[partition] = _source(self._partitions[partition])

    def revoke(self, partition: int) -> None:
        """Forget a partition."""
        self._sealed.pop(partition, None)
        self._durable.pop(partition, None)

    def seal(self) -> None:
        """Note that a checkpoint begins: it makes durable what was read so far."""
        self._sealed = {number: _source(partition) for number, partition in self._partitions.items()}

    def durable(self) -> None:
        """Note that the last checkpoint is acknowledged."""
        self._durable.update(self._sealed)
        self._sealed = {}
        # the sooner it is said, the sooner nodes know what they hold
        self._next_s = 0.0

    def forget_ends(self, bundle: str) -> None:
        """Forget what was acknowledged of a bundle's topic: one of a later life begins anew, under the same name."""
        for partition in range(self._partition_count):
            self._ends.pop((embeddings_topic_name(bundle), partition), None)

    @property
    def due(self) -> bool:
        """Whether the last report is a second old, or a checkpoint was acknowledged since."""
        return time.monotonic() >= self._next_s

    def report(self) -> OutboundRecord:
        """Return the report of now, for `node-status`."""
        self._next_s = time.monotonic() + _EVERY_S
        now_ms = self._clock()
        self._metrics.live({name: sum(p.live[name].count(now_ms) for p in self._partitions.values()) for name in self._surfaces})
        loaded_ends = {loaded.target.bundle: loaded.ends for loaded in self._targets.active()}
        status = NodeStatus(
            instance=self._instance,
            time_ms=now_ms,
            ready=bool(self._partitions),
            revisions=self._targets.revisions,
            progress=tuple(
                self._progress(surface, bundle, partition, loaded_ends.get(bundle, {}), now_ms)
                for bundle, surface in self._targets.wanted().items()
                if surface in self._surfaces
                for partition in self._partitions
            ),
            errors=(
                # the controller looks for the id in front: such a bundle is rejected
                *(f"{bundle}: {reason}" for bundle, reason in self._targets.errors.items()),
                *(f"bundle {bundle} cannot be loaded yet: {reason}" for bundle, reason in self._targets.waiting.items()),
                *self._passed_over.errors,
            ),
        )
        return OutboundRecord(NODE_STATUS, self._instance.encode(), encode(status), write_source_ids(self._agreed_ids()))

    def _agreed_ids(self) -> dict[str, str]:
        """Return the ids that all partitions know: of what was created anew between two assignments nothing is said."""
        told = list(self._source_ids.values())
        return {topic: one for topic, one in (told[0] if told else {}).items() if all(ids.get(topic) == one for ids in told)}

    def _progress(self, surface: str, bundle: str, partition: int, ends: Mapping[int, int], now_ms: int) -> Progress:
        return Progress(
            surface=surface,
            bundle=bundle,
            partition=partition,
            # all that follows from it is acknowledged, so below the end: whoever has applied that much has it
            source=self._durable[partition],
            embeddings_end=max(ends.get(partition, 0), self._ends.get((embeddings_topic_name(bundle), partition), 0)),
            live_count=self._partitions[partition].live[surface].count(now_ms),
            backfill_done=self._backfills.is_done(bundle, partition),
        )


def _source(partition: CandidatePartition) -> Source:
    times_ms = partition.append_times_ms
    return {topic: SourcePosition(next_offset, times_ms[topic]) for topic, next_offset in partition.positions.items()}
