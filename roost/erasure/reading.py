"""All that topics hold now, record by record, in bounded memory. Decodes and keeps nothing."""

from collections.abc import Iterator, Sequence

from schemas.errors import RoostError
from schemas.progress import OnProgress, untold
from schemas.wire.admin import make_admin, partition_counts
from schemas.wire.inbound import InboundRecord
from schemas.wire.tail import TailReader


def records_of(
    bootstrap: str, topic: str, *, partitions: Sequence[int] | None = None, on_progress: OnProgress = untold
) -> Iterator[InboundRecord]:
    """Yield every record of a topic, or of some of its partitions, up to the present end, each partition's in log order.

    Args:
        on_progress: as of `TailReader.to_end`.

    Raises:
        RoostError: there is no such topic.
        BrokerUnavailable: as `TailReader.to_end`.
    """
    wanted = range(partitions_of(bootstrap, topic)) if partitions is None else partitions
    with TailReader(bootstrap, topic, wanted, once=True) as reader:
        yield from reader.to_end(on_progress=on_progress)


def partitions_of(bootstrap: str, topic: str) -> int:
    """Return how many partitions a topic has; raises `RoostError` when it does not exist, or no broker answers."""
    counts = partition_counts(make_admin(bootstrap))
    if topic not in counts:
        raise RoostError(f"topic {topic} does not exist at {bootstrap}; `roost topics create` creates it")
    return counts[topic]
