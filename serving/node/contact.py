"""When the broker was last known to answer. Asks nothing: a topic read to its end and acknowledged heartbeats tell."""

import time


class BrokerContact:
    """A silent topic and a silent broker look alike to a reader; this tells them apart."""

    def __init__(self) -> None:
        self._seen_s: float | None = None

    def seen(self) -> None:
        """Note that the broker answered now."""
        self._seen_s = time.monotonic()

    @property
    def age_s(self) -> float | None:
        """Seconds since the broker last answered; None when it never did."""
        return None if self._seen_s is None else time.monotonic() - self._seen_s
