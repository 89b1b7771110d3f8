"""A partition's state as a dict behind a compacted topic: restored from it, its changes logged to it. Produces nothing itself."""

from bisect import bisect_left
from collections.abc import Iterator, Mapping

from schemas.wire.inbound import InboundRecord
from schemas.wire.tail import TailReader


class ChangelogStore:
    """A `StateStore` in memory. Whoever owns it writes `take_changes` to the changelog before committing the input's offsets."""

    def __init__(self, restored: Mapping[str, bytes] | None = None) -> None:
        self._values = dict(restored or {})
        self._changes: dict[str, bytes | None] = {}

    def get(self, key: str) -> bytes | None:
        """See `StateStore.get`."""
        return self._values.get(key)

    def put(self, key: str, value: bytes) -> None:
        """See `StateStore.put`. A value that is already there is no change."""
        if self._values.get(key) != value:
            self._values[key] = self._changes[key] = value

    def delete(self, key: str) -> None:
        """See `StateStore.delete`."""
        if self._values.pop(key, None) is not None:
            self._changes[key] = None

    def scan(self, prefix: str = "") -> Iterator[tuple[str, bytes]]:
        """See `StateStore.scan`. The keys are those of now; one deleted meanwhile is passed over."""
        keys = sorted(self._values)
        for key in keys[bisect_left(keys, prefix) :]:
            if not key.startswith(prefix):
                return
            if (value := self._values.get(key)) is not None:
                yield key, value

    def __len__(self) -> int:
        return len(self._values)

    def take_changes(self) -> list[tuple[str, bytes | None]]:
        """Return the last value of every key changed since the last call, in order of first change; None is a deletion."""
        changes, self._changes = self._changes, {}
        return list(changes.items())


def take_in(values: dict[str, bytes], record: InboundRecord) -> None:
    """Apply a changelog's record to the state before it, in place."""
    key = (record.key or b"").decode("utf-8", "surrogateescape")
    if record.value is None:
        values.pop(key, None)
    else:
        values[key] = record.value


def restore(bootstrap: str, topic: str, partition: int, *, stall_s: float = 30.0) -> dict[str, bytes]:
    """Return the state that a partition of a changelog holds, read from its beginning to its end.

    Raises:
        BrokerUnavailable: as `TailReader.to_end`.
    """
    values: dict[str, bytes] = {}
    with TailReader(bootstrap, topic, [partition], once=True) as reader:
        for record in reader.to_end(stall_s=stall_s):
            take_in(values, record)
    return values
