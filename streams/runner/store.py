"""The batch runner's state store: a dict of one partition that remembers its changes. Writes no changelog itself."""

from collections.abc import Iterator


class LoggedStore:
    """A `StateStore` in memory. Not thread-safe: the runner's thread owns it."""

    def __init__(self) -> None:
        self._values: dict[str, bytes] = {}
        self._changes: dict[str, bytes | None] = {}

    def __len__(self) -> int:
        return len(self._values)

    def get(self, key: str) -> bytes | None:
        """Return the value of a key, or None."""
        return self._values.get(key)

    def put(self, key: str, value: bytes) -> None:
        """Set the value of a key."""
        self._values[key] = self._changes[key] = value

    def delete(self, key: str) -> None:
        """Remove a key; a missing one is passed over."""
        if self._values.pop(key, None) is not None:
            self._changes[key] = None

    def scan(self, prefix: str = "") -> Iterator[tuple[str, bytes]]:
        """Return all (key, value) pairs whose key begins with `prefix`, in key order."""
        for key in sorted(key for key in self._values if key.startswith(prefix)):
            yield key, self._values[key]

    def restore(self, key: str, value: bytes | None) -> None:
        """Apply one record of the changelog; it is not a change."""
        if value is None:
            self._values.pop(key, None)
        else:
            self._values[key] = value

    def take_changes(self) -> dict[str, bytes | None]:
        """Return what changed since the last call, one entry a key, and forget it."""
        changes, self._changes = self._changes, {}
        return changes
