"""A tiny world of users, tweets and a serving policy for the trainer's tests: seeded, small, with known preferences.

The policy shows almost only what a user can read, as a real one would: what it logs says nothing about language. Whether a user
engages depends on language, shared topics, and how good the tweet is.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from schemas.records.candidates import Candidate, CandidateAttributes, Counters
from schemas.records.feedback import Example, Label, Provenance, example_id
from schemas.records.users import QueryFeatures

LANGUAGES = ("en", "ja", "es", "de", "pt", "tr")
REGIONS = ("us", "jp", "mx", "at", "br", "cy")
TOPICS = tuple(f"topic-{n}" for n in range(12))
START_MS = 1_700_000_000_000
DEFAULT_TWEETS = 1_500


@dataclass(frozen=True)
class TinyWorld:
    """Examples in time order and the corpus they were served from."""

    examples: list[Example]
    corpus: list[Candidate]


def tiny_world(
    *, seed: int = 0, users: int = 300, tweets: int = DEFAULT_TWEETS, impressions: int = 9_000, surface: str = "home-timeline"
) -> TinyWorld:
    """Return a world; the same arguments give the same one."""
    rng = np.random.default_rng(seed)
    user_language = rng.choice(len(LANGUAGES), users, p=_falling(len(LANGUAGES)))
    user_topics = np.argsort(rng.random((users, len(TOPICS))), axis=1)[:, :3]
    author_language = rng.choice(len(LANGUAGES), 120, p=_falling(len(LANGUAGES)))
    author = rng.integers(120, size=tweets)
    tweet_language = author_language[author]
    tweet_topics = np.argsort(rng.random((tweets, len(TOPICS))), axis=1)[:, :2]
    quality = rng.normal(size=tweets)
    favorites = np.floor(np.exp(2.5 + 1.5 * quality + 0.3 * rng.normal(size=tweets))).astype(int)

    features = [
        CandidateAttributes(
            author_id=f"a:{author[t]}",
            created_ms=START_MS - int(t),
            language=LANGUAGES[tweet_language[t]],
            region=REGIONS[tweet_language[t]],
            topics=tuple(TOPICS[topic] for topic in tweet_topics[t]),
            author_followers=int(author[t]) * 10,
        )
        for t in range(tweets)
    ]
    counters = [Counters(favorite=int(count)) for count in favorites]
    corpus = [
        Candidate(f"t:{t}", START_MS, 0, START_MS, attributes=features[t], counters=counters[t], source={"tweets": 1})
        for t in range(tweets)
    ]
    queries = [
        QueryFeatures(
            languages=(LANGUAGES[user_language[u]],),
            region=REGIONS[user_language[u]],
            interests=tuple(TOPICS[topic] for topic in user_topics[u]),
        )
        for u in range(users)
    ]
    shared = (user_topics[:, None, :, None] == tweet_topics[None, :, None, :]).any(axis=3).sum(axis=2)
    readable = [np.flatnonzero(tweet_language == language) for language in range(len(LANGUAGES))]
    examples = []
    for n in range(impressions):
        u = int(rng.integers(users))
        foreign = rng.random() < 0.02 or not len(readable[user_language[u]])
        t = int(rng.integers(tweets)) if foreign else int(rng.choice(readable[user_language[u]]))
        reads = user_language[u] == tweet_language[t]
        chance = (1 / (1 + np.exp(2.2 - 1.4 * quality[t] - 1.2 * shared[u, t]))) if reads else 0.01
        positive = rng.random() < chance
        examples.append(
            Example(
                example_id=example_id(f"r{n // 3}-{u}", f"t:{t}"),
                revision=0,
                surface=surface,
                request_id=f"r{n // 3}-{u}",
                user_id=f"u{u}",
                candidate_id=f"t:{t}",
                position=n % 3,
                event_time_ms=START_MS + n * 100,
                candidate=features[t].features(counters[t]),
                label=Label.POSITIVE if positive else Label.IMPLICIT_NEGATIVE,
                provenance=Provenance.SERVED,
                query=queries[u],
            )
        )
    return TinyWorld(examples, corpus)


def _falling(count: int) -> NDArray[np.float64]:
    weights: NDArray[np.float64] = 1.0 / np.arange(1.0, count + 1)
    return weights * (1.0 / float(weights.sum()))
