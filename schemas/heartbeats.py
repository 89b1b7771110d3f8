"""Reading heartbeats: who is live, what embedders report, what an instance complains of. Judges no bundle."""

from collections.abc import Iterable

from schemas.records.control import EMBEDDER, NodeStatus, Progress

Reports = dict[tuple[str, int], Progress]
"""By bundle and partition."""


def live_of(statuses: Iterable[NodeStatus], now_ms: int, silence_ms: int) -> list[NodeStatus]:
    """Return those that were heard of within `silence_ms`; `time_ms` is when each was heard."""
    return [status for status in statuses if now_ms - status.time_ms < silence_ms]


def live_embedders(statuses: Iterable[NodeStatus], now_ms: int, silence_ms: int) -> dict[str, NodeStatus]:
    """Return the embedders among `live_of`, by their names, in order."""
    live = (status for status in live_of(statuses, now_ms, silence_ms) if status.instance.startswith(EMBEDDER))
    return {status.instance.removeprefix(EMBEDDER): status for status in sorted(live, key=lambda status: status.instance)}


def reports_of(status: NodeStatus, surface: str) -> Reports:
    """Return what an instance says of a surface's bundles."""
    return {(entry.bundle, entry.partition): entry for entry in status.progress if entry.surface == surface}


def embedder_reports(live: Iterable[NodeStatus], surface: str) -> Reports:
    """Return the newest report per (bundle, partition): after a rebalance two embedders may name one partition."""
    embedders = (status for status in live if status.instance.startswith(EMBEDDER))
    reports: Reports = {}
    for status in sorted(embedders, key=lambda status: status.time_ms):
        reports.update(reports_of(status, surface))
    return reports


def complaint(status: NodeStatus, bundle: str) -> str:
    """Return why an instance cannot use a bundle, as it says itself; empty when it says nothing."""
    return next((error for error in status.errors if error.startswith(f"{bundle}:")), "")
