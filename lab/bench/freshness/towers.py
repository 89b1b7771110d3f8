"""Small real towers for a benchmark: the trainer's own recipe on what users of a world were shown. Caches nothing."""

from pathlib import Path

import numpy as np

from lab.bench.freshness.traffic import make_world
from lab.world.live import Clock, LiveWorld
from lab.world.settings import HOUR_S
from schemas.features.query import query_features
from schemas.records.candidates import Candidate, Counters
from schemas.records.feedback import Example, Label, Provenance, example_id
from schemas.records.users import UserState
from schemas.surfaces import Surface
from trainer.recipes import PretrainConfig, pretrain
from trainer.training import TrainingData

IMPRESSIONS = 12_000
SHOWN_PER_REQUEST = 8
_NOW_S = 20 * HOUR_S
_EVALUATION_SHARE = 0.2


def pretrained(registry: Path, surface: Surface, *, seed: int) -> str:
    """Pre-train towers on impressions of a world, publish the bundle and return its id. Some ten seconds on an idle core."""
    return pretrain(surface, shown(surface, seed), PretrainConfig(seed=seed), registry=registry)


def retrained(registry: Path, surface: Surface, *, seed: int) -> str:
    """Pre-train on the same impressions from other initial weights; else as `pretrained`."""
    return pretrain(surface, shown(surface, seed), PretrainConfig(seed=seed + 1), registry=registry)


def shown(surface: Surface, seed: int, *, impressions: int = IMPRESSIONS) -> TrainingData:
    """Return a world's impressions: three in four tweets are in a language the user declares, as a policy would serve.

    The labels follow the world's truth.
    """
    world = make_world(seed)
    rng = world.rng(9)
    live = LiveWorld(world, Clock(unix_ms=0))
    alive = world.tweets.alive(_NOW_S)
    popularity = np.exp(1.5 * world.hidden.quality[alive] + rng.normal(size=len(alive)))
    corpus = [_candidate(live, row, int(count)) for row, count in zip(alive.tolist(), popularity.tolist(), strict=True)]
    users = list(live.users())
    queries = [
        query_features(UserState(u.user_id, languages=u.languages, region=u.region, follows=u.follows, interests=u.interests))
        for u in users
    ]
    by_language = [np.flatnonzero(world.tweets.language[alive] == n) for n in range(world.settings.languages)]
    examples = []
    for number in range(impressions):
        request = number // SHOWN_PER_REQUEST
        user = request * 7919 % len(users)
        declared = np.flatnonzero(world.users.profiles.languages[user])
        own = by_language[int(rng.choice(declared))]
        at = int(rng.choice(own)) if len(own) and rng.random() < 0.75 else int(rng.integers(len(alive)))
        p = float(world.probability(user, alive[at], _NOW_S))
        candidate = corpus[at]
        features = candidate.features()
        if features is None:
            raise RuntimeError("a candidate of the world has attributes")
        examples.append(
            Example(
                example_id(f"r{request}", candidate.candidate_id),
                revision=0,
                surface=surface.name,
                request_id=f"r{request}",
                user_id=users[user].user_id,
                candidate_id=candidate.candidate_id,
                position=number % SHOWN_PER_REQUEST,
                event_time_ms=number,
                candidate=features,
                label=Label.POSITIVE if rng.random() < p else Label.IMPLICIT_NEGATIVE,
                provenance=Provenance.SERVED,
                query=queries[user],
            )
        )
    split = int(len(examples) * (1 - _EVALUATION_SHARE))
    return TrainingData(examples[:split], examples[split:], corpus)


def _candidate(live: LiveWorld, row: int, favorites: int) -> Candidate:
    tweet = live.tweet(row)
    return Candidate(
        tweet.candidate_id,
        tweet.event_time_ms,
        0,
        tweet.event_time_ms,
        attributes=tweet.attributes(),
        counters=Counters(favorite=favorites, click=favorites // 3),
    )
