"""The vectorised encoding of a log against the product's own: records, states, and the feature spec that reads them."""

from dataclasses import dataclass
from functools import cache

import numpy as np
import pytest

from lab.observed.log import CLICK, KINDS, NO_TOPIC, UNFAVORITE, WorldLog
from lab.paper.encode import LogEncoder
from lab.world import WorldSettings, simulate
from schemas.errors import BundleMismatch
from schemas.features.catalog import CATALOG
from schemas.features.query import query_features
from schemas.features.spec import FeatureSpec, Field
from schemas.records.candidates import CandidateFeatures, Counters
from schemas.records.users import QueryFeatures, UserEntry, UserEventKind, UserState

SPEC = CATALOG["tweet-v1"]
SMALL = WorldSettings(seed=9, users=120, authors=60, tweets_per_day=250, willing_mean=1.0, intercept=-2.0, undone_share=0.02)


@pytest.fixture(scope="module")
def log() -> WorldLog:
    """Two lively days."""
    return simulate(SMALL, 2, test_users=20)


@pytest.fixture(scope="module")
def encoder(log: WorldLog) -> LogEncoder:
    """The encoder under test."""
    return LogEncoder(log, SPEC)


def test_queries_are_encoded_as_nodes_and_labeler_would(log: WorldLog, encoder: LogEncoder) -> None:
    """An experiment on other features than the product's would prove nothing about the product."""
    rng = np.random.default_rng(0)
    rows = np.sort(rng.choice(len(log.impressions), 150, replace=False))
    users, times = log.impressions.user[rows], log.impressions.time_s[rows]
    expected = SPEC.encode_queries([_query(log, int(user), float(time)) for user, time in zip(users, times, strict=True)])
    encoded = encoder.queries(users, times)
    assert (encoded.ids == expected).all()
    assert (expected > 0).sum(1).max() > 40, "some users have a full history"
    declared = [set(np.flatnonzero(log.profiles.languages[user])) for user in users]
    assert [set(row[row >= 0]) for row in encoded.languages] == declared


def test_candidates_are_encoded_with_their_counters_as_served(log: WorldLog, encoder: LogEncoder) -> None:
    """A counter from after the impression would leak the label into the features."""
    rng = np.random.default_rng(1)
    rows = rng.choice(len(log.impressions), 200, replace=False)
    tweets, times = log.impressions.tweet[rows], log.impressions.time_s[rows]
    features = [_candidate(log, int(tweet), float(time)) for tweet, time in zip(tweets, times, strict=True)]
    assert (encoder.candidates(tweets, times) == SPEC.encode_candidates(features)).all()
    counters = [f.counters for f in features]
    assert max(c.favorite for c in counters) >= 4
    assert (encoder.state.popularity(tweets, times) == [c.favorite + c.retweet + c.reply + c.click for c in counters]).all()


def test_a_tweet_that_asks_is_encoded_as_the_context_of_a_query(log: WorldLog, encoder: LogEncoder) -> None:
    """Related tweets, and the page behind a notification: author, language and first topic, and nothing of a user."""
    tweets = np.arange(0, len(log.tweets), 7)
    names, columns = log.names, log.tweets
    contexts = [
        {
            "author_id": names.authors[columns.author[tweet]],
            "language": names.languages[columns.language[tweet]],
            "topic": names.topics[columns.topics[tweet, 0]],
        }
        for tweet in tweets
    ]
    expected = SPEC.encode_queries([QueryFeatures(context=context) for context in contexts])
    assert (encoder.contexts(tweets) == expected).all()
    assert (expected > 0).sum(1).min() == 3


def test_examples_share_the_query_of_their_visit(log: WorldLog, encoder: LogEncoder) -> None:
    """One answer, one query: its impressions were all chosen by the same features."""
    examples = encoder.examples(np.arange(500))
    shown = log.impressions.take(slice(500))
    assert len(examples.queries) == len(np.unique(shown.request))
    assert (examples.users == shown.user).all()
    assert (examples.labels == shown.label).all()
    assert (examples.items == shown.tweet).all()


def test_a_feature_that_worlds_lack_is_refused_by_name(log: WorldLog) -> None:
    """A column of padding would look like a useless feature."""
    spec = FeatureSpec("x", "x", SPEC.query, (*SPEC.candidate, Field("mood", "text", "hash", 10)))
    with pytest.raises(BundleMismatch, match="mood"):
        LogEncoder(log, spec).candidates(np.arange(3), np.zeros(3))


@dataclass(frozen=True)
class Event:
    """One engagement, and the label of its impression."""

    user: int
    tweet: int
    kind: int
    time_s: float
    label: int


@cache
def _events(settings: WorldSettings) -> list[Event]:
    log = simulate(settings, 2, test_users=20)
    done, shown = log.engagements, log.impressions
    rows = done.impression
    columns = (shown.user[rows], shown.tweet[rows], done.kind, done.time_s, shown.label[rows])
    return [Event(*row) for row in zip(*(column.tolist() for column in columns), strict=True)]


def _query(log: WorldLog, user: int, time_s: float) -> QueryFeatures:
    names, tweets = log.names, log.tweets
    first: dict[int, float] = {}
    for event in _events(SMALL):
        if event.user == user and event.kind <= CLICK and event.label == 1:
            first[event.tweet] = min(event.time_s, first.get(event.tweet, np.inf))
    entries = tuple(
        UserEntry(
            entry_id=f"{tweet}",
            kind=UserEventKind.FAVORITE,
            candidate_id=names.candidates[tweet],
            event_time_ms=round(at_s * 1000),
            author_id=names.authors[tweets.author[tweet]],
            language=names.languages[tweets.language[tweet]],
            topics=_topics(log, tweet),
        )
        for tweet, at_s in first.items()
    )
    state = UserState(
        user_id=names.users[user],
        languages=tuple(names.languages[n] for n in np.flatnonzero(log.profiles.languages[user])),
        region=names.regions[log.profiles.region[user]],
        interests=tuple(names.topics[n] for n in np.flatnonzero(log.profiles.interests[user])),
        follows=tuple(names.authors[n] for n in np.flatnonzero(log.profiles.follows[user])),
        entries=entries,
    )
    return query_features(state, before_ms=round(time_s * 1000))


def _candidate(log: WorldLog, tweet: int, time_s: float) -> CandidateFeatures:
    counts = dict.fromkeys(("favorite", "retweet", "reply", "click", "show_less"), 0)
    for event in _events(SMALL):
        if event.tweet == tweet and round(event.time_s * 1000) < round(time_s * 1000):
            undo = event.kind == UNFAVORITE
            counts["favorite" if undo else str(KINDS[event.kind])] += -1 if undo else 1
    names, tweets = log.names, log.tweets
    author = tweets.author[tweet]
    return CandidateFeatures(
        author_id=names.authors[author],
        language=names.languages[tweets.language[tweet]],
        region=names.regions[tweets.region[tweet]],
        topics=_topics(log, tweet),
        author_followers=int(log.author_followers[author]),
        counters=Counters(**counts).clipped(),
    )


def _topics(log: WorldLog, tweet: int) -> tuple[str, ...]:
    return tuple(log.names.topics[topic] for topic in log.tweets.topics[tweet] if topic != NO_TOPIC)
