"""Differences between two arms' engagement rates, with 95% intervals: as a canary measures them, without its noise, and in truth.

Users are what was drawn at random. Knows no towers.
"""

from math import sqrt
from typing import TypedDict

import numpy as np

from lab.observed.columns import Bools, Floats
from lab.paper.arms.traffic import Fed
from lab.paper.intervals import Z
from streams.canary.sequential import Sums


class Effect(TypedDict):
    """The canary's rate of engagement minus the live one's, absolute."""

    value: float
    low: float
    high: float


def measured(fed: Fed, in_canary: Bools) -> Effect:
    """Return what a canary sees: engagements an impression of its users, against everybody else's."""
    return _difference(fed.shown, fed.engaged, in_canary)


def without_noise(fed: Fed, in_canary: Bools, usual: Floats) -> Effect:
    """Return the same without the noise of the coin and of who is in which arm: true probabilities, beyond what a user usually has.

    Args:
        usual: float64 [users], an engagement rate that does not depend on the split. Users differ by orders of magnitude.
    """
    return _difference(fed.shown, fed.expected - usual * fed.shown, in_canary)


def alone(live: Fed, canary: Fed) -> Effect:
    """Return the truth: both recipes have all users and visits to themselves, so that users are paired."""
    value, influence = 0.0, np.zeros(len(live.shown))
    for sign, fed in ((-1, live), (1, canary)):
        rate = fed.expected.sum() / fed.shown.sum()
        value += sign * rate
        influence += sign * (fed.expected - rate * fed.shown) / fed.shown.sum()
    return _effect(value, len(influence) * float(influence.var(ddof=1)))


def usual_rate(live: Fed, canary: Fed) -> Floats:
    """Return each user's rate over both recipes alone, float64 [users]; 0 for who never came."""
    shown = live.shown + canary.shown
    rate: Floats = (live.expected + canary.expected) / np.maximum(shown, 1.0)
    return rate


def _difference(shown: Floats, outcome: Floats, in_canary: Bools) -> Effect:
    canary, live = (Sums.of(shown[arm], outcome[arm]) for arm in (in_canary, ~in_canary))
    return _effect(canary.rate - live.rate, canary.variance + live.variance)


def _effect(value: float, variance: float) -> Effect:
    radius = Z * sqrt(variance)
    return Effect(value=float(value), low=float(value - radius), high=float(value + radius))
