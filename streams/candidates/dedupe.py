"""Event ids of one partition seen in the last 10 minutes of append time. Knows neither engagements nor Kafka.

An id repeats when it was appended at most 10 whole minutes before: a rule of the log alone, so that a restart that re-reads those
minutes decides as the process before it did.
"""

MINUTE_MS = 60_000
WINDOW_MINUTES = 10


def window_start_ms(append_time_ms: int) -> int:
    """Return the append time, in Unix milliseconds, of the oldest record that a record at `append_time_ms` may repeat."""
    return (append_time_ms // MINUTE_MS - WINDOW_MINUTES) * MINUTE_MS


class SeenEvents:
    """64-bit hashes of event ids in minute buckets: a whole minute is dropped at once, so forgetting costs nothing."""

    def __init__(self) -> None:
        self._minutes: dict[int, set[int]] = {}
        self._newest = -1

    def __len__(self) -> int:
        return sum(len(hashes) for hashes in self._minutes.values())

    def repeats(self, event_id: str, append_time_ms: int) -> bool:
        """Note an event and tell whether its id was already seen in the window. Call it once for every record, in log order."""
        # Python's string hash: 64 bits, keyed anew in every process, so nobody can craft collisions
        hashed = hash(event_id)
        minute = append_time_ms // MINUTE_MS
        if minute > self._newest:
            self._newest = minute
            self._minutes[minute] = set()
            for old in [m for m in self._minutes if m < minute - WINDOW_MINUTES]:
                del self._minutes[old]
        oldest = minute - WINDOW_MINUTES
        repeated = False
        for m, hashes in self._minutes.items():
            if hashed in hashes and m >= oldest:
                repeated = True
                break
        # a broker's clock may step back: the record then belongs to a minute that may be gone
        self._minutes.setdefault(minute, set()).add(hashed)
        return repeated
