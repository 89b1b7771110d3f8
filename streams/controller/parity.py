"""When a bundle is as good as the live one on every node: pure comparisons of heartbeats. Moves nothing.

CONTRACTS, 'Epochs and rollouts': on every partition the backfill is done, each live node has applied all that the embedder wrote,
and the bundle's input is read within a second of the live bundle's. Besides, each node's index holds the live one's candidates and
finds what an exact scan finds: a graph that is damaged, or towers that one node runs otherwise, show in no offset.
"""

from collections.abc import Iterable

from schemas.records.control import EMBEDDER, NODE, NodeStatus, Progress, Rollout, Stage

MAX_BEHIND_LIVE_MS = 1000
MIN_COVERAGE = 0.9999
"""Of the live epoch's settled candidates, on every node."""
MIN_RECALL = 0.95
"""Of the exact best 200, on a sample of queries, on every node; a sound index has .99 and more."""

Reports = dict[tuple[str, int], Progress]


def at_parity(statuses: Iterable[NodeStatus], state: Rollout, now_ms: int, *, partitions: int, silence_ms: int) -> set[str]:
    """Return the bundles of a surface that every live node has in full.

    Args:
        statuses: the newest heartbeat of each instance; `time_ms` is when it was heard.
        silence_ms: who has not been heard of for this long is not live. Without a live node and embedder nothing is at parity.
    """
    live = live_of(statuses, now_ms, silence_ms)
    heard = [status for status in live if status.instance.startswith(NODE)]
    nodes = [_progress(status, state.surface) for status in heard]
    reports = embedder_reports(live, state.surface)
    waiting = state.in_stage(Stage.BUILDING, Stage.READY, Stage.CANARY)
    return {
        entry.bundle
        for entry in waiting
        if nodes
        and all(_passes(status, entry.bundle) for status in heard)
        and all(
            (report := reports.get((entry.bundle, partition))) is not None
            and report.backfill_done
            and _as_far_as_live(report, state.live, reports)
            and all(_applied(node, entry.bundle, partition) >= report.embeddings_end for node in nodes)
            for partition in range(partitions)
        )
    }


def unusable(statuses: Iterable[NodeStatus], state: Rollout, now_ms: int, *, silence_ms: int) -> dict[str, str]:
    """Return the bundles under way that cannot be used, with the reason: an embedder, or every live node, says so by their id."""
    live = live_of(statuses, now_ms, silence_ms)
    nodes = [status for status in live if status.instance.startswith(NODE)]
    found: dict[str, str] = {}
    for entry in state.in_stage(Stage.BUILDING, Stage.READY):
        told = [complaint(status, entry.bundle) for status in live if status.instance.startswith(EMBEDDER)]
        by_nodes = [complaint(status, entry.bundle) for status in nodes]
        if by_nodes and all(by_nodes):
            told += by_nodes
        if reasons := [reason for reason in told if reason]:
            found[entry.bundle] = reasons[0]
    return found


def still_reported(statuses: Iterable[NodeStatus], bundle: str, now_ms: int, *, silence_ms: int) -> bool:
    """Tell whether a live node or embedder still works on a bundle."""
    return any(progress.bundle == bundle for status in live_of(statuses, now_ms, silence_ms) for progress in status.progress)


def live_of(statuses: Iterable[NodeStatus], now_ms: int, silence_ms: int) -> list[NodeStatus]:
    """Return those that were heard of within `silence_ms`."""
    return [status for status in statuses if now_ms - status.time_ms < silence_ms]


def _progress(status: NodeStatus, surface: str) -> Reports:
    return {(entry.bundle, entry.partition): entry for entry in status.progress if entry.surface == surface}


def _passes(status: NodeStatus, bundle: str) -> bool:
    """Tell whether a node's index is good enough to answer from; a figure that was not measured yet is none."""
    return status.coverage.get(bundle, 0.0) >= MIN_COVERAGE and status.recall.get(bundle, 0.0) >= MIN_RECALL


def embedder_reports(live: Iterable[NodeStatus], surface: str) -> Reports:
    """Return the newest report per (bundle, partition): after a rebalance two embedders may name one partition."""
    embedders = (status for status in live if status.instance.startswith(EMBEDDER))
    reports: Reports = {}
    for status in sorted(embedders, key=lambda status: status.time_ms):
        reports.update(_progress(status, surface))
    return reports


def _applied(node: Reports, bundle: str, partition: int) -> int:
    progress = node.get((bundle, partition))
    # a node that says nothing of a partition holds nothing of it, not even its emptiness
    return progress.applied if progress is not None else -1


def _as_far_as_live(report: Progress, live: str | None, reports: Reports) -> bool:
    if live is None:
        return True
    of_live = reports.get((live, report.partition))
    if of_live is None:
        return False
    return all(
        topic in report.source and position.append_time_ms - report.source[topic].append_time_ms <= MAX_BEHIND_LIVE_MS
        for topic, position in of_live.source.items()
    )


def complaint(status: NodeStatus, bundle: str) -> str:
    """Return why an instance cannot use a bundle, as it says itself; empty when it says nothing."""
    return next((error for error in status.errors if error.startswith(f"{bundle}:")), "")
