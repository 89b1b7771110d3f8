"""How many questions each bundle answered, and how: what a canary is guarded by. Knows no users and keeps no answer."""

import threading
from collections.abc import Mapping
from dataclasses import replace

from schemas.records.control import SLOW_ANSWER_MS, AnswerCounts


class AnswerTally:
    """Counts by bundle since the process began. Any thread."""

    def __init__(self) -> None:
        self._counts: dict[str, AnswerCounts] = {}
        self._lock = threading.Lock()

    def answered(self, bundle: str, *, candidates: int, took_s: float) -> None:
        """Count an answer."""
        self._add(bundle, AnswerCounts(1, int(candidates == 0), int(took_s * 1000 > SLOW_ANSWER_MS)))

    def failed(self, bundle: str) -> None:
        """Count a question that the bundle's tower failed on."""
        self._add(bundle, AnswerCounts(failed=1))

    def keep_only(self, bundles: set[str]) -> None:
        """Forget the bundles that this node no longer holds."""
        with self._lock:
            self._counts = {bundle: counts for bundle, counts in self._counts.items() if bundle in bundles}

    def counts(self) -> Mapping[str, AnswerCounts]:
        """Return the counts of this moment."""
        with self._lock:
            return dict(self._counts)

    def _add(self, bundle: str, more: AnswerCounts) -> None:
        with self._lock:
            counts = self._counts.get(bundle, AnswerCounts())
            self._counts[bundle] = replace(
                counts,
                answered=counts.answered + more.answered,
                empty=counts.empty + more.empty,
                slow=counts.slow + more.slow,
                failed=counts.failed + more.failed,
            )
