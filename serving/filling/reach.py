"""How far into the input topics a bundle's index reaches: claims that hold once enough is applied. Reads no topic."""

import threading
from collections import defaultdict
from collections.abc import Mapping

from schemas.positions import Positions

# a record that cannot be applied holds all later claims back; each of those says more than the ones before it
_MOST_WAITING = 64


class SourceReach:
    """Claims of one bundle's embedder. Any thread."""

    def __init__(self) -> None:
        self._waiting: dict[int, list[tuple[int, Mapping[str, int]]]] = defaultdict(list)
        self._held: dict[str, dict[int, int]] = {}
        self._lock = threading.Lock()

    def claim(self, partition: int, end: int, next_offsets: Mapping[str, int]) -> None:
        """Take in that all that follows from the input before `next_offsets`, by topic, is below `end` of the embeddings topic."""
        with self._lock:
            self._waiting[partition] = [*self._waiting[partition][1 - _MOST_WAITING :], (end, next_offsets)]

    def positions(self, applied: Mapping[int, int]) -> Positions:
        """Return the input positions that an index which has applied everything below these offsets reflects."""
        with self._lock:
            for partition, waiting in self._waiting.items():
                so_far = applied.get(partition, 0)
                for end, next_offsets in waiting:
                    if end <= so_far:
                        self._hold(partition, next_offsets)
                self._waiting[partition] = [claim for claim in waiting if claim[0] > so_far]
            return {topic: dict(offsets) for topic, offsets in self._held.items()}

    def _hold(self, partition: int, next_offsets: Mapping[str, int]) -> None:
        for topic, offset in next_offsets.items():
            held = self._held.setdefault(topic, {})
            held[partition] = max(offset, held.get(partition, 0))
