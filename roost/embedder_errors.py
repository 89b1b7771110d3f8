"""What live embedders say is wrong, by their heartbeats: bundles set aside, candidates passed over. Judges nothing."""

import time
from collections.abc import Collection, Iterable
from contextlib import closing

from schemas.heartbeats import live_embedders
from schemas.records.control import SILENCE_MS, NodeStatus
from streams.controller.journal import Heartbeats


def embedder_errors(statuses: Iterable[NodeStatus], now_ms: int, *, of: Collection[str] | None = None) -> tuple[str, ...]:
    """Return their sentences, each with its embedder.

    Args:
        statuses: the newest heartbeat of each instance; `time_ms` is when it was heard.
        of: the bundles to be told of; None for all.
    """
    return tuple(
        f"embedder {name}: {error}"
        for name, status in live_embedders(statuses, now_ms, SILENCE_MS).items()
        for error in status.errors
        if of is None or error.partition(":")[0] in of
    )


def read_embedder_errors(bootstrap: str, *, ahead_ms: int = 0) -> tuple[str, ...]:
    """Return what they say now; raises `BrokerUnavailable` when no broker answers.

    Args:
        ahead_ms: how far this machine's clock is ahead of the broker's, as far as that is known.
    """
    with closing(Heartbeats(bootstrap)) as heartbeats:
        heartbeats.catch_up()
        return embedder_errors(heartbeats.all(), time.time_ns() // 1_000_000 - ahead_ms)
