"""The recovery benchmark's pure part: which tweets and queries a kill is answerable for, and what is called a shortfall."""

import pytest

from lab.bench.recovery.plan import Plan
from lab.bench.recovery.report import NONE, Cost, Kill, by_role, cost, failed_elsewhere, not_back, shortfalls
from lab.bench.swap.asker import Kept
from lab.bench.swap.prober import Probed

NODE, OTHER = "http://one", "http://other"
KILL = Kill("serve", NODE, at_s=100.0, end_s=130.0)


def query(node: str, asked_s: float, answered_s: float, *, answered: bool = True) -> Kept:
    """One query, due when it was asked."""
    wait_ms = (answered_s - asked_s) * 1000
    return Kept(node, "u", asked_s, wait_ms, int(asked_s * 1000), int(answered_s * 1000), 0, 10 if answered else 0)


def test_a_tweet_counts_for_the_kill_that_it_waited_through() -> None:
    """One sent just before the next kill waits for that one: counted here, an idle role would look as slow as its successor."""
    probed = [
        Probed(98.0, 40.0),
        Probed(99.8, 5_200.0),
        Probed(110.0, 60.0),
        Probed(129.9, 9_000.0),
        Probed(120.0, None),
    ]
    assert cost(KILL, probed, []).stale_ms == 5_200.0
    assert cost(Kill("embed", None, 130.0, 160.0), probed, []).stale_ms == 9_000.0
    assert cost(Kill("embed", None, 200.0, 230.0), probed, []) == Cost(None, None, 0)


def test_a_replica_is_down_until_its_next_answer_and_the_others_failures_are_counted_apart() -> None:
    """The killed one may fail; an answer that was under way at the kill is none of its comeback."""
    kept = [
        query(NODE, 99.95, 100.01),
        query(NODE, 99.99, 100.02, answered=False),
        query(NODE, 102.0, 102.01, answered=False),
        query(OTHER, 101.0, 101.01),
        query(NODE, 104.9, 105.0),
        query(NODE, 106.0, 106.01),
        # the next kill's
        query(OTHER, 129.99, 130.01, answered=False),
    ]
    assert cost(KILL, [], kept) == Cost(None, 5_000.0, failed=2)
    more = [*kept, query(OTHER, 103.0, 103.01, answered=False)]
    assert failed_elsewhere(more, [cost(KILL, [], more)]) == 2, "the next kill's among them"
    broker = cost(Kill("broker", None, 100.0, 130.0), [], kept)
    assert broker == Cost(None, None, failed=0)
    assert failed_elsewhere(kept, [broker]) == 3
    assert cost(KILL, [], kept[:3]).down_ms is None


def test_the_kills_of_a_role_are_summed_up() -> None:
    """The worst of three is what an operator plans with."""
    kills = [KILL, Kill("embed", None, 130.0, 160.0), KILL]
    costs = [Cost(4_000.0, 3_000.0, 5), Cost(6_000.0, None, 0), Cost(5_000.0, 3_500.0, 7)]
    found = by_role(kills, costs)
    assert found["serve"] == {
        "kills": 2,
        "stale_ms_p50": 4_500.0,
        "stale_ms_max": 5_000.0,
        "down_ms_p50": 3_250.0,
        "down_ms_max": 3_500.0,
        "not_back": 0,
        "failed": 12,
    }
    assert (found["embed"]["kills"], found["embed"]["down_ms_max"], found["embed"]["not_back"]) == (1, None, 0)


def test_a_replica_that_did_not_come_back_is_told_beside_how_long_the_others_were_down() -> None:
    """The longest time of those that came back passed for the worst there was."""
    kills = [KILL, Kill("embed", None, 130.0, 160.0), KILL]
    costs = [Cost(4_000.0, 3_000.0, 5), Cost(6_000.0, None, 0), Cost(5_000.0, None, 70)]
    assert (by_role(kills, costs)["serve"]["down_ms_max"], by_role(kills, costs)["serve"]["not_back"]) == (3_000.0, 1)
    assert not_back(kills, costs) == 1


def test_a_query_that_failed_while_nothing_was_killed_counts() -> None:
    """Before the first kill, and behind the last one's window, none did, whatever became of them."""
    kept = [
        query(OTHER, 10.0, 10.01, answered=False),
        query(NODE, 102.0, 102.01, answered=False),
        query(OTHER, 103.0, 103.01),
        query(NODE, 129.0, 159.0, answered=False),
    ]
    assert failed_elsewhere(kept, [cost(KILL, [], kept)]) == 2


@pytest.mark.parametrize("name", NONE)
def test_what_was_lost_or_wrong_is_a_shortfall(name: str) -> None:
    """The command fails by it."""
    assert shortfalls(dict.fromkeys(NONE, 0)) == []
    assert shortfalls({**dict.fromkeys(NONE, 0), name: 2}) == [f"{name} is 2, none expected"]


def test_a_tweet_is_lost_only_once_the_next_kill_is_over_too() -> None:
    """What waits for a broker is late."""
    assert Plan(between_s=20.0).load.give_up_s == 40.0
