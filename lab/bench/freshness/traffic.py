"""The events of a run, encoded beforehand: what is preloaded, the open loop with its schedule, and the burst. Sends nothing."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lab.bench.freshness.plan import Plan, Probe, probes
from lab.observed.columns import Floats, Ints
from lab.world.live import Clock, LiveWorld
from lab.world.settings import WorldSettings
from lab.world.world import World
from schemas.codec import encode_mapping
from schemas.records.candidates import Tweet
from schemas.records.feedback import Engagement, EngagementKind
from schemas.topics import ENGAGEMENTS, TWEETS

# engagements go to what is new and popular: age log-normal, and within the seconds around that age in proportion to a power law
AGE_MEDIAN_S = 20.0
AGE_SIGMA = 1.5
SAME_AGE_S = 10.0
POPULARITY_EXPONENT = 1.2
KINDS = (EngagementKind.FAVORITE, EngagementKind.CLICK, EngagementKind.RETWEET, EngagementKind.REPLY)
KIND_SHARES = (0.65, 0.2, 0.08, 0.07)
_USERS = 1_000_000


@dataclass(frozen=True, slots=True)
class Events:
    """Encoded events in order of time: `due_s` float64 [n] from the start, and the topic, key and value of each."""

    due_s: Floats
    topics: Sequence[str]
    keys: Sequence[bytes]
    values: Sequence[bytes]

    def __len__(self) -> int:
        return len(self.keys)


def make_world(seed: int) -> World:
    """Return the world that tweets and users are drawn from: its languages, topics, authors and their followers."""
    return World(WorldSettings(seed=seed, users=1_000, authors=5_000, tweets_per_day=20_000))


class Traffic:
    """Draws and encodes. The same plan gives the same events but for their times, which begin now.

    Attributes:
        start_ms: where the events' times begin, Unix milliseconds. To encode millions takes minutes: they are sent so much later.
    """

    def __init__(self, plan: Plan, world: World) -> None:
        """Draw the attributes that tweets are given, in turn."""
        self._plan = plan
        self.start_ms = time.time_ns() // 1_000_000
        live_world = LiveWorld(world, Clock(unix_ms=0))
        self._attributes: list[dict[str, Any]] = [live_world.tweet(row).to_avro() for row in range(len(world.tweets))]

    def preload(self) -> Events:
        """Return the creates of what is live before the run."""
        rows = range(self._plan.live)
        values = [self._tweet(row, self._name(row), 0.0) for row in rows]
        return Events(np.zeros(len(values)), [TWEETS] * len(values), [self._name(row).encode() for row in rows], values)

    def open_loop(self) -> Events:
        """Return the run's tweets and engagements, warm-up included, on a Poisson schedule."""
        plan = self._plan
        looked_for = probes(plan)
        count = max(0, round(plan.rate_per_s * plan.played_s) - len(looked_for))
        return self._mixed(first=plan.live, count=count, seconds=plan.played_s, looked_for=looked_for)

    def burst(self) -> Events:
        """Return the burst's tweets and engagements; whoever sends them does not heed their schedule."""
        plan = self._plan
        done = plan.live + round(plan.rate_per_s * plan.played_s)
        return self._mixed(first=done, count=plan.burst, seconds=plan.burst / plan.rate_per_s, looked_for=())

    def _name(self, row: int) -> str:
        return f"t:{self._plan.run}-{row}"

    def _tweet(self, row: int, candidate_id: str, due_s: float, **changes: str) -> bytes:
        at_ms = self.start_ms + int(due_s * 1000)
        own = {"candidate_id": candidate_id, "event_time_ms": at_ms, "created_ms": at_ms, "sequence": 0}
        return encode_mapping(Tweet.SUBJECT, {**self._attributes[row % len(self._attributes)], **own, **changes})

    def _mixed(self, *, first: int, count: int, seconds: float, looked_for: Sequence[Probe]) -> Events:
        plan = self._plan
        rng = np.random.default_rng((plan.seed, 2, first))
        created_s = np.sort(rng.random(count)) * seconds
        engaged_s = np.sort(rng.random(round((count + len(looked_for)) * plan.engagements_per_tweet))) * seconds
        targets = engaged_with(engaged_s, created_s, older=first, seed=plan.seed)
        kinds = rng.choice(len(KINDS), len(engaged_s), p=KIND_SHARES).tolist()
        due_s = np.concatenate([created_s, [probe.due_s for probe in looked_for], engaged_s])
        keys = [self._name(first + at).encode() for at in range(count)]
        values = [
            self._tweet(first + at, key.decode(), due) for at, (key, due) in enumerate(zip(keys, created_s.tolist(), strict=True))
        ]
        for at, probe in enumerate(looked_for):
            keys.append(probe.candidate_id.encode())
            values.append(self._tweet(at, probe.candidate_id, probe.due_s, language=probe.language))
        for at, (target, due) in enumerate(zip(targets.tolist(), engaged_s.tolist(), strict=True)):
            name = self._name(target)
            keys.append(name.encode())
            values.append(self._engagement(f"{plan.run}-{first}-{at}", f"u:{at % _USERS}", name, KINDS[kinds[at]], due))
        tweets = count + len(looked_for)
        topics = [TWEETS] * tweets + [ENGAGEMENTS] * len(engaged_s)
        order = np.argsort(due_s, kind="stable")
        places = order.tolist()
        return Events(due_s[order], [topics[at] for at in places], [keys[at] for at in places], [values[at] for at in places])

    def _engagement(self, event_id: str, user_id: str, candidate_id: str, kind: EngagementKind, due_s: float) -> bytes:
        own = {
            "event_id": event_id,
            "user_id": user_id,
            "candidate_id": candidate_id,
            "kind": str(kind),
            "event_time_ms": self.start_ms + int(due_s * 1000),
            "request_id": None,
            "source_time_ms": None,
        }
        return encode_mapping(Engagement.SUBJECT, own)


def engaged_with(engaged_s: Floats, created_s: Floats, *, older: int, seed: int) -> Ints:
    """Return which tweet each engagement goes to, int64 [engagements]: 0 to `older` - 1 were there before, the rest follow.

    Args:
        engaged_s: when each engagement happens, seconds.
        created_s: when each new tweet is created, ascending; none is engaged with before.
        older: how many tweets were there at 0; as if created at the same rate before.
    """
    rng = np.random.default_rng((seed, 3))
    total = older + len(created_s)
    gap_s = (engaged_s.max() if len(engaged_s) else 1.0) / max(len(created_s), 1)
    times = np.concatenate([np.arange(-older, 0) * gap_s, created_s])
    weight = rng.pareto(POPULARITY_EXPONENT, total) + 0.01
    upto = np.concatenate([[0.0], np.cumsum(weight)])
    age_s = AGE_MEDIAN_S * np.exp(AGE_SIGMA * rng.normal(size=len(engaged_s)))
    newest = np.searchsorted(times, engaged_s, side="right")
    oldest = np.clip(np.searchsorted(times, engaged_s - age_s - SAME_AGE_S), 0, np.maximum(newest - 1, 0))
    end = np.clip(np.searchsorted(times, engaged_s - age_s + SAME_AGE_S), oldest + 1, np.maximum(newest, oldest + 1))
    drawn = upto[oldest] + rng.random(len(engaged_s)) * (upto[end] - upto[oldest])
    chosen: Ints = np.clip(np.searchsorted(upto, drawn, side="right") - 1, oldest, end - 1)
    return np.minimum(chosen, total - 1)
