"""When a deleted user's marker may go: once nothing of before the delete can be redelivered. Writes nothing itself."""

import heapq
from collections.abc import Iterator

from schemas.codec import decode
from schemas.records.users import UserState
from schemas.topics import DAY_MS, INPUTS_KEPT_MS, USER_STATES
from streams.state import StateStore, read_state

KEPT_MS = INPUTS_KEPT_MS + DAY_MS
"""The retention of impressions and engagements, and the day until the broker has closed their segment."""

# a marker's frame: an id of at most 64 bytes, three numbers, five empty fields. Longer states hold more, and are not decoded
_MAX_MARKER_BYTES = 128


class Markers:
    """The states of one partition that hold nothing but that their user was deleted."""

    def __init__(self, store: StateStore) -> None:
        """Find those that the store holds."""
        self._store = store
        self._due: list[tuple[int, str]] = []
        for user_id, data in store.scan():
            if len(data) <= _MAX_MARKER_BYTES:
                self.note(read_state(UserState, USER_STATES, user_id, data))

    def note(self, state: UserState, now_ms: int = 0) -> None:
        """Take note of a state that was put into the store.

        Args:
            now_ms: when. Old data may tell of a delete of long ago, and what came before it comes behind it: a restored state does
                not say when that was.
        """
        if is_marker(state):
            heapq.heappush(self._due, (max(state.erased_ms, now_ms) + KEPT_MS, state.user_id))

    def due(self, now_ms: int) -> Iterator[str]:
        """Yield the ids whose marker has stood for its time and says nothing more; each once."""
        while self._due and self._due[0][0] <= now_ms:
            _, user_id = heapq.heappop(self._due)
            data = self._store.get(user_id)
            if data is None or len(data) > _MAX_MARKER_BYTES:
                continue
            state = decode(UserState, data)
            # the user may have come back, or been deleted once more
            if is_marker(state) and state.erased_ms + KEPT_MS <= now_ms:
                yield user_id


def is_marker(state: UserState) -> bool:
    """Tell whether a state says nothing but that its user was deleted."""
    return state.erased_ms >= 0 and not any((state.languages, state.region, state.follows, state.interests, state.entries))
