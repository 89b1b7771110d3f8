"""The world on any configured surface: what it can show, a log of what was shown, and what answers are truly worth.

All follows from the surface's configuration: the candidate topic says whether tweets, the authors' accounts or articles are shown,
and the feature spec whether the user asks, the tweet just clicked, or both. Publishes nothing; `LiveWorld` plays days of tweets.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from operator import attrgetter
from zlib import crc32

import numpy as np
from numpy.typing import ArrayLike

from lab.observed.columns import Floats, Ints
from lab.observed.log import Tweets
from lab.world.live import Clock
from lab.world.policy import DEFAULT_MIX, PolicyMix, Shelf, Visits, serve
from lab.world.settings import DAY_S
from lab.world.shown import READING_S
from lab.world.simulation import names_of
from lab.world.tweets import TOPICS_PER_TWEET, Catalogue, HiddenTweets, draw_day
from lab.world.vocabulary import sentence
from lab.world.world import World
from schemas.features.catalog import CATALOG
from schemas.records.candidates import Account, Article, CandidateAttributes, Tweet
from schemas.records.feedback import Engagement, EngagementKind, Impression
from schemas.surfaces import Surface
from schemas.tokens import context_token

_ENGAGED = {"tweets": EngagementKind.FAVORITE, "accounts": EngagementKind.FOLLOW, "articles": EngagementKind.CLICK}
# nobody is suggested, or follows, whom they follow already
_MIXES = {"accounts": PolicyMix(followed=0.0, popular=0.4, topical=0.4, recent=0.2)}
_NEVER = -50.0
_W_SHARED_TOPIC = 2.5
_W_SAME_AUTHOR = 1.0


@dataclass(frozen=True, slots=True)
class Question:
    """Who asks, and from which clicked tweet: what `retrieve` is given. `clicked` is a row of the world's tweets, or -1."""

    user: int
    clicked: int
    user_id: str | None
    context: Mapping[str, str] = field(default_factory=dict)


