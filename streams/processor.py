"""What a runner asks of a processor: one batch of one input partition in, what to write out. Runs nothing itself."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from schemas.errors import InvalidInput
from schemas.wire.inbound import InboundRecord
from streams.state import OutboundRecord


@dataclass(frozen=True, slots=True)
class Clock:
    """The time, and how quiet the inputs are.

    Attributes:
        now_ms: wall clock, in Unix milliseconds.
        quiet_ms: by topic, for how long the consumer has stood at the end of the partition with nothing to read. A topic with
            records still to read is missing: lag is never idleness.
    """

    now_ms: int
    quiet_ms: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Work:
    """What a batch came to. State changes go through the processor's `StateStore`.

    The runner makes outputs and dead letters durable first, then the state, and only then commits the batch's offsets. So a crash
    at any point repeats outputs at worst, and a state never knows of an output that is not in its log.

    Attributes:
        decoded_ns: when the batch was decoded and folded, in Unix nanoseconds; None from a processor that does not say.
    """

    outputs: tuple[OutboundRecord, ...] = ()
    dead: tuple[tuple[InboundRecord, InvalidInput], ...] = ()
    decoded_ns: int | None = None


class PartitionProcessor(Protocol):
    """Folds one partition of its input topics."""

    def process(self, batch: Sequence[InboundRecord], clock: Clock) -> Work:
        """Fold a batch, in the order each topic gave it; an empty one lets time pass. Only bad records may be dead-lettered."""
        ...
