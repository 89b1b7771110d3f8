"""What one freshness run does, and against what. Frozen numbers; no behaviour but the schedule of the probes."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

# one of its own to each probe in flight: a filter on it finds the tweet whatever its score, and nothing else
PROBE_LANGUAGES = 64


@dataclass(frozen=True, slots=True)
class Plan:
    """Rates and sizes of a run.

    Attributes:
        rate_per_s: tweets a second, probes among them; arrivals are Poisson.
        seconds: length of the measured window; `warmup_s` before it is played and not measured: a broker's machine code is not
            compiled sooner.
        live: candidates that are live before the first of them.
        run: makes ids unique on a broker that is used twice; letters and digits.
        probes_per_s: tweets looked for; at random moments, so that they meet every phase of whatever repeats.
        poll_s: pause between two looks for the probes that are out: with the answer's own time, the resolution.
        give_up_s: a probe not seen for so long is lost.
        exact_per_s: queries that are also answered exactly, for the recall.
        burst: tweets sent at once at the end, with their engagements, to find the ceiling; 0 leaves it out.
    """

    rate_per_s: float = 200.0
    seconds: float = 60.0
    live: int = 20_000
    seed: int = 1
    run: str = "0"
    engagements_per_tweet: float = 3.5
    queries_per_s: float = 100.0
    k: int = 200
    warmup_s: float = 30.0
    probes_per_s: float = 4.0
    poll_s: float = 0.002
    give_up_s: float = 30.0
    exact_per_s: float = 1.0
    burst: int = 12_000

    @property
    def played_s(self) -> float:
        """Length of the open loop, the warm-up included."""
        return self.warmup_s + self.seconds

    @property
    def probes(self) -> int:
        """How many tweets are looked for."""
        return max(1, round(self.probes_per_s * self.seconds))


@dataclass(frozen=True, slots=True)
class Target:
    """A running deployment with one live bundle.

    Attributes:
        partitions: of every topic keyed by candidate.
        pids: its processes by role, for their processor time.
    """

    bootstrap: str
    node_url: str
    surface: str
    bundle: str
    partitions: int
    pids: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Probe:
    """A tweet that is looked for. `due_s` is its scheduled send, in seconds from the start of the open loop."""

    candidate_id: str
    language: str
    due_s: float


def probes(plan: Plan) -> tuple[Probe, ...]:
    """Return the probes of a plan, in order of `due_s`: the same in every process that asks."""
    offsets = np.random.default_rng((plan.seed, 1)).random(plan.probes)
    dues = plan.warmup_s + (np.arange(plan.probes) + offsets) * (plan.seconds / plan.probes)
    return tuple(
        Probe(f"t:probe-{plan.run}-{number}", f"x-probe-{number % PROBE_LANGUAGES:02d}", due_s)
        for number, due_s in enumerate(dues.tolist())
    )
