"""Re-embedding the corpus for a new bundle in bounded slices, behind live traffic. Reads no state and embeds nothing itself."""

from collections.abc import Iterator
from enum import Enum
from itertools import islice


class Phase(Enum):
    """How far the corpus of one (bundle, partition) is."""

    RUNNING = "running"
    # all handed out, and then: all of it part of a checkpoint that has ended
    WRITTEN = "written"
    SEALED = "sealed"
    DONE = "done"


class Backfills:
    """What is still to be re-embedded, by (bundle id, partition), one after the other."""

    def __init__(self) -> None:
        self._waiting: dict[tuple[str, int], Iterator[str]] = {}
        self._phases: dict[tuple[str, int], Phase] = {}
        # the topic holds a vector of each of its candidates, be it of older counters
        self._whole: set[tuple[str, int]] = set()

    def start(self, bundle: str, partition: int, ids: Iterator[str]) -> None:
        """Begin, or begin anew, with the ids live now; ids that come later are live traffic."""
        self._whole.discard((bundle, partition))
        self.refresh(bundle, partition, ids)

    def refresh(self, bundle: str, partition: int, ids: Iterator[str]) -> None:
        """Do so with a topic that keeps what it holds, so that a whole corpus is whole meanwhile."""
        self._waiting[bundle, partition] = ids
        self._phases[bundle, partition] = Phase.RUNNING

    def skip(self, bundle: str, partition: int) -> None:
        """Note that the corpus was written whole before."""
        self._phases[bundle, partition] = Phase.DONE
        self._whole.add((bundle, partition))

    def next_slice(self, size: int) -> tuple[str, int, list[str]] | None:
        """Return (bundle, partition, up to `size` ids) to re-embed now, or None when nothing waits."""
        if not self._waiting:
            return None
        (bundle, partition), ids = next(iter(self._waiting.items()))
        piece = list(islice(ids, size))
        if len(piece) < size:
            del self._waiting[bundle, partition]
            self._phases[bundle, partition] = Phase.WRITTEN
        return bundle, partition, piece

    @property
    def running(self) -> bool:
        """Whether any id waits."""
        return bool(self._waiting)

    def seal(self) -> None:
        """Note that a checkpoint ends here: what was handed out before is acknowledged with it."""
        self._advance(Phase.WRITTEN, Phase.SEALED)

    def durable(self) -> None:
        """Note that the last checkpoint is acknowledged."""
        self._whole.update(place for place, phase in self._phases.items() if phase is Phase.SEALED)
        self._advance(Phase.SEALED, Phase.DONE)

    def is_done(self, bundle: str, partition: int) -> bool:
        """Tell whether the partition's corpus is in the bundle's topic, acknowledged, and nothing of it is to be embedded again."""
        return self._phases.get((bundle, partition)) is Phase.DONE

    def is_whole(self, bundle: str, partition: int) -> bool:
        """Tell whether the partition's corpus is in the bundle's topic, acknowledged."""
        return (bundle, partition) in self._whole

    def drop(self, *, bundle: str | None = None, partition: int | None = None) -> None:
        """Forget a bundle, or a partition."""
        for place in [p for p in self._phases if bundle in (None, p[0]) and partition in (None, p[1])]:
            del self._phases[place]
            self._waiting.pop(place, None)
            self._whole.discard(place)

    def _advance(self, before: Phase, after: Phase) -> None:
        self._phases.update({place: after for place, phase in self._phases.items() if phase is before})
