"""Every series that the processes export, with its labels: what they register, filled with one observation each. Holds no test."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from prometheus_client import CollectorRegistry

from schemas.bundle import Gate
from schemas.errors import UndecodableRecord
from schemas.records.control import BundleStage, CommandKind, Outcome, Rollout, Stage
from schemas.records.feedback import Label, Provenance
from schemas.wire.inbound import InboundRecord
from serving.console.metrics import ConsoleMetrics
from serving.health import AuditHealth, GroupRecall, NodeHealth, SnapshotHealth
from serving.http.collector import HealthCollector
from serving.metrics import NodeMetrics
from serving.query.users import KnownUser
from streams.metrics import ControllerMetrics, DiskCollector, EmbedderMetrics, LabelerMetrics, RunnerMetrics
from tests.console_fakes import HOME, LIVE, FakeWatch, manifest, reading
from trainer.monitoring import TrainerMetrics

# by process and series, the labels of its samples
Exported = Mapping[str, Mapping[str, frozenset[str]]]


def exported(folder: Path) -> Exported:
    """Return what each job of docker/prometheus.yml exports, process_* apart; `folder` is one that exists."""
    return {
        "embedder": _samples(_embedder()),
        "labeler": _samples(_labeler()),
        "controller": _samples(_controller(folder)),
        "node": _samples(_node()),
        "trainer": _samples(_trainer()),
        "console": _samples(_console()),
    }


def _samples(registry: CollectorRegistry) -> dict[str, frozenset[str]]:
    samples = [sample for family in registry.collect() for sample in family.samples]
    return {sample.name: frozenset(sample.labels) for sample in samples if not sample.name.startswith("process_")}


def _runner() -> CollectorRegistry:
    registry = CollectorRegistry()
    runner = RunnerMetrics(registry)
    record = InboundRecord("tweets", 0, 1, 2, b"key", b"value", ())
    runner.folded("role", [record], took_s=0.1)
    runner.produced({"candidates": 1})
    runner.dead_lettered(record, UndecodableRecord("no"))
    runner.checkpointed(took_s=0.1)
    runner.paused(["tweets"], [("tweets", 0)])
    runner.behind({("tweets", 0): 1}, {("tweets", 0): 2})
    return registry


def _embedder() -> CollectorRegistry:
    registry = _runner()
    embedder = EmbedderMetrics(registry)
    embedder.live({HOME.name: 1})
    embedder.passed_over(HOME.name)
    return registry


def _labeler() -> CollectorRegistry:
    registry = _runner()
    labeler = LabelerMetrics(registry)
    labeler.emitted({(Label.POSITIVE, Provenance.RECONSTRUCTED): 1})
    labeler.corrected({Label.POSITIVE: 1})
    labeler.left_out({"crowded_out": 1})
    labeler.reached(0, {HOME.name: 1})
    return registry


def _controller(folder: Path) -> CollectorRegistry:
    registry = _runner()
    registry.register(DiskCollector(folder, of="registry"))
    controller = ControllerMetrics(registry)
    controller.answered(HOME.name, CommandKind.START, Outcome.ACCEPTED)
    controller.stand({HOME.name: Rollout(HOME.name, 1, bundles=(BundleStage(LIVE, Stage.LIVE),))})
    return registry


def _trainer() -> CollectorRegistry:
    registry = CollectorRegistry()
    trainer = TrainerMetrics(registry)
    trainer.ended(HOME.name, "finetune", "published", took_s=1.0, examples=1)
    trainer.judged(HOME.name, [Gate("auc", 0.7, 0.6, passed=True, sentence="")])
    trainer.newest(manifest())
    trainer.fresh(HOME.name, 1)
    trainer.passed_over(HOME.name, 1)
    trainer.rollout_refused(HOME.name)
    return registry


def _console() -> CollectorRegistry:
    metrics = ConsoleMetrics(FakeWatch())
    metrics.page_seconds.labels("/overview", "200").observe(0.1)
    metrics.commands.labels(str(CommandKind.START), "accepted").inc()
    return metrics.registry


class _HealthyNode:
    """A node with one bundle, of which everything is known."""

    def health(self) -> NodeHealth:
        """See `HasHealth.health`."""
        health = reading().health
        assert health is not None
        (surface,) = health.surfaces
        (bundle,) = surface.bundles
        assert bundle.index is not None
        known = replace(
            bundle,
            recall=0.9,
            index=replace(bundle.index, counters={"rebuilds": 1}),
            audit=AuditHealth(groups=(GroupRecall("all", "all", 1, 1.0, 0.5, 1.0),)),
            snapshot=SnapshotHealth(written_ms=1, rows=1, took_s=0.1, restored_rows=0, trouble=None),
        )
        return replace(health, surfaces=(replace(surface, bundles=(known,)),))


def _node() -> CollectorRegistry:
    metrics = NodeMetrics()
    metrics.add(HealthCollector(_HealthyNode()))
    metrics.retrieve_seconds.labels(HOME.name).observe(0.1)
    metrics.refusals.labels("nothing_live").inc()
    metrics.cold.labels(HOME.name).inc()
    metrics.retrievable(HOME.name, [0.1], new=[0])
    metrics.probed(HOME.name, 0.1)
    metrics.probed(HOME.name, None)
    metrics.reflected(HOME.name, KnownUser(None, engaged_ms=1, held_from_ms=2), answered_ms=3)
    metrics.rows_applied.labels(HOME.name, LIVE).inc()
    metrics.bad_embeddings.labels(HOME.name, LIVE).inc()
    metrics.skipped.labels("users").inc()
    return metrics.registry
