"""The usual way's writer, a process of its own: embeds tweets into one index, and after a swap all its rows again. Keeps no index.

What it knows of a walk under way dies with it, as in a job that nobody wrote a checkpoint for: started again, it walks from the
beginning. Its offsets are kept by whoever applied the rows, as a consumer group's would be.
"""

import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Protocol

import numpy as np

from schemas.bundle import read_bundle
from schemas.codec import decode
from schemas.errors import InvalidInput
from schemas.records.candidates import Counters, Tweet
from schemas.topics import TWEETS
from schemas.towers import Towers
from schemas.wire.inbound import InboundRecord
from schemas.wire.tail import TailReader
from serving.index import Rows

_SLICE = 64
_POLL_S = 0.02


@dataclass(frozen=True, slots=True)
class Order:
    """What the writer does.

    Attributes:
        bundle: whose tower embeds.
        walk: embed every row again, oldest first.
        offsets: next offset by partition of what the index has; none for an empty one.
    """

    bootstrap: str
    registry: Path
    surface: str
    bundle: str
    walk: bool
    rows_per_s: float
    partitions: int
    offsets: Mapping[int, int]


@dataclass(frozen=True, slots=True)
class Written:
    """Rows for the index, with the offsets that are in it then; and how much of a walk is done, of how much."""

    rows: Rows
    offsets: Mapping[int, int]
    walked: int = 0
    to_walk: int = 0


def write(connection: Connection, order: Order) -> None:
    """Run the writer's process: send what is written until the other end closes; a message is the bundle to swap to."""
    writer = Writer(connection, order)
    with TailReader(order.bootstrap, TWEETS, range(order.partitions)) as reader:
        while True:
            writer.take(reader.poll(1_000, _POLL_S), reader.next_offsets)
            if connection.poll():
                writer.swap_to(connection.recv())
            writer.walk_on(whole=all(reader.next_offsets[p] >= end for p, end in order.offsets.items()))


class Sending(Protocol):
    """The end of a pipe that rows go into."""

    def send(self, written: Written, /) -> None:
        """Send rows."""
        ...


class Writer:
    """What the process does with records, without a broker or a pipe of its own."""

    def __init__(self, connection: Sending, order: Order) -> None:
        self._connection = connection
        self._order = order
        self._towers = self._load(order.bundle)
        self._known: dict[str, Tweet] = {}
        self._offsets = dict(order.offsets)
        self._begin_walk_when_whole = order.walk
        self._walk: deque[str] = deque()
        self._to_walk = 0
        self._walked_until_s = 0.0

    def take(self, records: Sequence[InboundRecord], next_offsets: Mapping[int, int]) -> None:
        """Embed tweets as they come, and remember them; those that the index has already are only remembered."""
        new: list[Tweet] = []
        for record in records:
            try:
                tweet = decode(Tweet, record.value or b"")
            except InvalidInput:
                continue
            self._known[tweet.candidate_id] = tweet
            if record.offset >= self._order.offsets.get(record.partition, 0):
                new.append(tweet)
        if new:
            self._offsets = {p: max(offset, self._offsets.get(p, 0)) for p, offset in next_offsets.items()}
            self._send(new)

    def swap_to(self, bundle: str) -> None:
        """Embed by another tower from now on, and walk."""
        self._towers = self._load(bundle)
        self._begin_walk_when_whole = True

    def walk_on(self, *, whole: bool) -> None:
        """Embed the next rows of a walk, at its pace; it begins when everything the index has is known (`whole`)."""
        if self._begin_walk_when_whole and whole:
            self._begin_walk_when_whole = False
            self._walk = deque(self._known)
            self._to_walk = len(self._walk)
            self._walked_until_s = time.monotonic()
        if not self._walk or time.monotonic() < self._walked_until_s:
            return
        self._walked_until_s += _SLICE / self._order.rows_per_s
        piece = [self._known[self._walk.popleft()] for _ in range(min(_SLICE, len(self._walk)))]
        self._send(piece, walked=self._to_walk - len(self._walk))

    def _send(self, tweets: list[Tweet], *, walked: int = 0) -> None:
        vectors = self._towers.embed_candidates([tweet.attributes().features(Counters()) for tweet in tweets])
        rows = Rows(
            candidate_ids=[tweet.candidate_id for tweet in tweets],
            vectors=vectors,
            versions=np.array([tweet.version for tweet in tweets], np.int64),
            created_ms=np.array([tweet.created_ms for tweet in tweets], np.int64),
            languages=[tweet.language for tweet in tweets],
            author_ids=[tweet.author_id for tweet in tweets],
            payloads=[self._towers.bundle_id.encode()] * len(tweets),
        )
        self._connection.send(Written(rows, self._offsets, walked, self._to_walk))

    def _load(self, bundle: str) -> Towers:
        return Towers(read_bundle(self._order.registry, self._order.surface, bundle))
