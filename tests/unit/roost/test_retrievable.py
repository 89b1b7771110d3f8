"""What is said of published events that are not retrievable everywhere yet."""

import pytest

from roost import retrievable
from roost.retrievable import behind, lacking, wait_until_retrievable
from schemas.records.control import SILENCE_MS, NodeStatus, Progress, SourcePosition

NOW_MS = 1_000_000
BUNDLE, OLD = "a" * 16, "b" * 16


def node(name: str, tweets: int, *, heard_ms: int = NOW_MS, live: str | None = BUNDLE) -> NodeStatus:
    """Return the heartbeat of a node whose live index reflects partition 2 of the tweets; the old one's reflects more."""
    return NodeStatus(
        f"node:{name}",
        heard_ms,
        ready=live is not None,
        live={} if live is None else {"home": live},
        progress=(
            Progress("home", BUNDLE, 2, {"tweets": SourcePosition(tweets, 0)}),
            Progress("home", OLD, 2, {"tweets": SourcePosition(999, 0)}),
        ),
        errors=("replaying rollouts, 3 records to go",) if live is None else (),
    )


def test_nothing_is_lacking_once_every_live_nodes_live_index_has_it() -> None:
    """A node that fell silent has left; that it once lagged says nothing."""
    statuses = [node("n1", 7), node("n2", 8), node("gone", 0, heard_ms=NOW_MS - SILENCE_MS), NodeStatus("embedder:0", NOW_MS, True)]
    assert list(lacking(statuses, {"tweets": {2: 7}}, NOW_MS)) == []


@pytest.mark.parametrize(
    ("status", "sentence"),
    [
        (node("n1", 6), "node:n1: home reflects tweets/2 up to offset 6, not yet 7"),
        (node("n1", 9, live=None), "node:n1 answers on no surface yet: replaying rollouts, 3 records to go"),
        (node("n1", 9, heard_ms=0), "no node is alive; is `roost serve` running?"),
    ],
)
def test_what_is_lacking_is_said_by_node(status: NodeStatus, sentence: str) -> None:
    """Whoever waited in vain must know where to look."""
    assert list(lacking([status], {"tweets": {2: 7}}, NOW_MS)) == [sentence]


def test_the_node_that_is_furthest_behind_says_how_much_is_to_go() -> None:
    """What the bar shows: once it is at its end nothing is lacking."""
    gone = node("gone", 0, heard_ms=NOW_MS - SILENCE_MS)
    assert behind([node("n1", 7), node("n2", 3), gone], {"tweets": {2: 7}}, NOW_MS) == 4
    assert behind([node("n1", 7), gone], {"tweets": {2: 7}}, NOW_MS) == 0
    assert behind([gone], {"tweets": {2: 7}}, NOW_MS) == 0, "nobody knows"


class Heartbeats:
    """A node's: at each look it is two records further."""

    def __init__(self, _: str) -> None:
        self._held = iter((3, 5, 7))

    def catch_up(self) -> None:
        """Hear of the node."""
        self.refresh()

    def refresh(self) -> None:
        """Hear of it again."""
        self._newest = node("n1", next(self._held))

    def all(self) -> list[NodeStatus]:
        """Return what was heard last."""
        return [self._newest]

    def now_ms(self) -> int:
        """Return the broker's time, which is not ours."""
        return NOW_MS

    def close(self) -> None:
        """Close nothing."""


def test_waiting_says_how_many_of_the_records_are_reflected(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a million events nodes take a minute, in which nothing was shown."""
    monkeypatch.setattr(retrievable, "Heartbeats", Heartbeats)
    monkeypatch.setattr(retrievable, "_LOOK_S", 0.0)
    told: list[tuple[str, int, int]] = []
    lacks = wait_until_retrievable("b:1", {"tweets": {2: 7}}, timeout_s=30, on_progress=lambda *how_far: told.append(how_far))
    assert lacks == []
    assert told == [("reflected by every live node", done, 4) for done in (0, 2, 4)]
