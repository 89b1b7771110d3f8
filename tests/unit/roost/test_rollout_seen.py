"""What `roost rollout status` shows of a surface: what instances say of it now, and nothing of what has ended."""

from dataclasses import replace
from io import StringIO

import pytest
from rich.console import Console

from roost.cli.rollout_seen import Seen, drawn, embedders_behind
from schemas.records.control import SILENCE_MS, BundleStage, CanaryReport, NodeStatus, Rollout, Stage

HOME, LIVE, NEW = "home-timeline", "a" * 16, "b" * 16
NOW_MS = 1_000_000
EMBEDDER = NodeStatus("embedder:0", NOW_MS, ready=True)
CANARY = Rollout(
    HOME, 7, bundles=(BundleStage(LIVE, Stage.LIVE), BundleStage(NEW, Stage.CANARY, since_ms=NOW_MS - 5_000, share_bp=250))
)


def controller(*, surface: str = HOME, since_ms: int) -> NodeStatus:
    """Return a controller's heartbeat with what it found of a canary."""
    report = CanaryReport(surface, NEW, LIVE, since_ms, verdict="better", sentence="engaged with 3% more")
    return NodeStatus("controller:0", NOW_MS, ready=True, canaries=(report,))


def shown(*seen: Seen) -> str:
    """Return what a terminal shows."""
    screen = StringIO()
    Console(file=screen, width=200).print(drawn(seen))
    return screen.getvalue()


def test_a_canary_is_shown_with_what_the_controller_says_of_it() -> None:
    """An operator decides by this sentence whether to wait."""
    seen = Seen.of(CANARY, [controller(since_ms=NOW_MS - 5_000)], NOW_MS)
    assert seen.as_data()["canary"] == {"verdict": "better", "sentence": "engaged with 3% more"}
    assert f"canary {NEW}: engaged with 3% more" in shown(seen)
    assert "2.5 %" in shown(seen)


def test_a_canary_is_shown_over_a_flip_beside_it() -> None:
    """After a rollback the controller compares anew, from that moment on: its sentence was not shown again."""
    rolled_back = BundleStage("c" * 16, Stage.LIVE, since_ms=NOW_MS - 2_000)
    flipped = replace(CANARY, bundles=(replace(CANARY.bundles[0], state=Stage.DRAINING), rolled_back, CANARY.bundles[1]))
    for since_ms, is_shown in ((NOW_MS - 2_000, True), (NOW_MS - 5_000, False)):
        assert (Seen.of(flipped, [controller(since_ms=since_ms)], NOW_MS).canary is not None) is is_shown


@pytest.mark.parametrize("said", [controller(since_ms=NOW_MS - 9_000), controller(surface="movies", since_ms=NOW_MS - 5_000)])
def test_what_was_said_of_an_earlier_share_or_another_surface_is_not_shown(said: NodeStatus) -> None:
    """It is history, and would be taken for the present canary's."""
    seen = Seen.of(CANARY, [said], NOW_MS)
    assert seen.as_data()["canary"] is None
    assert "engaged with" not in shown(seen)


def test_without_any_rollout_the_next_command_is_named() -> None:
    """The first thing a new operator asks."""
    assert "`roost rollout start` begins one" in shown()


def test_an_embedder_that_does_not_follow_yet_is_named_with_what_it_acts_by() -> None:
    """A policy that was accepted is not in force before the last embedder has read it."""
    beats = [
        replace(EMBEDDER, revisions={HOME: 4}),
        replace(EMBEDDER, instance="embedder:1", revisions={HOME: 3}),
        replace(EMBEDDER, instance="embedder:2", revisions={"movies": 9}),
        replace(EMBEDDER, instance="embedder:3", time_ms=NOW_MS - SILENCE_MS),
        NodeStatus("node:n1", NOW_MS, ready=True),
    ]
    assert embedders_behind(Rollout(HOME, 4), beats, NOW_MS) == {"1": 3, "2": 0}


def test_what_an_embedder_says_is_wrong_with_a_bundle_of_the_surface_is_shown() -> None:
    """A live bundle whose towers fail showed nowhere but in a log, while nothing new was found on its surface."""
    embedder = NodeStatus(
        "embedder:0", NOW_MS, ready=True, errors=(f"{LIVE}: candidates go without a vector", f"{'c' * 16}: other")
    )
    seen = Seen.of(CANARY, [embedder], NOW_MS)
    assert seen.as_data()["embedder_errors"] == [f"embedder 0: {LIVE}: candidates go without a vector"]
    assert f"embedder 0: {LIVE}: candidates go without a vector" in shown(seen)
    silent = Seen.of(CANARY, [embedder], NOW_MS + 60_000)
    assert silent.as_data()["embedder_errors"] == []
