"""Waiting until every live node reflects what was published. Reads heartbeats; publishes and asks nothing."""

import time
from collections.abc import Iterable, Iterator
from contextlib import closing

from schemas.heartbeats import live_of
from schemas.positions import Positions, first_missing
from schemas.progress import OnProgress, untold
from schemas.records.control import NODE, SILENCE_MS, NodeStatus
from streams.controller.journal import Heartbeats

_LOOK_S = 0.1


def wait_until_retrievable(
    bootstrap: str,
    written: Positions,
    *,
    timeout_s: float,
    on_progress: OnProgress = untold,
) -> list[str]:
    """Return what is not retrievable yet when the time is up, a sentence for each node; empty as soon as all of it is.

    Nodes say once a second how far they are, so it takes up to a second longer than it takes them.

    Args:
        written: next offsets behind what was published.
        on_progress: of the records that the node that is furthest behind had to go when it was first looked at.

    Raises:
        BrokerUnavailable: no broker answers.
    """
    with closing(Heartbeats(bootstrap)) as heartbeats:
        deadline_s = time.monotonic() + timeout_s
        heartbeats.catch_up()
        most = 0
        while True:
            heard, now_ms = heartbeats.all(), heartbeats.now_ms()
            lacks, left = list(lacking(heard, written, now_ms)), behind(heard, written, now_ms)
            most = max(most, left)
            on_progress("reflected by every live node", most - left, most)
            if not lacks or time.monotonic() >= deadline_s:
                return lacks
            time.sleep(_LOOK_S)
            heartbeats.refresh()


def lacking(statuses: Iterable[NodeStatus], written: Positions, now_ms: int) -> Iterator[str]:
    """Yield a sentence for each live node, or one for want of any, that does not answer from all that was written."""
    nodes = [status for status in live_of(statuses, now_ms, SILENCE_MS) if status.instance.startswith(NODE)]
    if not nodes:
        yield "no node is alive; is `roost serve` running?"
    for node in sorted(nodes, key=lambda node: node.instance):
        if not node.live:
            yield f"{node.instance} answers on no surface yet: {node.errors[0] if node.errors else 'it is starting'}"
        for surface, bundle in sorted(node.live.items()):
            if missing := first_missing(written, _held(node, surface, bundle)):
                topic, partition, wanted, have = missing
                yield f"{node.instance}: {surface} reflects {topic}/{partition} up to offset {have}, not yet {wanted}"


def behind(statuses: Iterable[NodeStatus], written: Positions, now_ms: int) -> int:
    """Return how many records the live node that is furthest behind has to go; 0 where none says so."""
    nodes = [status for status in live_of(statuses, now_ms, SILENCE_MS) if status.instance.startswith(NODE)]
    held = [_held(node, surface, bundle) for node in nodes for surface, bundle in node.live.items()]
    return max((_short_of(written, one) for one in held), default=0)


def _short_of(written: Positions, held: Positions) -> int:
    return sum(
        max(0, end - held.get(topic, {}).get(partition, 0)) for topic, ends in written.items() for partition, end in ends.items()
    )


def _held(node: NodeStatus, surface: str, bundle: str) -> dict[str, dict[int, int]]:
    held: dict[str, dict[int, int]] = {}
    for progress in node.progress:
        if (progress.surface, progress.bundle) == (surface, bundle):
            for topic, position in progress.source.items():
                held.setdefault(topic, {})[progress.partition] = position.next_offset
    return held
