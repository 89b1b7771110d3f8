"""Records whose schema the registry has not told yet, with what came behind them in their partitions. Asks nobody itself."""

from collections.abc import Callable, Collection, Iterable
from itertools import chain

from schemas.positions import Place
from schemas.wire.inbound import InboundRecord


class WaitingRecords:
    """Keeps each partition in its order. One thread at a time."""

    def __init__(self, answered: Callable[[bytes | None], bool]) -> None:
        """Hold nothing yet; `answered` tells whether a record's value can be decoded, or is known never to be."""
        self._answered = answered
        self._held: dict[Place, list[InboundRecord]] = {}

    @property
    def places(self) -> set[Place]:
        """The partitions that stand still."""
        return set(self._held)

    def sift(self, arrived: Iterable[InboundRecord]) -> list[InboundRecord]:
        """Return what can be folded now, of the held records and of those behind them; the rest is held."""
        held, self._held = self._held, {}
        ready = []
        for record in chain(*held.values(), arrived):
            place = (record.topic, record.partition)
            if place in self._held or not self._answered(record.value):
                self._held.setdefault(place, []).append(record)
            else:
                ready.append(record)
        return ready

    def forget(self, partitions: Collection[int] | None = None) -> None:
        """Forget what is held of these partitions, by default of all: it comes again, here or elsewhere."""
        self._held = {} if partitions is None else {at: held for at, held in self._held.items() if at[1] not in partitions}
