"""A canary's answers beside the live bundle's: counted from heartbeats, through restarts, and judged always-validly."""

from dataclasses import replace

import numpy as np
import pytest

from schemas.records.control import AnswerCounts, NodeStatus
from streams.canary.judge import CanaryRules, Reading, Verdict, read_arms, read_guards
from streams.canary.sequential import Sums
from streams.canary.served import ServedArms

CANARY, LIVE = "1" * 16, "0" * 16
RULES = CanaryRules()
UNDECIDED: Reading = read_arms(Sums(), Sums(), share=1.0, rules=RULES)


def beat(canary: AnswerCounts, live: AnswerCounts = AnswerCounts(), *, name: str = "a") -> NodeStatus:  # noqa: B008  frozen
    """Return a node's heartbeat."""
    return NodeStatus(f"node:{name}", 0, ready=True, answers={CANARY: canary, LIVE: live, "f" * 16: AnswerCounts(9_999, 9_999)})


def test_answers_count_from_the_first_heartbeat_of_each_node_and_through_its_restart() -> None:
    """What a node answered yesterday is not the canary's, and a process that begins anew counts from 0."""
    arms = ServedArms(CANARY, LIVE)
    arms.hear([beat(AnswerCounts(500, 100), AnswerCounts(50)), beat(AnswerCounts(7), name="b")])
    assert [arm.shown for arm in arms.harms["empty"]] == [2, 2]
    arms.hear([beat(AnswerCounts(520, 104, 3, 1), AnswerCounts(60)), beat(AnswerCounts(7), name="b")])
    arms.hear([beat(AnswerCounts(5, 5), AnswerCounts(2)), beat(AnswerCounts(9), name="b")])
    # 20 answers, a failure, 5 after the restart and 2 of the other node; and the good and the bad one that each arm has besides
    canary, live = arms.harms["empty"]
    assert (canary.shown, canary.engaged) == (20 + 1 + 5 + 2 + 2, 4 + 5 + 1)
    assert (live.shown, live.engaged) == (10 + 2 + 2, 1)
    assert [arms.harms[name][0].engaged for name in ("slower than 100 ms", "failed")] == [3 + 1, 1 + 1]


def test_a_restarted_node_that_answered_more_than_before_takes_no_failure_back() -> None:
    """A bundle that ends its nodes fails anew in each of their lives: a count that went back would hide it."""
    arms = ServedArms(CANARY, LIVE)
    arms.hear([replace(beat(AnswerCounts(0)), started_ms=1)])
    arms.hear([replace(beat(AnswerCounts(10, failed=50)), started_ms=1)])
    arms.hear([replace(beat(AnswerCounts(200)), started_ms=2)])
    canary, _ = arms.harms["failed"]
    assert (canary.shown, canary.engaged) == (10 + 50 + 200 + 2, 50 + 1)


def ends(canary_share: float, live_share: float, *, seed: int) -> Verdict:
    """Return how a canary ends that is looked at a hundred times, whose answers are bad with these probabilities."""
    rng = np.random.default_rng((seed, 3))
    arms, canary, live = ServedArms(CANARY, LIVE), [0, 0], [0, 0]
    arms.hear([beat(AnswerCounts())])
    for _ in range(100):
        for counts, share in ((canary, canary_share), (live, live_share)):
            counts[0] += 50
            counts[1] += int(rng.binomial(50, share))
        arms.hear([beat(AnswerCounts(canary[0], canary[1]), AnswerCounts(live[0], live[1]))])
        reading = read_guards(UNDECIDED, (Sums(), Sums()), {}, arms.harms, rules=RULES)
        if reading.verdict is not Verdict.WAIT:
            assert "of its answers are empty" in reading.sentence
            return reading.verdict
    return Verdict.WAIT


@pytest.mark.parametrize("share", [1.0, 0.5, 0.1])
def test_a_canary_that_answers_emptily_is_aborted(share: float) -> None:
    """A tower whose vectors match nothing answers fast and without an error."""
    assert [ends(share, 0.01, seed=seed) for seed in range(20)] == [Verdict.WORSE] * 20


def test_a_canary_that_answers_as_the_live_bundle_does_is_left_alone() -> None:
    """Equal, or within what is allowed, however often one looks."""
    verdicts = [ends(0.05, 0.05, seed=seed) for seed in range(100)] + [ends(0.015, 0.01, seed=seed) for seed in range(50)]
    assert verdicts.count(Verdict.WORSE) <= 3
