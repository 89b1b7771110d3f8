"""What the node knows of users, for the query tower. Holds bytes until a user is asked for; reads no topic.

A state of 200 entries takes half a millisecond to decode and most users are not asked for: the tail stores the record as it came,
and the first query for a user turns it into query features, which are smaller and are kept in its place.
"""

import threading
from collections.abc import Mapping
from dataclasses import replace
from itertools import islice

import numpy as np

from schemas.codec import decode
from schemas.errors import InvalidInput
from schemas.features.query import query_features
from schemas.records.users import QueryFeatures, UserState
from serving.api import InlineUser

_DRAWN_FROM = 10_000


class UserStore:
    """User states by user id. One writer; any number of readers."""

    def __init__(self) -> None:
        self._states: dict[str, bytes | QueryFeatures | None] = {}
        self._lock = threading.Lock()
        self.undecodable = 0

    def __len__(self) -> int:
        return len(self._states)

    def put(self, user_id: str, state: bytes | None) -> None:
        """Store a user's framed `UserState`; None forgets the user."""
        with self._lock:
            if state is None:
                self._states.pop(user_id, None)
            else:
                self._states[user_id] = state

    def some(self, count: int, rng: np.random.Generator) -> list[str]:
        """Return at most `count` ids of users, drawn without replacement from the first ten thousand held."""
        with self._lock:
            pool = list(islice(self._states, _DRAWN_FROM))
        return [pool[at] for at in rng.permutation(len(pool))[:count]]

    def features(self, user_id: str) -> QueryFeatures | None:
        """Return the user's query features without context; None for a user never seen, or erased."""
        stored = self._states.get(user_id)
        if not isinstance(stored, bytes):
            return stored
        features = self._decoded(stored)
        with self._lock:
            # unless the tail has put a newer state meanwhile
            if self._states.get(user_id) is stored:
                self._states[user_id] = features
        return features

    def _decoded(self, stored: bytes) -> QueryFeatures | None:
        try:
            state = decode(UserState, stored)
        except InvalidInput:
            # the record's owner is elsewhere; here the user counts as unseen, and the metric tells
            self.undecodable += 1
            return None
        never_seen = state.profile_time_ms < 0 and not state.entries
        return None if never_seen else query_features(state)


def features_for_query(
    users: UserStore, user_id: str | None, inline: InlineUser | None, context: Mapping[str, str]
) -> tuple[QueryFeatures, bool]:
    """Return what the query tower reads, and whether the user is cold: never seen, so answered from inline and context only."""
    known = None if user_id is None else users.features(user_id)
    if known is not None:
        return replace(known, context=dict(context)), False
    if inline is None:
        return query_features(None, context=context), True
    declared = UserState(
        user_id or "",
        languages=inline.languages,
        region=inline.region,
        follows=inline.follows,
        interests=inline.interests,
    )
    return query_features(declared, context=context), True
