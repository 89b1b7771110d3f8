"""Files that were fetched and found whole, kept in memory up to a bound. Judges none, and knows of one registry only."""

import threading
from collections.abc import Mapping


class SeenFiles:
    """The files read below each path; those looked at longest ago go first. Any thread."""

    def __init__(self, most_bytes: int) -> None:
        self._most_bytes = most_bytes
        self._bytes = 0
        self._files: dict[str, Mapping[str, bytes]] = {}
        self._lock = threading.Lock()

    def of(self, path: str) -> Mapping[str, bytes]:
        """Return the files below a path, by name; none where none are kept."""
        with self._lock:
            files = self._files.pop(path, None)
            if files is None:
                return {}
            # behind those that were looked at before it
            self._files[path] = files
            return files

    def keep(self, path: str, files: Mapping[str, bytes]) -> None:
        """Keep the files below a path, in place of what was kept of it."""
        with self._lock:
            self._bytes += _bytes_of(files) - _bytes_of(self._files.pop(path, {}))
            self._files[path] = files
            while self._bytes > self._most_bytes:
                self._bytes -= _bytes_of(self._files.pop(next(iter(self._files))))


def _bytes_of(files: Mapping[str, bytes]) -> int:
    return sum(map(len, files.values()))
