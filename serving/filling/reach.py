"""How far into the input topics a bundle's index reaches: claims that hold once enough is applied. Reads no topic."""

import threading
from collections import defaultdict
from collections.abc import Mapping
from typing import NamedTuple

from schemas.positions import Positions

# a record that cannot be applied holds all later claims back; each of those says more than the ones before it
_MOST_WAITING = 64
# of claims that do not say of which topic they are
_UNTOLD = ""


class SourceReach:
    """Claims of one bundle's embedder. Any thread."""

    def __init__(self) -> None:
        self._waiting: dict[int, list[_Claim]] = defaultdict(list)
        # by topic, by its id, by partition
        self._held: dict[str, dict[str, dict[int, int]]] = {}
        self._lock = threading.Lock()

    def claim(self, partition: int, end: int, next_offsets: Mapping[str, int], source_ids: Mapping[str, str] | None = None) -> None:
        """Take in that all that follows from the input before `next_offsets`, by topic, is below `end` of the embeddings topic.

        Args:
            source_ids: of the topics that they are offsets of, where the claim says so.
        """
        with self._lock:
            self._waiting[partition] = [
                *self._waiting[partition][1 - _MOST_WAITING :],
                _Claim(end, next_offsets, source_ids or {}),
            ]

    def positions(self, applied: Mapping[int, int], source_ids: Mapping[str, str] | None = None) -> Positions:
        """Return the input positions that an index which has applied everything below these offsets reflects.

        Args:
            source_ids: of the input topics that there are now, as far as known: offsets of a topic that is gone reach nowhere.
        """
        with self._lock:
            for partition, waiting in self._waiting.items():
                so_far = applied.get(partition, 0)
                for claim in waiting:
                    if claim.end <= so_far:
                        self._hold(partition, claim)
                self._waiting[partition] = [claim for claim in waiting if claim.end > so_far]
            known = source_ids or {}
            return {topic: dict(_of_topic(held, known.get(topic))) for topic, held in self._held.items()}

    def _hold(self, partition: int, claim: "_Claim") -> None:
        for topic, offset in claim.next_offsets.items():
            by_id = self._held.setdefault(topic, {})
            source_id = claim.source_ids.get(topic, _UNTOLD)
            # the newest last
            held = by_id[source_id] = by_id.pop(source_id, {})
            held[partition] = max(offset, held.get(partition, 0))


class _Claim(NamedTuple):
    end: int
    next_offsets: Mapping[str, int]
    source_ids: Mapping[str, str]


def _of_topic(held: dict[str, dict[int, int]], source_id: str | None) -> Mapping[int, int]:
    if source_id is not None and held.keys() != {_UNTOLD}:
        return held.get(source_id, {})
    # of a broker that has told nothing yet, or claims of an earlier release alone
    return held[next(reversed(held))]
