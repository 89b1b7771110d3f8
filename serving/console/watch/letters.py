"""How many dead letters are kept, by topic: read as they come and counted by their keys. Shows none of them, removes none.

The ends of their topics say too much: an entry that was sent again has a null behind it, and roles write nulls to silent
partitions.
"""

from collections.abc import Iterable, Mapping
from typing import Protocol

from schemas.wire.inbound import InboundRecord
from serving.console.readings import DEAD_LETTERS

# a console that starts beside a flood counts this many of a topic, and those that follow
_MOST = 10_000


class ReadsNewest(Protocol):
    """`NewestRecords`, or a log in a test."""

    @property
    def whole(self) -> bool:
        """Whether the last reading came to the ends."""
        ...

    def read(self, topic: str, partitions: Iterable[int], *, per_partition: int) -> list[InboundRecord]:
        """Return at most so many of each partition's newest records not given before."""
        ...


class KeptLetters:
    """Counts on the thread of its reader."""

    def __init__(self, newest: ReadsNewest) -> None:
        self._newest = newest
        self._keys: dict[str, set[bytes]] = {topic: set() for topic in DEAD_LETTERS}
        self._read_to: dict[str, Mapping[int, int]] = {}

    def count(self, ends: Mapping[str, Mapping[int, int]]) -> int | None:
        """Return how many entries the topics hold, given their ends; None while one of them was not read to its end yet."""
        known = [topic for topic in DEAD_LETTERS if topic in ends]
        for topic in known:
            if self._read_to.get(topic) != ends[topic]:
                self._read(topic, ends[topic])
        return sum(len(self._keys[topic]) for topic in known) if known and self._read_to.keys() >= {*known} else None

    def _read(self, topic: str, ends: Mapping[int, int]) -> None:
        if any(end < self._read_to.get(topic, {}).get(partition, 0) for partition, end in ends.items()):
            # deleted and made anew
            self._keys[topic].clear()
        records = self._newest.read(topic, ends, per_partition=_MOST)
        for record in records:
            change = self._keys[topic].discard if record.value is None else self._keys[topic].add
            change(record.key or b"")
        # none of a broker that was slow just now are no sign that there are none
        if self._newest.whole:
            self._read_to[topic] = ends
