"""What heartbeats say of a bundle besides its progress: it cannot be used, or somebody still works on it. Moves nothing."""

from collections.abc import Iterable

from schemas.heartbeats import complaint, live_of
from schemas.records.control import EMBEDDER, NODE, NodeStatus, Rollout, Stage


def unusable(statuses: Iterable[NodeStatus], state: Rollout, now_ms: int, *, silence_ms: int) -> dict[str, str]:
    """Return the bundles under way that cannot be used, with the reason: an embedder, or every live node, says so by their id."""
    live = live_of(statuses, now_ms, silence_ms)
    found: dict[str, str] = {}
    for entry in state.in_stage(Stage.BUILDING, Stage.READY, Stage.CANARY):
        told = [complaint(status, entry.bundle) for status in live if status.instance.startswith(EMBEDDER)]
        told.append(on_no_node(live, entry.bundle, now_ms, silence_ms=silence_ms))
        if reasons := [reason for reason in told if reason]:
            found[entry.bundle] = reasons[0]
    return found


def on_no_node(statuses: Iterable[NodeStatus], bundle: str, now_ms: int, *, silence_ms: int) -> str:
    """Return why no node can use a bundle, where every live one says so by its id; else empty."""
    live = live_of(statuses, now_ms, silence_ms)
    told = [complaint(status, bundle) for status in live if status.instance.startswith(NODE)]
    return told[0] if told and all(told) else ""


def still_reported(statuses: Iterable[NodeStatus], bundle: str, now_ms: int, *, silence_ms: int) -> bool:
    """Tell whether a live node or embedder still works on a bundle."""
    return any(progress.bundle == bundle for status in live_of(statuses, now_ms, silence_ms) for progress in status.progress)
