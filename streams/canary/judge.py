"""What to do with a canary, given both arms: wait, promote or abort, and why. Pure; reads no topic."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Self

from streams.canary.arms import MAX_SLICES, Pair
from streams.canary.sequential import Interval, Sums, difference, imbalance_evidence


class Verdict(StrEnum):
    """What the evidence says so far. Only better and worse ones, and unequal arms, end a canary."""

    WAIT = "wait"
    BETTER = "better"
    WORSE = "worse"
    UNBALANCED = "unbalanced"


HARMFUL = frozenset({Verdict.WORSE, Verdict.UNBALANCED})
"""Those that end a canary against it, by however much of the evidence."""


@dataclass(frozen=True, slots=True)
class CanaryRules:
    """When a canary is decided.

    Attributes:
        alpha: of the engagement rate, both sides together and over one comparison, however often it is looked at.
        balance_alpha: of the sample ratio.
        expected_effect: difference of engagement rates that is worth finding, absolute.
        mismatch_rise: how much more of what the canary shows may be in languages its users do not declare, absolute.
        harm_rise: how many more of the canary's questions may be answered emptily, slowly or not at all, absolute.
        min_users: of each arm, below which nothing is decided: the bound rests on a central limit.
    """

    alpha: float = 0.02
    balance_alpha: float = 0.001
    expected_effect: float = 0.02
    mismatch_rise: float = 0.05
    harm_rise: float = 0.01
    min_users: int = 200

    def at_share(self, share: float, ramp: Sequence[float]) -> Self:
        """Return the rules of one share of a ramp, so that all its comparisons together are wrong no oftener than one may be.

        Each spends alpha in proportion to its users, about as a spending function linear in information does (Lan and DeMets,
        "Discrete sequential boundaries for clinical trials", Biometrika 1983); in equal parts, the first shares would get much that
        so few users can make no use of. The parts add up to alpha, which holds however the shares hang together (Bonferroni).
        Multiplying their evidence instead would find more, but needs each to be fair given those before it, and a canary's first
        users are in all of its shares.

        Args:
            share, ramp: in one unit; the share is of the ramp.
        """
        part = share / sum(ramp)
        return replace(self, alpha=self.alpha * part, balance_alpha=self.balance_alpha * part)


@dataclass(frozen=True, slots=True)
class Reading:
    """One look at a canary. `effect` is the canary's engagement rate minus the live one's."""

    verdict: Verdict
    sentence: str
    canary: Sums
    live: Sums
    effect: Interval


def read_arms(canary: Sums, live: Sums, *, share: float, rules: CanaryRules) -> Reading:
    """Return what both arms say together; may be asked at any time, any number of times.

    Args:
        share: of users that the canary gets, 0 to 1.
    """
    effect = difference(canary, live, alpha=rules.alpha, expected_effect=rules.expected_effect)
    figures = (
        f"engagement {canary.rate:.4f} of {canary.users:,} canary users, {live.rate:.4f} of {live.users:,} others, "
        f"difference {effect.low:+.4f} to {effect.high:+.4f}"
    )
    if 0 < share < 1 and imbalance_evidence(canary.users, live.users, share=share) >= 1 / rules.balance_alpha:
        got = canary.users / (canary.users + live.users)
        sentence = f"the canary has {got:.2%} of the users instead of {share:.2%}: the arms cannot be compared; {figures}"
        return Reading(Verdict.UNBALANCED, sentence, canary, live, effect)
    if min(canary.users, live.users) < rules.min_users:
        return Reading(Verdict.WAIT, f"fewer than {rules.min_users} users in an arm; {figures}", canary, live, effect)
    if effect.low > 0:
        return Reading(Verdict.BETTER, f"better at alpha {rules.alpha:g}: {figures}", canary, live, effect)
    if effect.high < 0:
        return Reading(Verdict.WORSE, f"worse at alpha {rules.alpha:g}: {figures}", canary, live, effect)
    return Reading(Verdict.WAIT, f"undecided: {figures}", canary, live, effect)


def read_guards(
    reading: Reading, mismatch: Pair, slices: Mapping[str, Pair], harms: Mapping[str, Pair], *, rules: CanaryRules
) -> Reading:
    """Return the reading, or why it is worse all the same: in a part of the users, in what they are shown, or in how it answers.

    A better engagement rate is no excuse: what most users gain, those of one language may pay for. Over a whole canary of an equal
    bundle the slices together are wrong with probability `alpha` at most, and so is the mismatch.

    Args:
        harms: shares of answers, not of users: an outage should not wait for users to come.
    """
    if reading.verdict is Verdict.UNBALANCED:
        return reading
    for name, (canary, live) in harms.items():
        rise = difference(canary, live, alpha=rules.alpha / len(harms), expected_effect=rules.harm_rise)
        if min(canary.users, live.users) >= rules.min_users and rise.low > rules.harm_rise:
            sentence = f"{canary.rate:.1%} of its answers are {name}, {live.rate:.1%} of the live bundle's"
            return replace(reading, verdict=Verdict.WORSE, sentence=f"{sentence}; {reading.sentence}")
    for name, (canary, live) in slices.items():
        effect = difference(canary, live, alpha=rules.alpha / MAX_SLICES, expected_effect=rules.expected_effect)
        if min(canary.users, live.users) >= rules.min_users and effect.high < 0:
            sentence = f"worse for {name}: {canary.rate:.4f} of {canary.users:,} users, {live.rate:.4f} of {live.users:,} others"
            return replace(reading, verdict=Verdict.WORSE, sentence=f"{sentence}; all together: {reading.sentence}")
    canary, live = mismatch
    rise = difference(canary, live, alpha=rules.alpha, expected_effect=rules.mismatch_rise)
    if min(canary.users, live.users) >= rules.min_users and rise.low > rules.mismatch_rise:
        sentence = f"{canary.rate:.1%} of what its users are shown is in a language they do not declare, {live.rate:.1%} elsewhere"
        return replace(reading, verdict=Verdict.WORSE, sentence=f"{sentence}; {reading.sentence}")
    return reading
