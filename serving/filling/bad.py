"""The bad embeddings that stand: no later record of the candidate has settled them. Decodes nothing and tells nobody."""

from collections.abc import Mapping, Sequence

from schemas.wire.inbound import InboundRecord
from serving.filling.embeddings import BadEmbedding


class BadRecords:
    """Those of one bundle's topic. One thread changes them; others may look at any time."""

    def __init__(self) -> None:
        """Know of none."""
        # by candidate; by place, where a record has no key
        self._standing: dict[bytes | tuple[int, int], BadEmbedding] = {}

    def __len__(self) -> int:
        return len(self._standing)

    @property
    def first(self) -> BadEmbedding | None:
        """The one that has stood longest."""
        return next(iter(tuple(self._standing.values())), None)

    def note(self, records: Sequence[InboundRecord], found: Sequence[BadEmbedding]) -> None:
        """Take in a batch and what was found bad in it: a later good record of the same candidate settles the matter."""
        newest = {record.key: record.offset for record in records}
        for key in newest:
            if key is not None:
                self._standing.pop(key, None)
        for bad in found:
            if bad.key is None:
                self._standing[bad.partition, bad.offset] = bad
            elif newest[bad.key] == bad.offset:
                self._standing[bad.key] = bad

    def expire(self, horizon_ms: int) -> None:
        """Let go of what was appended before a moment, Unix milliseconds."""
        for name, bad in tuple(self._standing.items()):
            if bad.append_time_ms < horizon_ms:
                self._standing.pop(name, None)

    def clear(self) -> None:
        """Let go of all."""
        self._standing.clear()

    def hold_back(self, position: Mapping[int, int]) -> dict[int, int]:
        """Return next offsets, by partition, each at most at the first record that stands there."""
        held = dict(position)
        for bad in tuple(self._standing.values()):
            held[bad.partition] = min(held.get(bad.partition, bad.offset), bad.offset)
        return held
