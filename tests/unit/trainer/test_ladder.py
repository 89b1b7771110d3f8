"""What follows on a refusal for drift, by hand-made verdicts: which attempts are made, what they are held against, what counts."""

from dataclasses import dataclass

import numpy as np
import pytest

from schemas.bundle import Gate
from schemas.features.catalog import TWEET
from trainer.ladder import Climbed, climb
from trainer.learning.ensemble import Tunable
from trainer.learning.towers import TowerConfig, TwoTowers
from trainer.recipes import FinetuneConfig, attempts

SMALL = TowerConfig(dim=32, embedding_dim=4, hidden=(8,))
BASE, FIRST, SECOND = (TwoTowers(TWEET, SMALL, seed=seed) for seed in (1, 2, 3))
CONFIG = FinetuneConfig(draw_back_steps=4)


@dataclass(frozen=True)
class Verdict:
    """What a judge says, and what it was asked."""

    gates: tuple[Gate, ...]
    against_live: bool


def gates(name: str, *, passed: bool) -> tuple[Gate, ...]:
    """Return one verdict."""
    return (Gate(name, 1.0, 0.0, passed, name),)


def way(towers: Tunable, tuned: Tunable) -> float:
    """Return how far towers are on the way from the base to others; NaN where they are not on it."""
    moved, whole = (one.weights()["table"] - BASE.weights()["table"] for one in (towers, tuned))
    share = float((moved * whole).sum() / (whole * whole).sum())
    return round(share, 4) if np.allclose(moved, share * whole, atol=1e-5) else float("nan")


def climbed(
    refused: dict[Tunable, str], *, most: float = 0.0, drift_replay: float = 16.0
) -> tuple[Climbed[float, Verdict], list[FinetuneConfig], list[str]]:
    """Climb, and return what came of it, the attempts that were made, and why there was another.

    Args:
        refused: the gate that refuses towers, and all between the base and them but so small a share.
        most: that share.
    """
    made: list[FinetuneConfig] = []
    told: list[str] = []

    def tune(config: FinetuneConfig) -> tuple[Tunable, float]:
        made.append(config)
        return (FIRST, SECOND)[len(made) - 1], config.replay

    def judge(towers: Tunable, *, against_live: bool) -> Verdict:
        for tuned, name in refused.items():
            if way(towers, tuned) > most:
                return Verdict(gates(name, passed=False), against_live)
        return Verdict(gates("auc", passed=True), against_live)

    found = climb(
        attempts(CONFIG, drift_replay=drift_replay),
        tune=tune,
        judge=judge,
        base=lambda: BASE,
        on_again=lambda _, judged: told.append(judged.gates[0].name),
    )
    return found, made, told


def test_what_is_accepted_is_not_trained_again() -> None:
    """A further attempt costs a training, and what it is held against is less."""
    found, made, told = climbed({})
    assert (found.share, found.again, found.judged.against_live) == (1.0, False, True)
    assert (len(made), told) == (1, [])


@pytest.mark.parametrize("name", ["auc_against_live", "train_examples"])
def test_what_is_refused_for_another_reason_stays_refused(name: str) -> None:
    """More replay mends neither a worse AUC nor a window that is too small."""
    found, made, told = climbed({FIRST: name})
    assert found.judged.gates == gates(name, passed=False)
    assert (len(made), told) == (1, [])


def test_what_is_refused_for_drift_is_trained_again_before_it_is_drawn_back() -> None:
    """With the heavier replay, and against the anchor alone: the live bundle's AUC is what its drift has bought."""
    found, made, told = climbed({FIRST: "language_mismatch_against_anchor"})
    assert (found.fit, found.share, found.again, found.judged.against_live) == (16.0, 1.0, True, False)
    assert (len(made), told) == (2, ["language_mismatch_against_anchor"])


@pytest.mark.parametrize("drift_replay", [16.0, 0.0])
def test_what_the_last_attempt_comes_to_is_drawn_back(drift_replay: float) -> None:
    """Part of what was learned is worth more than a line that stands still."""
    drift = "sampled_auc_against_anchor"
    found, made, told = climbed({FIRST: drift, SECOND: drift}, most=0.5, drift_replay=drift_replay)
    assert (found.share, found.judged.gates, found.judged.against_live) == (0.5, gates("auc", passed=True), False)
    assert (found.again, found.fit, len(made)) == (bool(drift_replay), drift_replay, 2 if drift_replay else 1)
    assert told == ([drift] if drift_replay else [])


def test_where_nothing_on_the_way_is_accepted_the_last_refusal_counts() -> None:
    """It names the gates that the operator reads, of all that the training came to."""
    drift = "sampled_auc_against_anchor"
    found, _, _ = climbed({FIRST: drift, SECOND: drift})
    assert (found.share, found.again, found.judged.gates) == (1.0, True, gates(drift, passed=False))
