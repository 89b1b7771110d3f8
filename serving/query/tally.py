"""How many questions each bundle answered, and how: what a canary is guarded by. Knows no users and keeps no answer."""

import threading
import time
from collections import Counter, defaultdict
from collections.abc import Mapping

from schemas.records.control import SLOW_ANSWER_MS, AnswerCounts


class AnswerTally:
    """Counts by bundle since the process began. Any thread."""

    def __init__(self) -> None:
        # by the names of `AnswerCounts`, in place: two frozen records for every answer took four times as long
        self._counts: dict[str, Counter[str]] = defaultdict(Counter)
        self._lock = threading.Lock()
        self._counted_s: float | None = None

    def answered(self, bundle: str, *, candidates: int, took_s: float) -> None:
        """Count an answer."""
        with self._lock:
            self._counted_s = time.monotonic()
            counts = self._counts[bundle]
            counts["answered"] += 1
            counts["empty"] += candidates == 0
            counts["slow"] += took_s * 1000 > SLOW_ANSWER_MS

    def failed(self, bundle: str) -> None:
        """Count a question that the bundle's tower failed on."""
        with self._lock:
            self._counted_s = time.monotonic()
            self._counts[bundle]["failed"] += 1

    def asked_within(self, seconds: float) -> bool:
        """Tell whether anything was counted so lately."""
        return self._counted_s is not None and time.monotonic() - self._counted_s < seconds

    def keep_only(self, bundles: set[str]) -> None:
        """Forget the bundles that this node no longer holds."""
        with self._lock:
            for bundle in self._counts.keys() - bundles:
                del self._counts[bundle]

    def counts(self) -> Mapping[str, AnswerCounts]:
        """Return the counts of this moment."""
        with self._lock:
            return {bundle: AnswerCounts(**counts) for bundle, counts in self._counts.items()}
