"""What `roost rollout status` shows of a surface: what instances say of it now, and nothing of what has ended."""

from io import StringIO

import pytest
from rich.console import Console

from roost.cli.rollout_seen import Seen, drawn
from schemas.records.control import BundleStage, CanaryReport, NodeStatus, Rollout, Stage

HOME, LIVE, NEW = "home-timeline", "a" * 16, "b" * 16
NOW_MS = 1_000_000
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


@pytest.mark.parametrize("said", [controller(since_ms=NOW_MS - 9_000), controller(surface="movies", since_ms=NOW_MS - 5_000)])
def test_what_was_said_of_an_earlier_share_or_another_surface_is_not_shown(said: NodeStatus) -> None:
    """It is history, and would be taken for the present canary's."""
    seen = Seen.of(CANARY, [said], NOW_MS)
    assert seen.as_data()["canary"] is None
    assert "engaged with" not in shown(seen)


def test_without_any_rollout_the_next_command_is_named() -> None:
    """The first thing a new operator asks."""
    assert "`roost rollout start` begins one" in shown()
