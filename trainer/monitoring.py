"""What the trainer measures of itself, in Prometheus' conventions. Trains, judges and serves nothing."""

import time
from collections.abc import Iterable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from schemas.bundle import Gate, Manifest

_TRAINING_BUCKETS_S = (1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1_800.0, 3_600.0, 7_200.0)


class TrainerMetrics:
    """Of a schedule. One thread writes; scrapes read."""

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        """Register on `registry`, or on one that nobody reads."""
        registry = registry or CollectorRegistry()
        self._trainings = Counter(
            "roost_trainings",
            "Trainings that ended: published, refused by a gate, or failed.",
            ["surface", "recipe", "outcome"],
            registry=registry,
        )
        self._seconds = Histogram(
            "roost_training_seconds",
            "A training from its data to its end, evaluation and gates included.",
            ["surface", "recipe"],
            buckets=_TRAINING_BUCKETS_S,
            registry=registry,
        )
        self._examples = Counter("roost_training_examples", "Examples trained on.", ["surface", "recipe"], registry=registry)
        self._passed_over = Counter(
            "roost_passed_over_examples",
            "Examples of fine-tunes that gates refused; none trains on them again.",
            ["surface"],
            registry=registry,
        )
        self._gates = Counter("roost_gate_verdicts", "Verdicts of gates.", ["surface", "gate", "verdict"], registry=registry)
        self._rollouts_refused = Counter(
            "roost_rollouts_refused", "Published bundles whose rollout the controller refused.", ["surface"], registry=registry
        )
        self._created = Gauge(
            "roost_bundle_created_timestamp_seconds", "When the newest bundle was made.", ["surface"], registry=registry
        )
        self._fresh = Gauge(
            "roost_fresh_examples", "Examples since those that the live bundle was trained on.", ["surface"], registry=registry
        )
        self._turn = Gauge(
            "roost_turn_timestamp_seconds",
            "When the schedule, or a training's progress, was last seen, in Unix seconds.",
            registry=registry,
        )

    def ended(self, surface: str, recipe: str, outcome: str, *, took_s: float, examples: int) -> None:
        """Note a training that ended."""
        self._trainings.labels(surface, recipe, outcome).inc()
        self._seconds.labels(surface, recipe).observe(took_s)
        self._examples.labels(surface, recipe).inc(examples)

    def passed_over(self, surface: str, examples: int) -> None:
        """Note examples that a live bundle will not have learned from."""
        self._passed_over.labels(surface).inc(examples)

    def judged(self, surface: str, gates: Iterable[Gate]) -> None:
        """Note what the gates said of a training's data and bundle."""
        for gate in gates:
            self._gates.labels(surface, gate.name, "passed" if gate.passed else "failed").inc()

    def newest(self, manifest: Manifest) -> None:
        """Say which bundle is a surface's newest."""
        self._created.labels(manifest.surface).set(manifest.created_ms / 1000)

    def fresh(self, surface: str, examples: int) -> None:
        """Say how many examples wait for the next training."""
        self._fresh.labels(surface).set(examples)

    def rollout_refused(self, surface: str) -> None:
        """Note that the controller did not take a bundle."""
        self._rollouts_refused.labels(surface).inc()

    def went_round(self) -> None:
        """Note that the schedule is not stuck."""
        self._turn.set(time.time())
