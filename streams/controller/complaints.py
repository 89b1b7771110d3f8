"""What heartbeats say of a bundle besides its progress: it cannot be used, or somebody still works on it. Moves nothing."""

from collections.abc import Iterable

from schemas.heartbeats import complaint, live_of
from schemas.records.control import EMBEDDER, NODE, NodeStatus, Rollout, Stage


def unusable(statuses: Iterable[NodeStatus], state: Rollout, now_ms: int, *, silence_ms: int) -> dict[str, str]:
    """Return the bundles under way that cannot be used, with the reason: an embedder, or every live node, says so by their id."""
    live = live_of(statuses, now_ms, silence_ms)
    nodes = [status for status in live if status.instance.startswith(NODE)]
    found: dict[str, str] = {}
    for entry in state.in_stage(Stage.BUILDING, Stage.READY, Stage.CANARY):
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
