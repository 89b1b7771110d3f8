"""The live candidates of one surface in one partition, and how many there are. Holds no attributes and no vectors."""

import heapq
from collections.abc import Iterator

from schemas.surfaces import Surface


class LiveIds:
    """Ids inside the surface's recency window. Leaving the window is noticed when somebody asks."""

    def __init__(self, surface: Surface) -> None:
        self._surface = surface
        self._created_ms: dict[str, int] = {}
        # (end of the window, id); an entry whose id was created anew since is passed over
        self._ends: list[tuple[int, str]] = []

    def add(self, candidate_id: str, created_ms: int) -> None:
        """Add an id, or note that it was created at another time."""
        if self._created_ms.get(candidate_id) != created_ms:
            self._created_ms[candidate_id] = created_ms
            if self._surface.recency_window_s:
                heapq.heappush(self._ends, (self._end_ms(created_ms), candidate_id))

    def discard(self, candidate_id: str) -> None:
        """Remove an id; a missing one is passed over."""
        self._created_ms.pop(candidate_id, None)

    def count(self, now_ms: int) -> int:
        """Return how many ids are live at `now_ms` (Unix milliseconds)."""
        self._drop_past(now_ms)
        return len(self._created_ms)

    def ids(self, now_ms: int) -> Iterator[str]:
        """Return the ids live at `now_ms`, in the order they came; unharmed by changes meanwhile."""
        self._drop_past(now_ms)
        return iter(list(self._created_ms))

    def _drop_past(self, now_ms: int) -> None:
        while self._ends and self._ends[0][0] <= now_ms:
            end_ms, candidate_id = heapq.heappop(self._ends)
            created_ms = self._created_ms.get(candidate_id)
            if created_ms is not None and self._end_ms(created_ms) == end_ms:
                del self._created_ms[candidate_id]

    def _end_ms(self, created_ms: int) -> int:
        return created_ms + int(self._surface.recency_window_s * 1000)
