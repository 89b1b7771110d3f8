"""What is said of published events that are not retrievable everywhere yet."""

import pytest

from roost.retrievable import lacking
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
