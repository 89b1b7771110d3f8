"""Records that may wait while others come: a backlog of engagements holds up no tweet. Each partition keeps its order."""

from collections import deque
from collections.abc import Collection, Iterable

from schemas.wire.inbound import InboundRecord

# some ten milliseconds of work: how long what is urgent waits for a slice of what is not
_SLICE_RECORDS = 400
# held beyond that, records are left to the client, whose memory is bounded
_MOST_RECORDS = 20_000


class PatientRecords:
    """Those of some topics, handed out in slices behind everything else that came. One thread at a time."""

    def __init__(self, topics: Collection[str]) -> None:
        """Hold nothing yet."""
        self._topics = frozenset(topics)
        self._held: deque[InboundRecord] = deque()

    def __len__(self) -> int:
        return len(self._held)

    @property
    def full(self) -> bool:
        """Whether no more should be taken from the client for now."""
        return len(self._held) >= _MOST_RECORDS

    def sift(self, arrived: Iterable[InboundRecord]) -> list[InboundRecord]:
        """Return what cannot wait of the records that arrived, then a slice of those that wait."""
        ready = []
        for record in arrived:
            if record.topic in self._topics:
                self._held.append(record)
            else:
                ready.append(record)
        ready += [self._held.popleft() for _ in range(min(_SLICE_RECORDS, len(self._held)))]
        return ready

    def forget(self, partitions: Collection[int]) -> None:
        """Forget what is held of these partitions: it comes again, here or elsewhere."""
        self._held = deque(record for record in self._held if record.partition not in partitions)
