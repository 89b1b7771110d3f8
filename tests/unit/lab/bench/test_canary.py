"""The bench of canaries at toy size, and its counting against the arms that the controller keeps."""

import json

import numpy as np
import pytest

from lab.bench import canary
from streams.canary.judge import CanaryRules, Verdict, read_arms
from streams.canary.sequential import Sums


def test_a_share_counts_its_own_looks_and_a_user_in_it_stays() -> None:
    """Evidence carried over from the share before would mix users who have changed sides."""
    seen = list(canary.looks(np.random.default_rng(3), canary.RAMP, 1.0, total=6))
    assert [look.share for look in seen] == [0.05, 0.05, 0.2, 0.2, 0.5, 0.5]
    assert [look.last for look in seen] == [False] * 4 + [True] * 2
    shown = [look.whole[0].shown + look.whole[1].shown for look in seen]
    assert shown[2] < shown[1], "counted anew"
    for look in seen:
        ours, live = look.whole
        assert abs(ours.users / (ours.users + live.users) - look.share) < 0.03
        for side in (0, 1):
            assert sum(pair[side].users for pair in look.slices.values()) == look.whole[side].users
            assert sum(pair[side].engaged for pair in look.slices.values()) == look.whole[side].engaged


def test_a_ramp_promotes_at_its_last_share_only_and_aborts_at_any() -> None:
    """The rule of the controller, which the bench plays."""
    rules = CanaryRules()
    good, bad = Sums(900, 9_000, 4_000, 95_000, 20_000, 41_000), Sums(900, 9_000, 1_000, 95_000, 1_500, 10_500)
    assert read_arms(good, bad, share=0.5, rules=rules).verdict is Verdict.BETTER
    early, late = (canary.Look(0.5, last, (good, bad), {}) for last in (False, True))
    harm = canary.Look(0.5, False, (bad, good), {})
    assert canary.ending([early, early], rules) == (Verdict.WAIT, 2)
    assert canary.ending([early, late], rules) == (Verdict.BETTER, 2)
    assert canary.ending([early, harm, late], rules) == (Verdict.WORSE, 2)


def test_a_ramp_is_as_seldom_wrong_as_its_alpha_says_where_each_share_at_alpha_is_not() -> None:
    """At an alpha of one half the difference shows within some runs; at .02 it takes thousands (docs/bench/canary.json)."""
    report = canary.run(runs=40, rules=CanaryRules(alpha=0.5, balance_alpha=0.5))
    wrong = {row["way"]: row["promoted"] + row["aborted"] for row in report["rows"] if row["truth"] == "equal"}
    assert wrong["ramp"] < wrong["ramp, each share at alpha"]
    assert len(canary.as_markdown(report).splitlines()) == 2 + len(report["rows"])
    json.dumps(report, allow_nan=False)


@pytest.mark.parametrize(("lift", "verdict"), [(0.7, Verdict.WORSE), (1.3, Verdict.BETTER)])
@pytest.mark.parametrize("shares", [canary.ONE_SHARE, canary.RAMP])
def test_a_tower_that_is_far_worse_or_better_is_found_out_at_a_part_of_alpha_too(
    lift: float, verdict: Verdict, shares: tuple[float, ...]
) -> None:
    """A test that is never wrong because it never decides would pass every A/A run."""
    seen = list(canary.looks(np.random.default_rng(5), shares, lift))
    found, look = canary.ending(seen, CanaryRules(), ramp=shares)
    assert found is verdict
    assert look < canary.LOOKS