class SurfaceWorld:
    """One surface in the world's first day, which ends now. Two with equal arguments tell the same."""

    def __init__(self, world: World, surface: Surface, clock: Clock) -> None:
        """Draw what can be shown.

        Args:
            clock: maps the world's first day onto Unix time.
        """
        world.reach(DAY_S - 1)
        sources = [source.source for source in CATALOG[surface.feature_spec].query]
        self._asks_context = any(source.startswith("context.") for source in sources)
        self._asks_user = any(not source.startswith("context.") for source in sources)
        self._suggests_authors = surface.candidate_topic == "accounts"
        self._world = world
        self._surface = surface
        self._clock = clock
        self._names = names_of(world)
        # each surface's visits are its own
        self._draw = crc32(surface.name.encode())
        self.catalogue = _catalogue(world, surface.candidate_topic)

    def publications(self) -> Iterator[Tweet | Account | Article]:
        """Yield the create of everything that can be shown, in order of creation."""
        items, names, authors = self.catalogue.items, self._names, self._world.authors
        for row in range(len(items)):
            author = int(items.author[row])
            created_ms = self._clock.to_unix_ms(float(items.created_s[row]))
            topics = tuple(names.topics[topic] for topic in items.topics[row].tolist() if topic >= 0)
            told = CandidateAttributes(
                names.authors[author],
                created_ms,
                names.languages[items.language[row]],
                names.regions[items.region[row]],
                topics,
                sentence(int(items.language[row]), topics[0], row),
                int(authors.followers[author]),
            )
            yield _PUBLISHED[self._surface.candidate_topic](self._id(row), told)

    def log(self, visits: int, *, slots: int = 8) -> list[Impression | Engagement]:
        """Return what the production heuristics showed in the day's second half and what users did, in order of time."""
        rng = self._world.rng(8, self._draw)
        asked = self._questions(visits, rng)
        mix = _MIXES.get(self._surface.candidate_topic, DEFAULT_MIX)
        rows = np.arange(len(self.catalogue.items))
        when = np.array([time_s for _, time_s in asked])
        who = Visits(np.array([question.user for question, _ in asked], np.int64), when)
        shelf = Shelf(rows, np.zeros(len(rows)))
        follows = self._world.users.profiles.follows
        # as many more as may be taken away again
        more = int(follows[who.user].sum(axis=1).max(initial=0)) if self._suggests_authors else 0
        drawn = serve(self._world.users.profiles, self.catalogue.items, shelf, who, k=slots + more, rng=rng, mix=mix)
        events: list[Impression | Engagement] = []
        for visit, (question, time_s) in enumerate(asked):
            shown = drawn[visit][drawn[visit] >= 0]
            if self._suggests_authors:
                shown = shown[~follows[question.user, self.catalogue.items.author[shown]]]
            shown = shown[:slots]
            times_s = time_s + READING_S * np.arange(len(shown))
            engaged = rng.random(len(shown)) < self._p(question, shown, times_s)
            delays_s = rng.exponential(self._world.settings.delay_median_s, len(shown))
            token = context_token(question.context) if question.context else None
            for position, row in enumerate(shown.tolist()):
                shown_s, user_id = float(times_s[position]), self._names.users[question.user]
                impression = Impression(
                    f"{self._surface.name}-{visit}",
                    self._id(row),
                    user_id,
                    self._surface.name,
                    position,
                    self._clock.to_unix_ms(shown_s),
                    query_token=token,
                )
                events.append(impression)
                if engaged[position]:
                    events.append(self._engagement(impression, shown_s + float(delays_s[position])))
        return sorted(events, key=attrgetter("event_time_ms"))

    def questions(self, count: int) -> list[Question]:
        """Return other questions than the log's, asked at the day's end."""
        return [question for question, _ in self._questions(count, self._world.rng(9, self._draw), from_s=DAY_S - 1)]

    def worth(self, question: Question, candidate_ids: Sequence[str] | None = None) -> Floats:
        """Return the true probability, float64 [n], that who asks engages with each candidate; with all of them by default.

        An id that is not of this surface is worth nothing.
        """
        if candidate_ids is None:
            return self._p(question, np.arange(len(self.catalogue.items)), DAY_S)
        row_of = {self._id(row): row for row in range(len(self.catalogue.items))}
        known = np.array([row_of.get(name, -1) for name in candidate_ids], np.int64)
        return np.where(known >= 0, self._p(question, np.maximum(known, 0), DAY_S), 0.0)

    def _questions(self, count: int, rng: np.random.Generator, *, from_s: float = DAY_S / 2) -> list[tuple[Question, float]]:
        """Return who asks when, in order of time; without those who have no tweet to click on, where one is asked from."""
        rate = self._world.users.visit_rate
        user = rng.choice(len(rate), count, p=rate / rate.sum())
        visits = Visits(user, np.sort(from_s + rng.random(count) * (DAY_S - from_s)))
        clicked = np.full((count, 1), -1)
        if self._asks_context:
            alive = self._world.tweets.alive(from_s)
            clicked = serve(
                self._world.users.profiles, self._world.tweets, Shelf(alive, np.zeros(len(alive))), visits, k=1, rng=rng
            )
        return [
            (self._question(who, tweet), time_s)
            for who, time_s, tweet in zip(user.tolist(), visits.time_s.tolist(), clicked[:, 0].tolist(), strict=True)
            if tweet >= 0 or not self._asks_context
        ]

    def _question(self, user: int, clicked: int) -> Question:
        tweets, names = self._world.tweets, self._names
        user_id = names.users[user] if self._asks_user else None
        if clicked < 0:
            return Question(user, clicked, user_id)
        context = {
            "author_id": names.authors[tweets.author[clicked]],
            "language": names.languages[tweets.language[clicked]],
            "topic": names.topics[tweets.topics[clicked, 0]],
        }
        return Question(user, clicked, user_id, context)

    def _p(self, question: Question, rows: Ints, times_s: ArrayLike) -> Floats:
        items, tweets = self.catalogue.items, self._world.tweets
        leaning = np.zeros(len(rows))
        if question.clicked >= 0:
            topics = items.topics[rows]
            # what the click was about; a missing topic is -1
            leaning += _W_SHARED_TOPIC * (topics == tweets.topics[question.clicked, 0]).any(axis=1)
            leaning += _W_SAME_AUTHOR * (items.author[rows] == tweets.author[question.clicked])
        if self._suggests_authors:
            leaning[self._world.users.profiles.follows[question.user, items.author[rows]]] = _NEVER
        return self._world.probability(question.user, rows, times_s, of=self.catalogue, leaning=leaning)

    def _engagement(self, impression: Impression, time_s: float) -> Engagement:
        kind = _ENGAGED[self._surface.candidate_topic]
        return Engagement(
            f"{impression.request_id}/{impression.candidate_id}/{kind}",
            impression.user_id,
            impression.candidate_id,
            kind,
            max(self._clock.to_unix_ms(time_s), impression.event_time_ms),
            impression.request_id,
        )

    def _id(self, row: int) -> str:
        return f"{self._surface.id_prefix}{row}"


def _tweet(name: str, told: CandidateAttributes) -> Tweet:
    at_ms, said = told.created_ms, (told.language, told.region, told.topics, told.text, told.author_followers)
    return Tweet(name, at_ms, 0, told.author_id, at_ms, False, *said)


def _account(name: str, told: CandidateAttributes) -> Account:
    at_ms, said = told.created_ms, (told.language, told.region, told.topics, told.text, told.author_followers)
    return Account(name, at_ms, 0, at_ms, False, *said)


def _article(name: str, told: CandidateAttributes) -> Article:
    at_ms, said = told.created_ms, (told.language, told.region, told.topics, told.text, told.author_followers)
    return Article(name, at_ms, 0, told.author_id, at_ms, False, *said)


_PUBLISHED: Mapping[str, Callable[[str, CandidateAttributes], Tweet | Account | Article]] = {
    "tweets": _tweet,
    "accounts": _account,
    "articles": _article,
}


def _catalogue(world: World, topic: str) -> Catalogue:
    """Return what the surfaces of a candidate topic can show: the first day's tweets or articles, or every author's account."""
    if topic == "tweets":
        return Catalogue(world.tweets, world.hidden)
    if topic == "articles":
        return Catalogue(*draw_day(world.settings, world.authors, world.drift.trends(0), 0, world.rng(7)))
    authors, count = world.authors, len(world.authors)
    items = Tweets(
        author=np.arange(count),
        language=authors.language,
        region=authors.region,
        topics=np.argsort(-authors.topic_weights, axis=1)[:, :TOPICS_PER_TWEET],
        created_s=np.zeros(count),
        dead_s=np.full(count, np.inf),
        deleted=np.zeros(count, np.bool_),
    )
    return Catalogue(items, HiddenTweets(authors.quality, np.zeros(count)))
