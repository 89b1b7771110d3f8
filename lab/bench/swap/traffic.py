"""A corpus that turns over at a constant size: each new tweet comes with the delete of the oldest. Sends on a schedule."""

import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

import numpy as np

from lab.bench.freshness.traffic import KIND_SHARES, KINDS, make_world
from lab.bench.swap.plan import Plan
from lab.load import Encoded, EncodedSender, at_rate, publish
from lab.world.live import Clock, LiveWorld
from schemas.codec import encode, encode_mapping
from schemas.records.candidates import Tweet
from schemas.records.feedback import Engagement
from schemas.topics import ENGAGEMENTS, TWEETS


@dataclass(frozen=True, slots=True)
class Load:
    """What was acknowledged, how many of it a second, and how far the sending fell behind its schedule at most."""

    acknowledged: int
    rate_per_s: float
    late_s: float


EVENTS_A_ROUND = 8
"""A tweet, a delete, and engagements with the newer half."""


class Turnover:
    """Draws and encodes events. Not thread-safe."""

    def __init__(self, live: int, *, seed: int) -> None:
        world = LiveWorld(make_world(seed), Clock(unix_ms=0))
        self._attributes: list[dict[str, Any]] = [world.tweet(row).to_avro() for row in range(len(world.world.tweets))]
        self._live = live
        self._rng = np.random.default_rng((seed, 21))
        self._alive: deque[str] = deque()
        self._made = 0

    def corpus(self) -> Iterator[Encoded]:
        """Return the creates of what is live first."""
        for _ in range(self._live):
            yield self._create()

    def endless(self) -> Iterator[Encoded]:
        """Return events without an end, each with the time it is drawn at."""
        engagements = 0
        while True:
            yield self._create()
            yield self._delete()
            for _ in range(EVENTS_A_ROUND - 2):
                engagements += 1
                yield self._engage(engagements)

    def _create(self) -> Encoded:
        name = f"t:swap-{self._made}"
        at_ms = time.time_ns() // 1_000_000
        own = {"candidate_id": name, "event_time_ms": at_ms, "created_ms": at_ms, "sequence": 0}
        value = encode_mapping(Tweet.SUBJECT, {**self._attributes[self._made % len(self._attributes)], **own})
        self._made += 1
        self._alive.append(name)
        return Encoded(TWEETS, name.encode(), value)

    def _delete(self) -> Encoded:
        name = self._alive.popleft()
        at_ms = time.time_ns() // 1_000_000
        return Encoded(TWEETS, name.encode(), encode(Tweet(name, at_ms, 0, "", 0, deleted=True)))

    def _engage(self, number: int) -> Encoded:
        # the newer, the likelier; none that is about to be deleted
        back = int(self._rng.beta(1.0, 6.0) * len(self._alive) * 0.9)
        name = self._alive[-1 - back]
        kind = KINDS[int(self._rng.choice(len(KINDS), p=KIND_SHARES))]
        at_ms = time.time_ns() // 1_000_000
        event = Engagement(f"swap-{number}", f"u:{number % 100_000}", name, kind, event_time_ms=at_ms)
        return Encoded(ENGAGEMENTS, name.encode(), encode(event))


def send(connection: Connection, plan: Plan, bootstrap: str) -> None:
    """Run the sender's process: preload, say how many, wait for a start (Unix seconds), send until any message, report the load."""
    turnover = Turnover(plan.live, seed=plan.seed)
    sender = EncodedSender(bootstrap)
    connection.send(publish(turnover.corpus(), sender).acknowledged)
    start_s: float = connection.recv()
    schedule = at_rate(plan.events_per_s, start_s=start_s)
    report = publish(turnover.endless(), sender, schedule=schedule, should_stop=connection.poll)
    connection.send(Load(report.acknowledged, report.rate_per_s, report.late_s))
