"""What the paper could not measure: the true worth of retrieved lists. Trains nothing and retrieves nothing.

A list is int64 [users, k], columns of `Truth.tweet`, best first, `MISSING` where there are fewer than k.
"""

import numpy as np

from lab.observed.columns import Bools, Floats, Ints
from lab.observed.log import Truth

MISSING = -1
FRESH_S = 3_600.0


def true_engagement_at(truth: Truth, lists: Ints, k: int) -> Floats:
    """Return the mean true p over each user's first k, float64 [users]; a missing entry engages nobody."""
    means: Floats = _pick(truth.p, lists[:, :k]).sum(1) / k
    return means


def unreadable_share(truth: Truth, lists: Ints, k: int) -> Floats:
    """Return the share of each user's first k in a language the user truly cannot read, float64 [users].

    NaN for an empty list, and everywhere in a world that does not say what its users read.
    """
    first = lists[:, :k]
    if truth.readable is None:
        return np.full(len(lists), np.nan)
    shown = first != MISSING
    unread = _pick((~truth.readable).astype(np.float64), first)
    with np.errstate(invalid="ignore"):
        shares: Floats = unread.sum(1) / shown.sum(1)
    return shares


def fresh(truth: Truth, created_s: Floats) -> Bools:
    """Tell which candidates are under an hour old at test time, bool [candidates]; `created_s` is of all tweets."""
    young: Bools = truth.time_s - created_s[truth.tweet] < FRESH_S
    return young


def fresh_share(lists: Ints, young: Bools, k: int) -> Floats:
    """Return the share of each user's first k that is under an hour old, float64 [users]; NaN for an empty list."""
    first = lists[:, :k]
    with np.errstate(invalid="ignore"):
        shares: Floats = _fresh_places(first, young).sum(1) / (first != MISSING).sum(1)
    return shares


def fresh_engagement(truth: Truth, lists: Ints, young: Bools, k: int) -> tuple[Floats, Floats]:
    """Return the sum of true p over what of each first k is under an hour old, and how many that are; both float64 [users].

    The ratio of their sums is the engagement on fresh content, once it is shown; users who are shown none count nothing.
    """
    places = _fresh_places(lists[:, :k], young)
    engaged: Floats = (_pick(truth.p, lists[:, :k]) * places).sum(1)
    return engaged, places.sum(1).astype(np.float64)


def oracle_lists(truth: Truth, k: int) -> Ints:
    """Return the k candidates of the highest p for each user: what no retrieval can beat."""
    return np.argsort(-truth.p, axis=1, kind="stable")[:, :k]


def _fresh_places(lists: Ints, young: Bools) -> Bools:
    places: Bools = young[np.maximum(lists, 0)] & (lists != MISSING)
    return places


def _pick(values: Floats, lists: Ints) -> Floats:
    picked = np.take_along_axis(values, np.maximum(lists, 0), axis=1)
    return np.where(lists == MISSING, 0.0, picked)
