"""Who lives in the world: users and authors as columns. Adds to what they declare what is true of them."""

from dataclasses import dataclass

import numpy as np

from lab.observed.columns import Bools, Columns, Floats, Ints
from lab.observed.log import Profiles
from lab.world.settings import WorldSettings
from lab.world.vocabulary import language_shares

TASTES = 8
INTERESTS_PER_USER = 4
_CHUNK = 1_024


@dataclass(frozen=True)
class Authors(Columns):
    """Who writes.

    Attributes:
        language: int64 [authors]: an author writes in one language.
        region: int64 [authors].
        topic_weights: float64 [authors, topics], rows add up to 1.
        followers: int64 [authors], a power law; follows of the simulated users are drawn in proportion to it.
        rate: float64 [authors], share of all tweets; adds up to 1.
        quality: float64 [authors], hidden.
        style: float64 [authors, TASTES], hidden.
    """

    language: Ints
    region: Ints
    topic_weights: Floats
    followers: Ints
    rate: Floats
    quality: Floats
    style: Floats


@dataclass(frozen=True)
class Users:
    """Profiles, and what is true of the users behind them.

    Attributes:
        profiles: what they declare.
        understood: float64 [users, languages]: 1 for the language read best, the second-language factor, or the unread factor.
        spoken: bool [users, languages]: truly read.
        interests: float64 [users, topics], on day 0; rows add up to 1.
        taste: float64 [users, TASTES], against `Authors.style`.
        willing: float64 [users], in 0 to 1: the chance that a tweet worth everything to the user is engaged with.
        visit_rate: float64 [users], visits a day.
    """

    profiles: Profiles
    understood: Floats
    spoken: Bools
    interests: Floats
    taste: Floats
    willing: Floats
    visit_rate: Floats

    def __len__(self) -> int:
        """The number of users."""
        return len(self.willing)


def draw_authors(settings: WorldSettings, rng: np.random.Generator) -> Authors:
    """Draw the authors of a world."""
    count = settings.authors
    home = _region_languages(settings)
    language = rng.choice(settings.languages, count, p=language_shares(settings.languages))
    # Pareto with tail index 1.1: one author in a hundred has half of all followers
    popularity = (1 - rng.random(count)) ** (-1 / 1.1)
    rate = popularity**0.25 * rng.lognormal(0, 0.7, count)
    weights = np.zeros((count, settings.topics))
    topics = _distinct(rng, count, settings.topics, 3)
    np.put_along_axis(weights, topics, rng.dirichlet((3.0, 1.5, 0.8), count), axis=1)
    return Authors(
        language=language,
        region=_regions(rng, language, home),
        topic_weights=weights,
        followers=np.minimum(20 * popularity, 5e7).astype(np.int64),
        rate=rate / rate.sum(),
        quality=0.35 * np.log(popularity) + rng.normal(0, 0.7, count),
        style=rng.normal(0, 1, (count, TASTES)),
    )


def draw_users(settings: WorldSettings, authors: Authors, rng: np.random.Generator) -> Users:
    """Draw the users of a world and whom they follow."""
    count = settings.users
    best = rng.choice(settings.languages, count, p=language_shares(settings.languages))
    second = rng.choice(settings.languages, count, p=language_shares(settings.languages))
    reads_second = (rng.random(count) < settings.second_language_share) & (second != best)
    rows = np.arange(count)
    understood = np.full((count, settings.languages), settings.unread_factor)
    understood[rows[reads_second], second[reads_second]] = settings.second_language_factor
    understood[rows, best] = 1.0
    spoken = understood > settings.unread_factor

    wrong = (rng.random(count) < settings.wrong_language_share) & (settings.languages > 1)
    # the phone's language, mostly the largest; never the one read best
    wrong_language = np.where((rng.random(count) < 0.6) & (best != 0), 0, (best + 1) % settings.languages)
    declared = np.zeros_like(spoken)
    declared[rows, np.where(wrong, wrong_language, best)] = True
    declares_second = reads_second & ~wrong & (rng.random(count) < settings.declares_second_share)
    declared[rows[declares_second], second[declares_second]] = True

    topics = _distinct(rng, count, settings.topics, INTERESTS_PER_USER)
    interests = np.zeros((count, settings.topics))
    np.put_along_axis(interests, topics, rng.dirichlet((2.0,) * INTERESTS_PER_USER, count), axis=1)
    # three of the four, and now and then something that is no interest any more
    declared_interests = (interests > 0) & (rng.random(interests.shape) < 0.75)
    stale = rng.random(count) < 0.3
    declared_interests[rows[stale], rng.integers(0, settings.topics, count)[stale]] = True

    region = _regions(rng, best, _region_languages(settings))
    activity = _activity(rng, settings, region, interests)
    visits = np.exp(0.6 * activity + rng.normal(0, 0.3, count))
    taste = rng.normal(0, 1, (count, TASTES))
    follow_counts = np.clip(12 * np.exp(0.7 * activity + rng.normal(0, 0.5, count)), 1, authors_cap(len(authors))).astype(np.int64)
    log_weights = _FollowWeights(spoken, interests, region, taste, authors)
    follows = _follows(rng, follow_counts, log_weights)
    return Users(
        profiles=Profiles(declared, region, declared_interests, follows),
        understood=understood,
        spoken=spoken,
        interests=interests,
        taste=taste,
        willing=1 / (1 + np.exp(-settings.willing_mean - settings.willing_sigma * activity)),
        visit_rate=settings.visits_per_user_day * visits / visits.mean(),
    )


