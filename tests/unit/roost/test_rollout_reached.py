"""What is said of a rollout that is not yet as far as it goes by itself, and how one that ended otherwise shows."""

from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace

import pytest

from roost import rollout_reached
from roost.rollout_reached import lacking, wait_until_reached
from schemas.errors import Refused
from schemas.records.control import SILENCE_MS, BundleStage, NodeStatus, Rollout, Stage

NOW_MS = 1_000_000
HOME, BUNDLE, OLD = "home", "a" * 16, "b" * 16


def state(stage: Stage) -> Rollout:
    """Return a rollout whose bundle is in a stage."""
    return Rollout(HOME, 3, reason="a reason", bundles=(BundleStage(OLD, Stage.DRAINING), BundleStage(BUNDLE, stage)))


def node(name: str, bundle: str, *, heard_ms: int = NOW_MS) -> NodeStatus:
    """Return the heartbeat of a node that answers from a bundle."""
    return NodeStatus(f"node:{name}", heard_ms, ready=True, live={HOME: bundle})


def test_a_rollout_is_live_once_every_live_node_answers_from_it() -> None:
    """The log says so a moment earlier: a query then would be answered by the bundle before, or by none."""
    gone = node("gone", OLD, heard_ms=NOW_MS - SILENCE_MS)
    assert list(lacking(state(Stage.LIVE), [node("n1", BUNDLE), gone], BUNDLE, NOW_MS, live=True)) == []
    behind = list(lacking(state(Stage.LIVE), [node("n1", BUNDLE), node("n2", OLD)], BUNDLE, NOW_MS, live=True))
    assert behind == [f"node:n2 does not answer from {BUNDLE} yet"]
    assert list(lacking(state(Stage.LIVE), [gone], BUNDLE, NOW_MS, live=True)) == ["no node is alive; is `roost serve` running?"]


@pytest.mark.parametrize("stage", [Stage.READY, Stage.CANARY, Stage.LIVE])
def test_without_auto_ready_is_as_far_as_it_goes(stage: Stage) -> None:
    """An operator promotes it, and somebody else may have."""
    assert list(lacking(state(stage), [], BUNDLE, NOW_MS, live=False)) == []


@pytest.mark.parametrize(
    ("stage", "live"), [(Stage.REGISTERED, False), (Stage.BUILDING, False), (Stage.BUILDING, True), (Stage.READY, True)]
)
def test_a_bundle_under_way_is_named_with_its_stage(stage: Stage, *, live: bool) -> None:
    """Whoever waited in vain must know how far it got, and whom to ask."""
    (sentence,) = lacking(state(stage), [], BUNDLE, NOW_MS, live=live)
    assert sentence.startswith(f"{BUNDLE} is {stage}")
    assert (stage is Stage.REGISTERED) != ("owe" in sentence)


@pytest.mark.parametrize("stage", [Stage.REJECTED, Stage.ABORTED, Stage.RETIRED])
def test_a_rollout_that_ended_otherwise_is_refused_with_its_reason(stage: Stage) -> None:
    """Nothing is left to wait for, and a script must see it in the exit code."""
    with pytest.raises(Refused, match=f"{BUNDLE} is {stage} on {HOME} .a reason"):
        list(lacking(state(stage), [], BUNDLE, NOW_MS, live=True))


class Log:
    """A rollout's: building at the first look, live at the next, by a node that was heard of a moment ago by the broker's clock."""

    def __init__(self) -> None:
        self._stages = iter([Stage.BUILDING, Stage.LIVE])

    def client(self, _: str) -> AbstractContextManager["Log"]:
        """Return itself."""
        return nullcontext(self)

    def states(self) -> dict[str, Rollout]:
        """Return the next state."""
        return {HOME: state(next(self._stages))}

    def catch_up(self) -> None:
        """Hear of the node."""

    def refresh(self) -> None:
        """Hear nothing new."""

    def all(self) -> list[NodeStatus]:
        """Return the node, which holds half of the corpus."""
        return [replace(node("n1", BUNDLE), coverage={BUNDLE: 0.5})]

    def now_ms(self) -> int:
        """Return the broker's time, decades before ours."""
        return NOW_MS

    def close(self) -> None:
        """Close nothing."""


def test_waiting_says_how_much_of_the_corpus_is_there_and_hears_nodes_by_the_brokers_clock(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Of a large corpus it takes an hour without a word; and on a machine ten seconds ahead every node passed for silent."""
    log = Log()
    monkeypatch.setattr(rollout_reached, "RolloutClient", log.client)
    monkeypatch.setattr(rollout_reached, "Heartbeats", lambda _: log)
    monkeypatch.setattr(rollout_reached, "_LOOK_S", 0.0)
    told: list[tuple[str, int, int]] = []
    reached, lacks = wait_until_reached(
        "b:1", HOME, BUNDLE, live=True, timeout_s=30, on_progress=lambda *how_far: told.append(how_far)
    )
    assert (reached.live, lacks) == (BUNDLE, [])
    assert told == [(f"{BUNDLE} is building", 5_000, 10_000), (f"{BUNDLE} is live", 0, 0)]
