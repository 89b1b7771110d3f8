"""The paper's online experiment, simulated (section 6.2.1). Judges lists of candidates; makes none but production's.

Each arm's generator gives 200 candidates, one full ranker ranks them, the best of them fill the slots of the timeline that are
reserved for recommendations, and only those slots are counted. Where the paper splits its users, every user is in both arms here
and an outcome is its true probability instead of a coin: the same estimand, with the noise of the split and of the coin removed.
"""

from dataclasses import dataclass

import numpy as np

from lab.observed.columns import Floats, Ints
from lab.observed.log import CLICK, Truth, WorldLog
from lab.paper.intervals import Interval, ratio_over_users
from lab.paper.truth import MISSING
from lab.world.policy import Shelf, Visits, serve

CANDIDATES = 200


@dataclass(frozen=True, slots=True)
class ABSettings:
    """How the experiment is run.

    Attributes:
        slots: slots of the timeline that are reserved for recommendations.
        ranker_noise: standard deviation that the ranker adds to the logit of p; 0 is an oracle. A noisy ranker is led astray by
            what looks good to it, so more candidates are not always better.
        seed: of the ranker's noise (the same for both arms) and of the bootstrap.
    """

    slots: int = 10
    ranker_noise: float = 0.0
    seed: int = 0


@dataclass(frozen=True, slots=True)
class ABResult:
    """Relative change of treatment against control, in percent, with confidence intervals over users."""

    favorite_pct: Interval
    retweet_pct: Interval


def ab_test(truth: Truth, treatment: Ints, control: Ints, settings: ABSettings | None = None) -> ABResult:
    """Compare two candidate generators.

    Args:
        truth: of the users and candidates.
        treatment, control: lists, int64 [users, up to 200], see `truth`.
        settings: how; by default with an oracle ranker.
    """
    how = settings or ABSettings()
    scores = ranker_scores(truth, noise=how.ranker_noise, seed=how.seed)
    changes = []
    for p in (truth.p_favorite, truth.p_retweet):
        ours, theirs = (_in_slots(p, scores, lists[:, :CANDIDATES], how.slots) for lists in (treatment, control))
        change = ratio_over_users(ours - theirs, theirs, seed=how.seed)
        changes.append(Interval(100 * change.value, 100 * change.low, 100 * change.high))
    return ABResult(*changes)


def ranker_scores(truth: Truth, *, noise: float, seed: int) -> Floats:
    """Return the full ranker's score of every pair, float64 [users, candidates]: the logit of p and noise."""
    p = np.clip(truth.p, 1e-12, 1 - 1e-12)
    scores: Floats = np.log(p) - np.log1p(-p)
    if noise:
        scores = scores + noise * np.random.default_rng(seed).standard_normal(p.shape)
    return scores


def production_lists(log: WorldLog, *, k: int = CANDIDATES, seed: int = 0) -> Ints:
    """Return what the production heuristics retrieve for the truth's users at test time, int64 [users, k]."""
    truth = log.truth
    counted = (log.engagements.kind <= CLICK) & (log.engagements.time_s <= truth.time_s)
    counts = np.bincount(log.impressions.tweet[log.engagements.impression[counted]], minlength=len(log.tweets))
    served = serve(
        log.profiles,
        log.tweets,
        Shelf(truth.tweet, counts[truth.tweet].astype(np.float64)),
        Visits(truth.user, np.full(len(truth.user), truth.time_s)),
        k=k,
        rng=np.random.default_rng(seed),
    )
    return np.where(served == MISSING, MISSING, np.searchsorted(truth.tweet, served))


def _in_slots(p: Floats, scores: Floats, lists: Ints, slots: int) -> Floats:
    """Return expected engagements in the slots, float64 [users]."""
    there = lists != MISSING
    ranked = np.where(there, np.take_along_axis(scores, np.maximum(lists, 0), axis=1), -np.inf)
    best = np.argsort(-ranked, axis=1, kind="stable")[:, :slots]
    chosen = np.take_along_axis(np.maximum(lists, 0), best, axis=1)
    filled = np.take_along_axis(there, best, axis=1)
    engagements: Floats = (np.take_along_axis(p, chosen, axis=1) * filled).sum(1)
    return engagements
