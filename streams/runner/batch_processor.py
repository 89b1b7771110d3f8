"""What the batch runner asks of a processor: whole batches over all partitions, and work between them. Runs nothing itself."""

from collections.abc import Collection, Mapping, Sequence
from typing import Protocol

from schemas.positions import Place
from schemas.wire.inbound import InboundRecord
from streams.outbox import Failure
from streams.processor import Work
from streams.state import StateStore


class BatchProcessor(Protocol):
    """A processor of co-partitioned topics. Its changes to a store are logged by the runner after each call."""

    def assign(self, partition: int, store: StateStore, positions: Mapping[str, int], ends: Mapping[str, int]) -> None:
        """Take over a partition, whose state is restored and whose inputs go on at `positions` (next offset by topic).

        Args:
            ends: of the inputs' logs now, 0 of one that was created anew since. What the state says it has read beyond was of a
                topic of that name that is no more.
        """
        ...

    def revoke(self, partition: int) -> None:
        """Forget a partition: everything of it is committed, or belongs to another process now."""
        ...

    def not_yet(self) -> Collection[Place]:
        """Return the places whose records the processor cannot fold yet: none come before that. Asked all the time."""
        ...

    def process(self, records: Sequence[InboundRecord]) -> Work:
        """Fold a batch; each partition's records are in the order of its log."""
        ...

    def between(self) -> tuple[Work, float | None]:
        """Do a bounded piece of background work between batches; also the seconds until the next piece, None when none waits."""
        ...

    def begin_checkpoint(self) -> int:
        """Note that what was processed so far must be written before the next checkpoint ends; about how many things that are."""
        ...

    def checkpoint(self, limit: int) -> tuple[Work, bool]:
        """Write up to about `limit` things held back; False when all from before `begin_checkpoint` is in stores and work.

        Batches may be processed between two calls.
        """
        ...

    def durable(self) -> None:
        """Hear that all work handed out up to the end of the last checkpoint is acknowledged by the broker."""
        ...

    def forgiven(self, failures: Sequence[Failure]) -> Sequence[Failure]:
        """Return those failed deliveries that the processor can make good; any other stops the process."""
        ...
