"""How far the jobs of one process have folded their inputs, for whoever of them waits for another. Commits nothing."""

from collections.abc import Mapping

from schemas.positions import Place


class FoldedPositions:
    """Next offsets by topic and partition, behind which all that came of a record is durable. Any thread may note and look.

    What was folded stays folded when the partition goes to another process: nothing is ever taken back.
    """

    def __init__(self) -> None:
        self._next: dict[Place, int] = {}

    def note(self, positions: Mapping[Place, int]) -> None:
        """Take note of what a job has folded; of one place one thread at a time."""
        for place, offset in positions.items():
            if offset > self._next.get(place, 0):
                self._next[place] = offset

    def at(self, place: Place) -> int:
        """Return the next offset of a place; 0 where this process has folded nothing."""
        return self._next.get(place, 0)
