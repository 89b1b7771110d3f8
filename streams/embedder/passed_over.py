"""Candidates that a bundle's tower yields no usable vector for: counted, logged, and told in heartbeats. Embeds nothing."""

import logging

from streams.metrics import EmbedderMetrics

log = logging.getLogger(__name__)


class PassedOver:
    """By bundle, how often a candidate was passed over, and the last of them."""

    def __init__(self, metrics: EmbedderMetrics) -> None:
        self._metrics = metrics
        self._counts: dict[str, int] = {}
        self._sentences: dict[str, str] = {}

    def note(self, bundle: str, surface: str, candidate_id: str, reason: str) -> None:
        """Note one candidate."""
        count = self._counts[bundle] = self._counts.get(bundle, 0) + 1
        self._sentences[bundle] = f"candidates go without a vector, {count} so far, {candidate_id} the last: {reason}"
        self._metrics.passed_over(surface)
        if count.bit_count() == 1:
            # at 1, 2, 4, 8 …: a flood of them must not become a flood of log lines
            log.error("%s: %s", bundle, self._sentences[bundle], extra={"bundle": bundle, "surface": surface})

    def forget(self, bundle: str) -> None:
        """Forget a bundle that is no longer written for."""
        self._counts.pop(bundle, None)
        self._sentences.pop(bundle, None)

    @property
    def errors(self) -> tuple[str, ...]:
        """A sentence for each bundle, as a heartbeat tells it."""
        return tuple(f"{bundle}: {sentence}" for bundle, sentence in self._sentences.items())