def _activity(rng: np.random.Generator, settings: WorldSettings, region: Ints, interests: Floats) -> Floats:
    """Return how active each user is, float64 [users], standard normal: some regions and some crowds more than others."""
    shared = rng.normal(0, 1, settings.regions)[region] + 2 * interests @ rng.normal(0, 1, settings.topics)
    shared = (shared - shared.mean()) / max(float(shared.std()), 1e-9)
    share = settings.willing_shared
    activity: Floats = np.sqrt(share) * shared + np.sqrt(1 - share) * rng.normal(0, 1, len(region))
    return activity


def authors_cap(authors: int) -> int:
    """Return how many authors a user follows at most: a profile's limit, and never everybody."""
    return max(1, min(authors // 4, 200))


@dataclass(frozen=True)
class _FollowWeights:
    """How likely each user is to follow each author: popular ones, in a language they read, on their topics, nearby, to taste."""

    spoken: Bools
    interests: Floats
    region: Ints
    taste: Floats
    authors: Authors

    def log(self, rows: slice) -> Floats:
        """Return log weights, float64 [rows, authors]."""
        authors = self.authors
        weights: Floats = (
            np.log(authors.followers)
            + np.where(self.spoken[rows][:, authors.language], 0.0, -7.0)
            + 8 * self.interests[rows] @ authors.topic_weights.T
            + np.where(self.region[rows, None] == authors.region, 0.7, 0.0)
            + 0.7 * self.taste[rows] @ authors.style.T / np.sqrt(TASTES)
        )
        return weights


def _follows(rng: np.random.Generator, counts: Ints, weights: _FollowWeights) -> Bools:
    authors = len(weights.authors)
    follows = np.zeros((len(counts), authors), np.bool_)
    for start in range(0, len(counts), _CHUNK):
        rows = slice(start, start + _CHUNK)
        log_weight = weights.log(rows)
        # the largest n of log weight + Gumbel noise are a draw of n without replacement in proportion to weight
        rank = np.argsort(-(log_weight + rng.gumbel(size=log_weight.shape)), axis=1)
        np.put_along_axis(follows[rows], rank, np.arange(authors) < counts[rows, None], axis=1)
    return follows


def _region_languages(settings: WorldSettings) -> Ints:
    """Return the main language of each region: every language's share of regions follows its share of users."""
    edges = np.cumsum(language_shares(settings.languages))
    middle = (np.arange(settings.regions) + 0.5) / settings.regions
    return np.minimum(np.searchsorted(edges, middle), settings.languages - 1)


def _regions(rng: np.random.Generator, language: Ints, home: Ints) -> Ints:
    """Draw a region for each language: four in five live where it is the main one, if there is such a region."""
    weights = np.where(home[None, :] == np.arange(language.max() + 1)[:, None], 1.0, 0.0)
    at_home = weights / np.maximum(weights.sum(1, keepdims=True), 1)
    mixture = 0.8 * at_home + (1 - 0.8 * at_home.sum(1, keepdims=True)) / len(home)
    edges = np.cumsum(mixture, axis=1)
    drawn: Ints = (rng.random(len(language))[:, None] > edges[language]).sum(1)
    return np.minimum(drawn, len(home) - 1)


def _distinct(rng: np.random.Generator, rows: int, choices: int, count: int) -> Ints:
    """Draw `count` distinct numbers below `choices` for each row, int64 [rows, count]."""
    return np.argsort(rng.random((rows, choices)), axis=1)[:, :count]
