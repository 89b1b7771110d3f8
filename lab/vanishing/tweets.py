"""The tweets and readers of a run, drawn from a world. Publishes nothing."""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from lab.bench.freshness.traffic import make_world
from lab.vanishing.plan import Plan
from lab.world.live import Clock, LiveWorld
from schemas.features.query import query_features
from schemas.records.candidates import Counters, Tweet
from schemas.records.users import MAX_QUERY_FOLLOWS, QueryFeatures, User, UserState
from schemas.towers import Towers

PROBE_LANGUAGE = "x-probe"
_OLDEST_S = 3_600.0
_PAIRS_LOOKED_AT = (60, 2_000)


@dataclass(frozen=True, slots=True)
class Reader:
    """Somebody who asks: the profile as published, and as a query tower reads it."""

    user: User
    features: QueryFeatures


class Tweets:
    """Draws tweets; any thread."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._world = LiveWorld(make_world(plan.seed), Clock(unix_ms=0))
        self._numbers = itertools.count()
        self.readers = [
            Reader(
                user,
                query_features(
                    UserState(
                        user.user_id,
                        languages=user.languages,
                        region=user.region,
                        follows=user.follows[:MAX_QUERY_FOLLOWS],
                        interests=user.interests,
                    )
                ),
            )
            for user in self._world.users()
        ]

    def corpus(self, now_ms: int) -> Iterator[Tweet]:
        """Yield what is there first: the last minute at the live rate, the rest over the hour before."""
        fresh = min(self._plan.corpus, round(self._plan.tweets_per_s * self._plan.fresh_s))
        older_s = np.linspace(_OLDEST_S, self._plan.fresh_s, self._plan.corpus - fresh, endpoint=False)
        newer_s = np.linspace(self._plan.fresh_s, 0.0, fresh, endpoint=False)
        for age_s in (*older_s.tolist(), *newer_s.tolist()):
            yield self.next(now_ms, created_ms=now_ms - round(age_s * 1000))

    def next(self, now_ms: int, *, created_ms: int | None = None, name: str | None = None, like: int | None = None) -> Tweet:
        """Return a tweet of now: the world's next one's attributes, or those of row `like`, under an id of the run's."""
        number = next(self._numbers)
        drawn = self._world.tweet(number % len(self._world.world.tweets) if like is None else like)
        at_ms = now_ms if created_ms is None else created_ms
        return replace(drawn, candidate_id=name or f"t:v{number}", event_time_ms=now_ms, created_ms=at_ms, sequence=0)

    def probe(self, now_ms: int, number: int) -> Tweet:
        """Return a tweet in a language of its own: it is found by that, whatever its score."""
        return replace(self.next(now_ms, name=f"t:probe-{number}"), language=f"{PROBE_LANGUAGE}-{number}")

    def best_for_all(self, towers: list[Towers]) -> tuple[Reader, int]:
        """Return a reader, and the row of a tweet that each of the towers puts near the top for them."""
        people, rows = _PAIRS_LOOKED_AT
        readers = self.readers[:people]
        features = [self._world.tweet(row).attributes().features(Counters()) for row in range(rows)]
        worst = np.zeros((people, rows), np.int64)
        for pair in towers:
            scores = pair.embed_queries([reader.features for reader in readers]) @ pair.embed_candidates(features).T
            worst = np.maximum(worst, np.argsort(np.argsort(-scores, axis=1), axis=1))
        reader, row = np.unravel_index(int(worst.argmin()), worst.shape)
        return readers[int(reader)], int(row)
