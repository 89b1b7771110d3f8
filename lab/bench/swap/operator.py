"""The operator's hand: starts, waits for every replica to answer from the bundle, rolls back. Measures how long that took."""

import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from lab.bench.freshness.http import Retrieval
from lab.bench.swap.plan import Plan, Target
from schemas.errors import RoostError
from schemas.records.control import CommandKind, Rollout, RolloutCommand
from serving.client import Client
from streams.controller.client import RolloutClient
from streams.producer import Producer

_LOOK_S = 0.004
# a swap takes seconds: asked as often as after a rollback, the nodes would answer the operator ten times as often as the users
_SWAP_LOOK_S = 0.1
_MARKER_LANGUAGE = "x-marker"


@dataclass(frozen=True, slots=True)
class RolledBack:
    """From handing the command over until every replica answered from the old bundle; and whether it held the newest tweet."""

    milliseconds: float
    holds_newest: bool


class Operator:
    """Commands one surface. One thread."""

    def __init__(self, plan: Plan, target: Target) -> None:
        self._plan = plan
        self._target = target
        self._rollouts = RolloutClient(target.bootstrap)
        self._producer = Producer(target.bootstrap)
        self.nodes = [Client(url) for url in target.node_urls]

    def state(self) -> Rollout:
        """Return the surface's present state."""
        return self._rollouts.states()[self._target.surface]

    def swap(self) -> float:
        """Roll a bundle out that is not in use; return the seconds until every replica answered from it."""
        used = {entry.bundle for entry in self.state().bundles if entry.state in ("live", "draining")}
        bundle = next(bundle for bundle in self._rotated() if bundle not in used)
        started_s = time.monotonic()
        self.command(CommandKind.START, bundle=bundle, automatic=True)
        self._await_answers_from(bundle, look_s=_SWAP_LOOK_S)
        return time.monotonic() - started_s

    def roll_back(self, number: int) -> RolledBack:
        """Publish a tweet, go back to the draining bundle, and look for the tweet in each replica's first answer."""
        marker = f"t:marker-{number}"
        self._producer.tweet(marker, author_id="a:marker", text="after the flip", language=_MARKER_LANGUAGE)
        self._producer.flush()
        self.await_(lambda: all(self._holds(node, marker) for node in self.nodes), "the marker to be found", 30.0)
        previous = next(entry.bundle for entry in self.state().bundles if entry.state == "draining")
        started_s = time.monotonic()
        self.command(CommandKind.ROLLBACK)
        self._await_answers_from(previous, look_s=_LOOK_S)
        took_ms = (time.monotonic() - started_s) * 1000
        return RolledBack(took_ms, all(self._holds(node, marker) for node in self.nodes))

    def command(self, kind: CommandKind, **details: Any) -> Rollout:
        """Send a command; raises as `RolloutClient.send`."""
        command = RolloutCommand(
            uuid.uuid4().hex, self._target.surface, kind, actor="bench", time_ms=time.time_ns() // 1_000_000, **details
        )
        return self._rollouts.send(command, timeout_s=30.0)

    def await_(self, holds: Callable[[], bool], what: str, timeout_s: float, *, look_s: float = _LOOK_S) -> None:
        """Wait for something, keeping the deployment alive meanwhile; raises `RoostError` when it does not come."""
        deadline_s = time.monotonic() + timeout_s
        watched_s = time.monotonic()
        while not holds():
            if time.monotonic() - watched_s > 1.0:
                self._target.watch()
                watched_s = time.monotonic()
            if time.monotonic() > deadline_s:
                stages = ", ".join(f"{entry.bundle} {entry.state}" for entry in self.state().bundles)
                raise RoostError(f"waited {timeout_s:g} s for {what}; the bundles are {stages}; the logs of the roles say why")
            time.sleep(look_s)

    def close(self) -> None:
        """Disconnect."""
        self._rollouts.close()
        self._producer.__exit__(None, None, None)
        for node in self.nodes:
            node.close()

    def _rotated(self) -> list[str]:
        """Return the bundles, the one after the live one first: each gets its turn."""
        bundles, live = self._target.bundles, self.state().live
        at = bundles.index(live) + 1 if live in bundles else 0
        return [*bundles[at:], *bundles[:at]]

    def _await_answers_from(self, bundle: str, *, look_s: float) -> None:
        waiting = [Retrieval(url, self._target.surface) for url in self._target.node_urls]

        def all_answer() -> bool:
            while waiting and f'"bundle":"{bundle}"'.encode() in (waiting[-1].ask(b'{"k":1}') or b""):
                waiting.pop().close()
            return not waiting

        self.await_(all_answer, f"every replica to answer from {bundle}", self._plan.swap_timeout_s, look_s=look_s)

    def _holds(self, node: Client, marker: str) -> bool:
        answer = node.retrieve(self._target.surface, k=200, languages=[_MARKER_LANGUAGE])
        return any(candidate.candidate_id == marker for candidate in answer.candidates)
