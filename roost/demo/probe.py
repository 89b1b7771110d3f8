"""Freshness as a user sees it: publish a tweet nobody has seen, ask until an answer holds it. Infers nothing from lag."""

import time
import uuid
from dataclasses import dataclass

import numpy as np

from schemas.errors import RoostError
from serving.client import Client
from streams.producer import Producer

# a language of our own finds the tweet whatever its score, and no ordinary answer
PROBE_LANGUAGE = "x-probe"
_PAUSE_S = 0.001


@dataclass(frozen=True, slots=True)
class Freshness:
    """Milliseconds from handing a tweet to the producer to the first answer that holds it."""

    milliseconds: tuple[float, ...]
    lost: int

    def percentiles(self) -> dict[str, float | None]:
        """Return p50 and p99 of the found probes, milliseconds rounded to a tenth; None each when none was found."""
        return {
            f"p{share}": round(float(np.percentile(self.milliseconds, share)), 1) if self.milliseconds else None
            for share in (50, 99)
        }

    def sentence(self) -> str:
        """Return what was found, for people."""
        found, of = len(self.milliseconds), len(self.milliseconds) + self.lost
        spans = [f"{name} {value:.0f} ms" for name, value in self.percentiles().items() if value is not None]
        return f"published and found by a query {found} times of {of}{': ' if spans else ''}{', '.join(spans)}"


def publish_and_find(
    producer: Producer, client: Client, *, surface: str, text: str, timeout_s: float = 30.0
) -> tuple[str, float | None]:
    """Publish one tweet and ask until it is found; return its id and the milliseconds, None when it was not in time."""
    candidate_id = f"t:probe-{uuid.uuid4().hex[:12]}"
    started_s = time.perf_counter()
    producer.tweet(candidate_id, author_id="a:probe", text=text, language=PROBE_LANGUAGE)
    while time.perf_counter() - started_s < timeout_s:
        try:
            answer = client.retrieve(surface, k=200, languages=[PROBE_LANGUAGE], max_age_s=2 * timeout_s)
        except RoostError:
            # the traffic counts errors; a probe only asks when the tweet is there
            time.sleep(0.01)
            continue
        if any(candidate.candidate_id == candidate_id for candidate in answer.candidates):
            return candidate_id, (time.perf_counter() - started_s) * 1000
        time.sleep(_PAUSE_S)
    return candidate_id, None


def measure_freshness(producer: Producer, client: Client, *, surface: str, probes: int) -> Freshness:
    """Publish and find `probes` tweets, one after the other."""
    found: list[float] = []
    for number in range(probes):
        _, milliseconds = publish_and_find(producer, client, surface=surface, text=f"probe {number}")
        if milliseconds is not None:
            found.append(milliseconds)
    return Freshness(tuple(found), probes - len(found))
