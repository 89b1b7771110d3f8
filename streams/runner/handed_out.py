"""How far a consumer's partitions are folded, whatever offsets hold no record. Asks no broker, and commits nothing.

A transaction's marker, a record that was given up and one that compaction took away leave offsets that nobody is handed. A
partition's records are handed out in order and folded in order: all that lies before one that is folded is folded or empty.
"""

from collections.abc import Mapping

from schemas.positions import Place


class HandedOut:
    """Offsets by topic and partition, from one assignment of them to the next. One thread at a time."""

    def __init__(self) -> None:
        self._asked: dict[Place, int] = {}
        self._handed: dict[Place, int] = {}
        self._folded: dict[Place, int] = {}

    def ask(self, positions: Mapping[Place, int]) -> None:
        """Take note of the next offsets to be fetched, before more is asked for: what lies before them is handed out, or empty."""
        self._asked.update(positions)

    def hand_out(self, place: Place, offset: int) -> None:
        """Take note that the records up to this one are out to be folded."""
        self._handed[place] = offset + 1

    def fold(self, place: Place, offset: int) -> None:
        """Take note that all that came of a record is durable."""
        self._folded[place] = max(offset + 1, self._folded.get(place, 0))

    def forget(self) -> None:
        """Begin anew: the partitions are given up, or were given anew."""
        for offsets in (self._asked, self._handed, self._folded):
            offsets.clear()

    def settled(self, place: Place) -> int | None:
        """Return the offset before which all is folded and behind which nothing is out.

        None while something is out, and before anything was asked for.
        """
        folded = self._folded.get(place, 0)
        if place not in self._asked or folded < self._handed.get(place, 0):
            return None
        return max(folded, self._asked[place])

    def committable(self, place: Place) -> int | None:
        """Return the offset that a reader who takes over begins at; None where nothing was passed yet."""
        return self.settled(place) or self._folded.get(place)
