"""The production policy: heuristics over declared profiles and visible tweets. Knows no truth, so its logs are biased."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lab.observed.columns import Columns, Floats, Ints
from lab.observed.log import Profiles, Tweets
from lab.world.settings import HOUR_S

_BLOCK_PAIRS = 4_000_000


@dataclass(frozen=True, slots=True)
class PolicyMix:
    """How many of the slots each heuristic fills; they add up to 1.

    Attributes:
        followed: the newest of authors the user follows, in any language.
        popular: a declared language and the user's region, by the square of engagements so far.
        topical: a declared language and a declared interest, in proportion to engagements so far.
        recent: a declared language, the newest.
    """

    followed: float = 0.20
    popular: float = 0.45
    topical: float = 0.20
    recent: float = 0.15


DEFAULT_MIX = PolicyMix()


@dataclass(frozen=True)
class Visits(Columns):
    """Who comes when: `user` int64 [n], rows; `time_s` float64 [n]."""

    user: Ints
    time_s: Floats


@dataclass(frozen=True)
class Shelf(Columns):
    """What may be shown: `tweet` int64 [m], rows; `engagements` float64 [m], positive ones so far."""

    tweet: Ints
    engagements: Floats


def propensities(
    profiles: Profiles, tweets: Tweets, shelf: Shelf, visits: Visits, *, mix: PolicyMix = DEFAULT_MIX
) -> NDArray[np.float32]:
    """Return what each tweet's chance to get a visit's first slot is in proportion to, float32 [visits, shelf].

    A row adds up to 1 less the shares of heuristics that reach nothing. It is 0 where no heuristic reaches: unborn and dead tweets,
    and whatever is neither followed nor in a declared language.
    """
    rows, user, time = shelf.tweet, visits.user, visits.time_s[:, None]
    # exp(-age / 6 h) but for a factor that is the same for the whole visit
    newest = np.exp((tweets.created_s[rows] - visits.time_s.max()) / (6 * HOUR_S)).astype(np.float32)
    there = (tweets.created_s[rows] <= time) & (tweets.dead_s[rows] > time)
    declared = profiles.languages[user][:, tweets.language[rows]] & there
    popular = (1 + shelf.engagements).astype(np.float32)
    nearby = declared & (profiles.region[user, None] == tweets.region[rows])
    topical = declared & _any_topic(profiles, tweets, shelf, visits)
    followed = profiles.follows[user][:, tweets.author[rows]] & there
    return (
        _spread(followed * newest, mix.followed)
        + _spread(nearby * popular**2, mix.popular)
        + _spread(topical * popular, mix.topical)
        + _spread(declared * newest, mix.recent)
    )


def serve(
    profiles: Profiles,
    tweets: Tweets,
    shelf: Shelf,
    visits: Visits,
    *,
    k: int,
    rng: np.random.Generator,
    mix: PolicyMix = DEFAULT_MIX,
) -> Ints:
    """Draw k different tweets for each visit in proportion to `propensities`, int64 [visits, k]; -1 where there are fewer."""
    served = np.full((len(visits), k), -1, np.int64)
    block = max(1, _BLOCK_PAIRS // max(1, len(shelf)))
    take = min(k, len(shelf))
    for start in range(0, len(visits) if take else 0, block):
        part = slice(start, start + block)
        weight = propensities(profiles, tweets, shelf, visits.take(part), mix=mix)
        # exponential races: the k smallest of Exp(1) / weight are a draw without replacement in proportion to weight
        with np.errstate(divide="ignore", invalid="ignore"):
            race = rng.standard_exponential(weight.shape, dtype=np.float32) / weight
        first = np.argpartition(race, take - 1, axis=1)[:, :take]
        order = np.argsort(np.take_along_axis(race, first, axis=1), axis=1)
        first = np.take_along_axis(first, order, axis=1)
        reached = np.take_along_axis(weight, first, axis=1) > 0
        served[part, :take] = np.where(reached, shelf.tweet[first], -1)
    return served


def _any_topic(profiles: Profiles, tweets: Tweets, shelf: Shelf, visits: Visits) -> NDArray[np.bool_]:
    # a last column that is always False stands for "no topic", which is -1
    interests = np.pad(profiles.interests[visits.user], ((0, 0), (0, 1)))
    topics = tweets.topics[shelf.tweet]
    found = interests[:, topics[:, 0]]
    for slot in range(1, topics.shape[1]):
        found |= interests[:, topics[:, slot]]
    return found


def _spread(weight: NDArray[Any], share: float) -> NDArray[np.float32]:
    """Scale each row to add up to `share`; a row without any weight stays 0."""
    total = weight.sum(1, keepdims=True)
    return weight * (np.float32(share) / np.where(total > 0, total, 1)).astype(np.float32)
