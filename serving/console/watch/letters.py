"""How many dead letters are kept, by topic: read as they come and counted by their keys. Shows none of them, removes none.

The ends of their topics say too much: an entry that was sent again has a null behind it, and roles write nulls to silent
partitions.
"""

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Protocol

from schemas.wire.inbound import InboundRecord
from serving.console.readings import DEAD_LETTERS, DeadLetters

# a console that starts beside a flood counts this many of a topic, and those that follow
_MOST = 10_000
# of counts: a topic that holds letters is looked at once in so many, without a new record too. Their retention ends some
_LOOK_EVERY = 30


class ReadsNewest(Protocol):
    """`NewestRecords`, or a log in a test."""

    @property
    def whole(self) -> bool:
        """Whether the last reading came to the ends."""
        ...

    @property
    def firsts(self) -> Mapping[int, int]:
        """Where the partitions of the last reading begin."""
        ...

    @property
    def passed_over(self) -> Mapping[int, int]:
        """The partitions of which the last reading left out records not given before, with the first offset that it could give."""
        ...

    def read(self, topic: str, partitions: Iterable[int], *, per_partition: int) -> list[InboundRecord]:
        """Return at most so many of each partition's newest records not given before."""
        ...

    def forget(self, topic: str) -> None:
        """Give all of a topic again: it is another one."""
        ...


class KeptLetters:
    """Counts on the thread of its reader."""

    def __init__(self, newest: ReadsNewest, topic_ids: Callable[[Collection[str]], Mapping[str, str]]) -> None:
        """Know of none yet.

        Args:
            topic_ids: returns Kafka's ids of topics, another one of each that is made anew; without those that are not told.
        """
        self._newest = newest
        self._topic_ids = topic_ids
        self._ids: dict[str, str] = {}
        self._places: dict[str, dict[bytes, tuple[int, int]]] = {topic: {} for topic in DEAD_LETTERS}
        # by topic and partition: what lies before this offset was never counted
        self._passed_over: dict[str, dict[int, int]] = {topic: {} for topic in DEAD_LETTERS}
        self._read_to: dict[str, Mapping[int, int]] = {}
        self._counts = 0

    def count(self, ends: Mapping[str, Mapping[int, int]]) -> DeadLetters | None:
        """Return how many entries the topics hold, given their ends; None while one of them was not read to its end yet."""
        known = [topic for topic in DEAD_LETTERS if topic in ends]
        self._counts += 1
        is_due = self._counts % _LOOK_EVERY == 0
        read = [topic for topic in known if self._read_to.get(topic) != ends[topic] or (is_due and self._places[topic])]
        topic_ids = self._topic_ids(read) if read else {}
        for topic in read:
            self._read(topic, ends[topic], topic_ids.get(topic))
        if not known or not self._read_to.keys() >= {*known}:
            return None
        return DeadLetters(sum(len(self._places[topic]) for topic in known), any(self._passed_over[topic] for topic in known))

    def _read(self, topic: str, ends: Mapping[int, int], topic_id: str | None) -> None:
        is_other = topic_id is not None and self._ids.get(topic, topic_id) != topic_id
        # where nobody tells, an end behind the former one does
        if is_other or any(end < self._read_to.get(topic, {}).get(partition, 0) for partition, end in ends.items()):
            self._places[topic].clear()
            self._passed_over[topic].clear()
            self._newest.forget(topic)
        if topic_id is not None:
            self._ids[topic] = topic_id
        places = self._places[topic]
        for record in self._newest.read(topic, ends, per_partition=_MOST):
            key = record.key or b""
            if record.value is None:
                places.pop(key, None)
            else:
                places[key] = record.partition, record.offset
        self._passed_over[topic] |= self._newest.passed_over
        # none of a broker that was slow just now are no sign that there are none
        if self._newest.whole:
            firsts = self._newest.firsts
            # what was passed over is over, too, once the log begins behind it
            self._passed_over[topic] = {p: first for p, first in self._passed_over[topic].items() if firsts.get(p, 0) < first}
            gone = [key for key, (partition, offset) in places.items() if offset < firsts.get(partition, 0)]
            for key in gone:
                del places[key]
            self._read_to[topic] = ends
