"""What is said of a rollout that is not yet as far as it goes by itself, and how one that ended otherwise shows."""

import pytest

from roost.rollout_reached import lacking
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
