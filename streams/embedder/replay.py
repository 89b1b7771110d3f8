"""What a starting embedder reads again: the event ids before its position, and its own last report. Writes nothing."""

import logging
from collections.abc import Callable, Iterator, Mapping

from schemas.codec import SchemaLookup, decode
from schemas.errors import InvalidInput, OffsetOutOfRange
from schemas.records.control import EMBEDDER, NodeStatus
from schemas.topics import ENGAGEMENTS, NODE_STATUS
from schemas.wire.admin import make_admin, offsets_since
from schemas.wire.inbound import InboundRecord
from schemas.wire.tail import TailReader
from streams.candidates.dedupe import SeenEvents, window_start_ms
from streams.candidates.intake import read_engagement

log = logging.getLogger(__name__)


def written_whole(report: NodeStatus | None, configured_at: Mapping[str, int]) -> set[tuple[str, int]]:
    """Return the (bundle, partition) whose corpus the last run reported as written.

    Args:
        configured_at: by surface, the revision that changed its refresh policy last. A report of before says nothing of what the
            earlier policy had held back.
    """
    if report is None:
        return set()
    return {
        (progress.bundle, progress.partition)
        for progress in report.progress
        if progress.backfill_done and report.revisions.get(progress.surface, 0) >= configured_at.get(progress.surface, 0)
    }


def seen_before(
    bootstrap: str,
    partition: int,
    next_offset: int,
    *,
    lookup: SchemaLookup | None = None,
    should_stop: Callable[[], bool] = lambda: False,
) -> SeenEvents:
    """Return the event ids of `engagements` in the window before `next_offset`; none of what retention has already removed.

    Args:
        lookup: as in `streams.intake.read`.
        should_stop: ends it early; what it then returns is of no use.

    Raises:
        RegistryUnavailable: as `lookup` does.
        BrokerUnavailable: as `offsets_since`.
    """
    seen = SeenEvents()
    if next_offset == 0:
        return seen
    try:
        # as the embedder's own consumer does: what was given up by its producer was never folded
        with TailReader(
            bootstrap, ENGAGEMENTS, [partition], start={partition: next_offset - 1}, read_committed=True, once=True
        ) as reader:
            newest_ms = next(record.timestamp_ms for record in _until(reader, partition, next_offset, should_stop))
        start = offsets_since(make_admin(bootstrap), ENGAGEMENTS, [partition], window_start_ms(newest_ms))
        with TailReader(bootstrap, ENGAGEMENTS, [partition], start=start, read_committed=True, once=True) as reader:
            for record in _until(reader, partition, next_offset, should_stop):
                try:
                    seen.repeats(read_engagement(record, lookup=lookup).event_id, record.timestamp_ms)
                except InvalidInput:
                    # skipped when it was folded, too
                    continue
    except (OffsetOutOfRange, StopIteration):
        if should_stop():
            return seen
        log.warning(
            "%s/%d no longer holds what was read before offset %d",
            ENGAGEMENTS,
            partition,
            next_offset,
            extra={"topic": ENGAGEMENTS, "partition": partition, "offset": next_offset},
        )
    return seen


def _until(reader: TailReader, partition: int, next_offset: int, should_stop: Callable[[], bool]) -> Iterator[InboundRecord]:
    while reader.next_offsets[partition] < next_offset and not reader.at_end() and not should_stop():
        for record in reader.poll(10_000, 1.0):
            if record.offset >= next_offset:
                return
            yield record


def last_report(bootstrap: str, instance: str) -> NodeStatus | None:
    """Return the last heartbeat of this instance's earlier run, if there is one."""
    key = (EMBEDDER + instance).encode()
    last: NodeStatus | None = None
    with TailReader(bootstrap, NODE_STATUS, [0], once=True) as reader:
        for record in reader.read_to_end():
            if record.key == key and record.value is not None:
                try:
                    last = decode(NodeStatus, record.value)
                except InvalidInput:
                    # a report of a newer release: as good as none
                    last = None
    return last
