"""What a batch runner drives, and what it gets back. Runs nothing."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from schemas.errors import InvalidInput
from schemas.wire.inbound import InboundRecord
from streams.outbox import Failure
from streams.state import OutboundRecord, StateStore


@dataclass(slots=True)
class Effects:
    """What a processor wants done: records written, and input that can never be processed dead-lettered."""

    records: list[OutboundRecord] = field(default_factory=list)
    dead: list[tuple[InboundRecord, InvalidInput]] = field(default_factory=list)


class BatchProcessor(Protocol):
    """A processor of co-partitioned topics. Its changes to a store are logged by the runner after each call."""

    def assign(self, partition: int, store: StateStore, positions: Mapping[str, int]) -> None:
        """Take over a partition, whose state is restored and whose inputs go on at `positions` (next offset by topic)."""
        ...

    def revoke(self, partition: int) -> None:
        """Forget a partition: everything of it is committed, or belongs to another process now."""
        ...

    def process(self, records: Sequence[InboundRecord]) -> Effects:
        """Fold a batch; each partition's records are in the order of its log."""
        ...

    def between(self) -> tuple[Effects, bool]:
        """Do a bounded piece of background work between batches; True when more of it waits."""
        ...

    def checkpoint(self) -> Effects:
        """Write everything held back: after this, all that was processed is in the stores and in effects handed out."""
        ...

    def durable(self) -> None:
        """Hear that all effects handed out so far are acknowledged by the broker."""
        ...

    def forgiven(self, failures: Sequence[Failure]) -> Sequence[Failure]:
        """Return those failed deliveries that the processor can make good; any other stops the process."""
        ...
