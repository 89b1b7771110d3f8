"""Draws the tweets of a day, and how topics and interests drift by the day. Knows no reactions."""

from dataclasses import dataclass

import numpy as np

from lab.observed.columns import Columns, Floats
from lab.observed.log import NO_TOPIC, Tweets
from lab.world.population import Authors
from lab.world.settings import DAY_S, WorldSettings

TOPICS_PER_TWEET = 3


@dataclass(frozen=True)
class HiddenTweets(Columns):
    """What nobody can see of tweets: `quality` float64 [tweets], and `retweet_share` float64 [tweets] of their engagements."""

    quality: Floats
    retweet_share: Floats


@dataclass(frozen=True)
class Catalogue:
    """What can be shown: what anybody sees of it, and what nobody does. Accounts and articles have a tweet's columns too."""

    items: Tweets
    hidden: HiddenTweets


class Drift:
    """Topic trends and user interests on each day. Day d depends on the seed and on day d - 1 alone."""

    def __init__(self, settings: WorldSettings, interests: Floats) -> None:
        self._settings = settings
        self._interests = [interests]
        self._trends = [self._rng(0).normal(0, 1, settings.topics)]

    def _rng(self, day: int) -> np.random.Generator:
        return np.random.default_rng((self._settings.seed, 3, day))

    def _extend(self, day: int) -> None:
        settings = self._settings
        while len(self._trends) <= day:
            rng = self._rng(len(self._trends))
            # stationary with standard deviation 1: a trend's half-life is two days
            self._trends.append(0.7 * self._trends[-1] + rng.normal(0, np.sqrt(1 - 0.7**2), settings.topics))
            interests = self._interests[-1].copy()
            moved = np.flatnonzero(rng.random(len(interests)) < settings.interest_drift_per_day)
            weights = np.where(interests[moved] > 0, rng.random((len(moved), settings.topics)), -1.0)
            old, new = weights.argmax(1), rng.integers(0, settings.topics, len(moved))
            share = interests[moved, old]
            interests[moved, old] = 0.0
            interests[moved, new] += share
            self._interests.append(interests)

    def trends(self, day: int) -> Floats:
        """Return float64 [topics], mean 0, standard deviation 1 over the days."""
        self._extend(day)
        return self._trends[day]

    def interests(self, day: int) -> Floats:
        """Return float64 [users, topics], rows add up to 1."""
        self._extend(day)
        return self._interests[day]


def draw_day(
    settings: WorldSettings, authors: Authors, trends: Floats, day: int, rng: np.random.Generator
) -> tuple[Tweets, HiddenTweets]:
    """Draw the tweets created on one day."""
    count = int(rng.poisson(settings.tweets_per_day))
    author = rng.choice(len(authors), count, p=authors.rate)
    created = day * DAY_S + np.sort(rng.random(count)) * DAY_S
    log_weight = np.log(authors.topic_weights[author] + 1e-9) + 0.3 * trends
    ranked = np.argsort(-(log_weight + rng.gumbel(size=log_weight.shape)), axis=1)[:, :2]
    trending = np.argsort(-(trends + rng.gumbel(size=(count, settings.topics))), axis=1)[:, :1]
    topics = np.concatenate([ranked, trending], axis=1)
    topics[rng.random(count) > 0.5, 1] = NO_TOPIC
    topics[(rng.random(count) > 0.15) | (topics[:, :2] == topics[:, 2:]).any(1), 2] = NO_TOPIC
    # what is there comes first
    gap = topics[:, 1] == NO_TOPIC
    topics[gap, 1], topics[gap, 2] = topics[gap, 2], NO_TOPIC
    deleted = rng.random(count) < settings.delete_share
    life = np.where(deleted, rng.random(count) * settings.alive_s, settings.alive_s)
    quality = 0.6 * authors.quality[author] + rng.normal(0, 0.8, count)
    visible = Tweets(author, authors.language[author], authors.region[author], topics, created, created + life, deleted)
    # good tweets are passed on more often than they are liked
    return visible, HiddenTweets(quality, 1 / (1 + np.exp(2.2 - 0.8 * quality)))
