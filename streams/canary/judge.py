"""What to do with a canary, given both arms: wait, promote or abort, and why. Pure; reads no topic."""

from dataclasses import dataclass
from enum import StrEnum

from streams.canary.sequential import Interval, Sums, difference, imbalance_evidence


class Verdict(StrEnum):
    """What the evidence says so far. Only better and worse ones, and unequal arms, end a canary."""

    WAIT = "wait"
    BETTER = "better"
    WORSE = "worse"
    UNBALANCED = "unbalanced"


@dataclass(frozen=True, slots=True)
class CanaryRules:
    """When a canary is decided.

    Attributes:
        alpha: of the engagement rate, both sides together and over the whole canary, however often it is looked at.
        balance_alpha: of the sample ratio.
        expected_effect: difference of engagement rates that is worth finding, absolute.
        min_users: of each arm, below which nothing is decided: the bound rests on a central limit.
    """

    alpha: float = 0.02
    balance_alpha: float = 0.001
    expected_effect: float = 0.02
    min_users: int = 200


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
