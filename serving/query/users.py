"""What the node knows of users, for the query tower. Holds bytes until a user is asked for; reads no topic.

A state of 200 entries takes half a millisecond to decode and most users are not asked for: the tail stores the record as it came,
and the first query for a user turns it into query features, which are smaller and are kept in its place.
"""

import math
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from itertools import islice

import numpy as np

from schemas.codec import decode
from schemas.errors import InvalidInput
from schemas.features.query import query_features
from schemas.records.users import QueryFeatures, UserEventKind, UserState
from serving.api import InlineUser

_DRAWN_FROM = 10_000


@dataclass(frozen=True, slots=True)
class KnownUser:
    """A state as it was read.

    Attributes:
        features: without context; None for a user never seen, or erased.
        engaged_ms: event time of the newest engagement in it, Unix milliseconds; -1 without one.
        held_from_ms: when this node got the state, if it came for that engagement: nothing in it is newer. Else None.
    """

    features: QueryFeatures | None
    engaged_ms: int = -1
    held_from_ms: int | None = None


class UserStore:
    """User states by user id. One writer; any number of readers."""

    def __init__(self, *, skipped: Callable[[], None] = lambda: None) -> None:
        """Hold nobody yet; `skipped` hears of each state that cannot be read."""
        self._skipped = skipped
        # a record with the time it came at, as a plain tuple: the collector of garbage leaves those alone
        self._states: dict[str, tuple[bytes, int] | KnownUser] = {}
        # by user, the newest engagement that an answer from here has reflected
        self._reflected_ms: dict[str, int] = {}
        self._live_from_ms: float = math.inf
        # held since before the topic is read anew, and not come again yet
        self._unrenewed: set[str] = set()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._states)

    def put(self, user_id: str, state: bytes | None, *, came_ms: int = 0) -> None:
        """Store a user's framed `UserState`, which came at `came_ms`; None forgets the user."""
        with self._lock:
            self._unrenewed.discard(user_id)
            if state is None:
                self._states.pop(user_id, None)
                self._reflected_ms.pop(user_id, None)
            else:
                self._states[user_id] = (state, came_ms)

    def start_over(self) -> None:
        """Hear that all states are read anew, maybe of another topic; those held are good until they have been: see `live_from`."""
        with self._lock:
            self._unrenewed = set(self._states)

    def live_from(self, now_ms: int) -> None:
        """Hear that states come as they are written from now on: what users did before is history, not news.

        Whoever has not come again since `start_over` is forgotten: the null that said so may have been missed.
        """
        self._live_from_ms = now_ms
        gone, self._unrenewed = self._unrenewed, set()
        # one by one: queries need the lock, too
        for user_id in gone:
            self.put(user_id, None)

    def some(self, count: int, rng: np.random.Generator) -> list[str]:
        """Return at most `count` ids of users, drawn without replacement from the first ten thousand held."""
        with self._lock:
            pool = list(islice(self._states, _DRAWN_FROM))
        return [pool[at] for at in rng.permutation(len(pool))[:count]]

    def features(self, user_id: str) -> QueryFeatures | None:
        """Return the user's query features without context; None for a user never seen, or erased."""
        known = self.known(user_id)
        return None if known is None else known.features

    def known(self, user_id: str | None) -> KnownUser | None:
        """Return the user's state as read; None for one that is not held, and for nobody."""
        if user_id is None:
            return None
        stored = self._states.get(user_id)
        if not isinstance(stored, tuple):
            return stored
        known = self._read(*stored)
        with self._lock:
            # unless the tail has put a newer state meanwhile
            if self._states.get(user_id) is stored:
                self._states[user_id] = known
        return known

    def first_to_reflect(self, user_id: str, known: KnownUser) -> bool:
        """Note an answer from a state; True when none before it has reflected the state's newest engagement.

        Only of engagements since `live_from`.
        """
        engaged_ms = known.engaged_ms
        if engaged_ms < self._live_from_ms or engaged_ms <= self._reflected_ms.get(user_id, -1):
            return False
        with self._lock:
            if user_id not in self._states or engaged_ms <= self._reflected_ms.get(user_id, -1):
                return False
            self._reflected_ms[user_id] = engaged_ms
        return True

    def _read(self, stored: bytes, came_ms: int) -> KnownUser:
        try:
            state = decode(UserState, stored)
        except InvalidInput:
            # the record's owner is elsewhere; here the user counts as unseen, and the metric tells
            self._skipped()
            return KnownUser(None)
        # a delete is the newest profile of a user who did not come back; of one never seen both times are -1
        no_profile = state.profile_time_ms <= state.erased_ms
        if no_profile and not any((state.languages, state.region, state.follows, state.interests, state.entries)):
            return KnownUser(None)
        engaged_ms = next((entry.event_time_ms for entry in state.entries if entry.kind is not UserEventKind.IMPRESSION), -1)
        newest_ms = max([state.profile_time_ms, *(entry.event_time_ms for entry in state.entries[:1])])
        return KnownUser(query_features(state), engaged_ms, came_ms if engaged_ms == newest_ms else None)


def features_for_query(
    known: KnownUser | None, inline: InlineUser | None, context: Mapping[str, str]
) -> tuple[QueryFeatures, bool]:
    """Return what the query tower reads, and whether the user is cold: never seen, so answered from inline and context only."""
    if known is not None and known.features is not None:
        return replace(known.features, context=dict(context)), False
    if inline is None:
        return query_features(None, context=context), True
    declared = UserState(
        "",
        languages=inline.languages,
        region=inline.region,
        follows=inline.follows,
        interests=inline.interests,
    )
    return query_features(declared, context=context), True
