"""Epochs and the choice of one: which bundle, with which index, answers a query. Frozen values; nothing here changes one."""

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from schemas.features.hashing import canary_bucket
from schemas.positions import Positions, first_missing
from schemas.records.users import QueryFeatures
from schemas.surfaces import Surface
from serving.api import Freshness
from serving.index import CandidateIndex
from serving.query.errors import BundleNotHeld, NodeBehind, NothingLive, UnknownSurface, WritesMissing


class QueryTower(Protocol):
    """What a query needs of a bundle's towers."""

    def embed_queries(self, features: list[QueryFeatures]) -> NDArray[np.float32]:
        """Return unit vectors, float32 [n, dim]."""
        ...


class IndexSource(Protocol):
    """Tells how current an index is, at any time."""

    def freshness(self) -> Freshness:
        """Return what an answer says of its index."""
        ...

    def as_of(self) -> Positions:
        """Return the positions in the input topics that the index reflects by now."""
        ...


@dataclass(frozen=True, slots=True)
class Epoch:
    """Everything an answer comes from: a bundle's towers and the index filled by exactly that bundle."""

    bundle: str
    towers: QueryTower
    index: CandidateIndex
    source: IndexSource

    def reflecting(self, wanted: Positions) -> Positions:
        """Return the input positions that the index reflects; raises `WritesMissing` where they fall short of `wanted`."""
        held = self.source.as_of()
        if missing := first_missing(wanted, held):
            topic, partition, offset, have = missing
            raise WritesMissing(
                f"the index of bundle {self.bundle} reflects {topic}/{partition} up to offset {have}, not yet {offset}; "
                "ask again, or allow more time by max_wait_s"
            )
        return held


def epoch_name(bundle: str | None, revision: int) -> str:
    """Return what log lines call an epoch: the bundle that answers, and the revision it was chosen by."""
    return f"{bundle}@{revision}"


@dataclass(frozen=True, slots=True)
class Canary:
    """An epoch that a sticky share of the users is answered from."""

    epoch: Epoch
    salt: str
    share_bp: int


@dataclass(frozen=True, slots=True)
class Routing:
    """Which epoch answers whom on one surface, at one revision. Replaced whole: a query reads it once.

    Attributes:
        revision: the rollout revision in force here.
        live: answers whoever no canary picks; None before the first bundle is live and filled.
        held: every filled epoch by bundle, for callers that pin one.
        waiting_for: why `live` is None, for people.
    """

    surface: Surface
    revision: int = 0
    live: Epoch | None = None
    canaries: tuple[Canary, ...] = ()
    held: Mapping[str, Epoch] = field(default_factory=dict)
    waiting_for: str = "no bundle is live on this surface yet; start a rollout with `roost rollout start`"

    def choose(self, user_id: str | None, *, pin: str | None = None, min_revision: int | None = None) -> Epoch:
        """Return the epoch that answers.

        Raises:
            NodeBehind, BundleNotHeld, NothingLive: see `serving.query.errors`.
        """
        if min_revision is not None and self.revision < min_revision:
            raise NodeBehind(
                f"this node acts by revision {self.revision} of {self.surface.name}, not yet {min_revision}; ask again or elsewhere"
            )
        if pin is not None:
            if pin not in self.held:
                raise BundleNotHeld(f"bundle {pin} has no full index on this node; it holds {', '.join(self.held) or 'none'}")
            return self.held[pin]
        if self.live is None:
            raise NothingLive(f"{self.surface.name}: {self.waiting_for}")
        if user_id is not None:
            for canary in self.canaries:
                if canary_bucket(canary.salt, user_id) < canary.share_bp:
                    return canary.epoch
        return self.live


class RoutingTable:
    """The current routing of each surface. One assignment flips a surface; readers take the routing once."""

    def __init__(self, routings: Mapping[str, Routing]) -> None:
        self._routings = dict(routings)
        self.flips = 0
        self._lock = threading.Lock()

    def get(self, surface: str) -> Routing:
        """Return the surface's routing; raises `UnknownSurface` for one that this node does not serve."""
        routing = self._routings.get(surface)
        if routing is None:
            raise UnknownSurface(f"no surface {surface[:64]!r} here; this node serves {', '.join(self._routings) or 'none'}")
        return routing

    def put(self, routing: Routing) -> None:
        """Replace a surface's routing whole."""
        with self._lock:
            old = self._routings[routing.surface.name]
            # replacing the value of an existing key is one step for every reader
            self._routings[routing.surface.name] = routing
            if old.live is not None and routing.live is not None and old.live.bundle != routing.live.bundle:
                self.flips += 1
