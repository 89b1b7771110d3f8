"""State of a processor: one mapping per input partition, and the records a processor wants written. Stores nothing itself."""

from collections.abc import Iterator
from typing import NamedTuple, Protocol

from schemas.codec import MessageT, decode
from schemas.errors import InvalidInput, RoostError
from schemas.positions import Header


class StateStore(Protocol):
    """Bytes by key, of one input partition. The owner restores it on assignment and logs its changes."""

    def get(self, key: str) -> bytes | None:
        """Return the value of a key, or None."""
        ...

    def put(self, key: str, value: bytes) -> None:
        """Set the value of a key."""
        ...

    def delete(self, key: str) -> None:
        """Remove a key; a missing one is passed over."""
        ...

    def scan(self, prefix: str = "") -> Iterator[tuple[str, bytes]]:
        """Return all (key, value) pairs whose key begins with `prefix`, in key order."""
        ...


class OutboundRecord(NamedTuple):
    """A record a processor wants on a topic; a tuple, like an inbound one. The key decides the partition, by the partition rule."""

    topic: str
    key: bytes
    value: bytes | None
    headers: tuple[Header, ...] = ()


def read_state(kind: type[MessageT], topic: str, key: str, value: bytes) -> MessageT:
    """Return what a store holds under a key; `topic` is its changelog.

    Raises:
        RoostError: it cannot be read. To pass it over would be to forget a state in silence, so the process ends.
    """
    try:
        return decode(kind, value)
    except InvalidInput as error:
        raise RoostError(
            f"the state of {key!r} in {topic} cannot be read: {error}; if something else than its role wrote there, stop that, and "
            "write a null under this key; if a newer release did, start that one"
        ) from error
