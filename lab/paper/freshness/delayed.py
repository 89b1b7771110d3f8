"""What users are shown by an index that knows each tweet only some time after it is published. Retrieves and trains nothing."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from lab.observed.columns import Floats
from lab.paper.ab_test import CANDIDATES
from lab.paper.truth import FRESH_S

SHOWN_K = 10


@dataclass(frozen=True)
class Ranked:
    """Every user's nearest tweets at one moment, nearest first, as an index without any delay would rank them.

    Attributes:
        age_s: float64 [users, tweets], since each was published. Enough of them that 200 are left after the longest delay, where
            there are as many.
        p: float64 [users, tweets], the true probability that the user engages.
    """

    age_s: Floats
    p: Floats


def delayed(ranked: Ranked, delay_s: float) -> Mapping[str, Floats]:
    """Return what becomes of the users when a tweet is retrievable from `delay_s` after its publication on, each float64 [users].

    held_back: how many of the nearest 200 are not retrievable yet.
    engagement_at_10, engagement_at_200: mean true p of the first 10 and 200 retrieved; a missing entry engages nobody.
    ranked_at_10: mean true p of the 10 that a full ranker, which knows p, would show of those 200.
    fresh_at_10, fresh_at_200: share of the first 10 and 200 that is under an hour old.
    """
    late = ranked.age_s < delay_s
    # stable: what is retrievable stays in order, the rest goes to the end
    first = np.argsort(late, axis=1, kind="stable")[:, :CANDIDATES]
    there = ~np.take_along_axis(late, first, axis=1)
    p = np.where(there, np.take_along_axis(ranked.p, first, axis=1), 0.0)
    fresh = there & (np.take_along_axis(ranked.age_s, first, axis=1) < FRESH_S)
    return {
        "held_back": late[:, :CANDIDATES].sum(axis=1).astype(np.float64),
        "engagement_at_10": p[:, :SHOWN_K].sum(axis=1) / SHOWN_K,
        "engagement_at_200": p.sum(axis=1) / CANDIDATES,
        "ranked_at_10": np.sort(p, axis=1)[:, -SHOWN_K:].sum(axis=1) / SHOWN_K,
        "fresh_at_10": fresh[:, :SHOWN_K].sum(axis=1) / SHOWN_K,
        "fresh_at_200": fresh.sum(axis=1) / CANDIDATES,
    }
