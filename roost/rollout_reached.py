"""Waiting until a rollout is as far as it goes by itself. Reads rollouts and heartbeats; commands nothing."""

import time
from collections.abc import Iterable, Iterator
from contextlib import closing

from schemas.errors import Refused
from schemas.heartbeats import live_of
from schemas.parity import progress_of
from schemas.progress import OnProgress, untold
from schemas.records.control import NODE, SILENCE_MS, NodeStatus, Rollout, Stage
from streams.controller.client import RolloutClient
from streams.controller.journal import Heartbeats

_LOOK_S = 0.2
_WHOLE_BP = 10_000
_BEFORE_READY = (Stage.REGISTERED, Stage.BUILDING)
_PROMOTABLE = (Stage.READY, Stage.CANARY)


def wait_until_reached(
    bootstrap: str, surface: str, bundle: str, *, live: bool, timeout_s: float, on_progress: OnProgress = untold
) -> tuple[Rollout, list[str]]:
    """Return the surface's rollout, with what its bundle lacks when the time is up; with nothing as soon as it lacks nothing.

    Args:
        live: until every live node answers from the bundle; otherwise until it may be promoted.
        on_progress: of the corpus on the node that holds the least of it, in basis points; 0 of 0 in a stage without such a share.

    Raises:
        Refused: the rollout has ended otherwise; the message says how.
        BrokerUnavailable: no broker answers.
    """
    with RolloutClient(bootstrap) as client, closing(Heartbeats(bootstrap)) as heartbeats:
        deadline_s = time.monotonic() + timeout_s
        heartbeats.catch_up()
        while True:
            state = client.states()[surface]
            heard, now_ms = heartbeats.all(), heartbeats.now_ms()
            lacks = list(lacking(state, heard, bundle, now_ms, live=live))
            on_progress(*_how_far(state, heard, bundle, now_ms))
            if not lacks or time.monotonic() >= deadline_s:
                return state, lacks
            time.sleep(_LOOK_S)
            heartbeats.refresh()


def _how_far(state: Rollout, statuses: Iterable[NodeStatus], bundle: str, now_ms: int) -> tuple[str, int, int]:
    stage = next((entry.state for entry in state.bundles if entry.bundle == bundle), Stage.UNKNOWN)
    nodes = [node for progress in progress_of(state, statuses, now_ms) if progress.bundle == bundle for node in progress.nodes]
    coverages = [node.coverage for node in nodes if node.coverage is not None]
    if stage is not Stage.BUILDING or not coverages:
        return f"{bundle} is {stage}", 0, 0
    return f"{bundle} is {stage}", min(_WHOLE_BP, int(_WHOLE_BP * min(coverages))), _WHOLE_BP


def lacking(state: Rollout, statuses: Iterable[NodeStatus], bundle: str, now_ms: int, *, live: bool) -> Iterator[str]:
    """Yield what keeps a bundle from being live on every live node, or from being ready, in sentences.

    Raises:
        Refused: as `wait_until_reached`.
    """
    heard = live_of(statuses, now_ms, SILENCE_MS)
    stage = next((entry.state for entry in state.bundles if entry.bundle == bundle), Stage.UNKNOWN)
    if stage in _BEFORE_READY or (live and stage in _PROMOTABLE):
        lack = next((progress.lack for progress in progress_of(state, heard, now_ms) if progress.bundle == bundle), "")
        yield f"{bundle} is {stage}{f': {lack}' if lack else ''}"
    elif stage not in (*_PROMOTABLE, Stage.LIVE):
        raise Refused(f"{bundle} is {stage} on {state.surface} ({state.reason})")
    elif live:
        nodes = [status for status in heard if status.instance.startswith(NODE)]
        yield from (
            f"{node.instance} does not answer from {bundle} yet" for node in nodes if node.live.get(state.surface) != bundle
        )
        if not nodes:
            yield "no node is alive; is `roost serve` running?"
