"""A node's health as Prometheus gauges, read when somebody scrapes. Keeps nothing."""

from collections.abc import Iterable, Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from serving.audit.builder import BUILDER_ALARMS
from serving.audit.bundle_audit import RECALL_ALARM
from serving.health import BundleHealth, HasHealth, NodeHealth

_BUNDLE = ("surface", "bundle")


class HealthCollector(Collector):
    """Turns `health()` into metrics."""

    def __init__(self, node: HasHealth) -> None:
        self._node = node

    def collect(self) -> Iterable[Metric]:
        """Return the gauges of this moment."""
        health = self._node.health()
        yield _gauge("roost_ready", "1 when the node is ready.", float(health.ready))
        yield _gauge("roost_users", "Users whose state the node holds.", health.users)
        yield _gauge("roost_masked_candidates", "Deletes remembered in all epochs.", health.masked)
        flips = CounterMetricFamily("roost_flips", "Times the answering bundle of a surface changed.")
        flips.add_metric([], health.flips)
        yield flips
        if health.broker_age_s is not None:
            yield _gauge("roost_broker_age_seconds", "Since the broker was last known to answer.", health.broker_age_s)
        yield from _of_surfaces(health)
        yield from _of_bundles(health)
        yield from _of_indices(health)
        yield from _of_snapshots(health)
        yield from _of_audits(health)


def _gauge(name: str, text: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, text, value=value)


def _bundles(health: NodeHealth) -> Iterator[tuple[list[str], BundleHealth]]:
    for surface in health.surfaces:
        for bundle in surface.bundles:
            yield [surface.surface, bundle.bundle], bundle


def _of_surfaces(health: NodeHealth) -> Iterator[Metric]:
    revision = GaugeMetricFamily("roost_rollout_revision", "Rollout revision in force here.", labels=["surface"])
    live = GaugeMetricFamily("roost_live_bundle", "1 for the bundle that answers.", labels=list(_BUNDLE))
    for surface in health.surfaces:
        revision.add_metric([surface.surface], surface.revision)
        if surface.live is not None:
            live.add_metric([surface.surface, surface.live], 1)
    yield revision
    yield live


def _of_bundles(health: NodeHealth) -> Iterator[Metric]:
    applied = GaugeMetricFamily("roost_applied_offset", "Next embeddings offset to apply.", labels=[*_BUNDLE, "partition"])
    covered = GaugeMetricFamily("roost_coverage_ratio", "Share of the live bundle's ids held.", labels=list(_BUNDLE))
    recall = GaugeMetricFamily(
        "roost_shadow_recall_ratio", "Share of the exact best found, while a bundle answers nobody.", labels=list(_BUNDLE)
    )
    alarms = GaugeMetricFamily(
        "roost_bundle_alarms", "What is wrong with a bundle here; above 0 is an alarm.", labels=list(_BUNDLE)
    )
    lag = GaugeMetricFamily("roost_tail_lag_seconds", "Since all embeddings sent were applied.", labels=list(_BUNDLE))
    for labels, bundle in _bundles(health):
        covered.add_metric(labels, bundle.coverage)
        if bundle.recall is not None:
            recall.add_metric(labels, bundle.recall)
        alarms.add_metric(labels, len(bundle.alarms))
        lag.add_metric(labels, bundle.lag_ms / 1000)
        for partition, offset in bundle.applied.items():
            applied.add_metric([*labels, str(partition)], offset)
    yield from (applied, covered, recall, alarms, lag)


def _of_indices(health: NodeHealth) -> Iterator[Metric]:
    rows = GaugeMetricFamily("roost_index_rows", "Rows by tier; `live` are those that can be returned.", labels=[*_BUNDLE, "tier"])
    debt = GaugeMetricFamily("roost_index_merge_debt_rows", "Rows the builder owes new cells, or a graph.", labels=list(_BUNDLE))
    memory = GaugeMetricFamily("roost_index_memory_bytes", "Memory of the index.", labels=list(_BUNDLE))
    beat = GaugeMetricFamily("roost_index_builder_heartbeat_age_seconds", "Since the builder was seen alive.", labels=list(_BUNDLE))
    fault = GaugeMetricFamily("roost_index_builder_fault", "1 while the builder fails. An alarm.", labels=list(_BUNDLE))
    events = CounterMetricFamily("roost_index_events", "What the index did.", labels=[*_BUNDLE, "event"])
    for labels, bundle in _bundles(health):
        stats = bundle.index
        if stats is None:
            continue
        for tier, count in (
            ("live", stats.live),
            ("fresh", stats.fresh_rows),
            ("compressed", stats.compressed_rows),
            ("graph", stats.graph_rows),
        ):
            rows.add_metric([*labels, tier], count)
        debt.add_metric(labels, stats.merge_debt_rows)
        memory.add_metric(labels, stats.memory_bytes)
        beat.add_metric(labels, stats.builder_heartbeat_age_s)
        fault.add_metric(labels, float(stats.builder_fault is not None))
        for event, count in stats.counters.items():
            events.add_metric([*labels, event], count)
    yield from (rows, debt, memory, beat, fault, events)


def _of_snapshots(health: NodeHealth) -> Iterator[Metric]:
    written = GaugeMetricFamily("roost_snapshot_written_timestamp_seconds", "When the newest was written.", labels=list(_BUNDLE))
    rows = GaugeMetricFamily("roost_snapshot_rows", "Candidates in the newest one.", labels=list(_BUNDLE))
    took = GaugeMetricFamily("roost_snapshot_write_seconds", "How long it took to write.", labels=list(_BUNDLE))
    restored = GaugeMetricFamily("roost_snapshot_restored_rows", "Candidates this node started with.", labels=list(_BUNDLE))
    failing = GaugeMetricFamily("roost_snapshot_failing", "1 while none can be written. An alarm.", labels=list(_BUNDLE))
    for labels, bundle in _bundles(health):
        if bundle.snapshot is None:
            continue
        if bundle.snapshot.written_ms is not None:
            written.add_metric(labels, bundle.snapshot.written_ms / 1000)
            rows.add_metric(labels, bundle.snapshot.rows)
            took.add_metric(labels, bundle.snapshot.took_s)
        restored.add_metric(labels, bundle.snapshot.restored_rows)
        failing.add_metric(labels, float(bundle.snapshot.trouble is not None))
    yield from (written, rows, took, restored, failing)


def _of_audits(health: NodeHealth) -> Iterator[Metric]:
    group = [*_BUNDLE, "kind", "group"]
    recall = GaugeMetricFamily("roost_audit_recall_ratio", "Share of the exact best that live queries found.", labels=group)
    lower = GaugeMetricFamily("roost_audit_recall_lower_bound_ratio", "Its one-sided lower 95% bound.", labels=group)
    queries = CounterMetricFamily("roost_audit_queries", "Live queries answered again exactly.", labels=list(_BUNDLE))
    probes = CounterMetricFamily("roost_audit_probes", "New candidates looked for by their own vector.", labels=list(_BUNDLE))
    missed = CounterMetricFamily("roost_audit_probes_missed", "Those not found, and inserted again.", labels=list(_BUNDLE))
    rebuilds = CounterMetricFamily("roost_audit_rebuilds", "Tiers dropped for a short recall.", labels=list(_BUNDLE))
    alarm = GaugeMetricFamily("roost_index_alarm", "1 while it stands.", labels=[*_BUNDLE, "alarm"])
    for labels, bundle in _bundles(health):
        for name in (*BUILDER_ALARMS, RECALL_ALARM):
            alarm.add_metric([*labels, name], float(name in bundle.index_alarms))
        if bundle.audit is None:
            continue
        queries.add_metric(labels, bundle.audit.queries)
        probes.add_metric(labels, bundle.audit.probes)
        missed.add_metric(labels, bundle.audit.probes_missed)
        rebuilds.add_metric(labels, bundle.audit.rebuilds)
        for part in bundle.audit.groups:
            recall.add_metric([*labels, part.kind, part.group], part.recall)
            lower.add_metric([*labels, part.kind, part.group], part.lower)
    yield from (recall, lower, queries, probes, missed, rebuilds, alarm)
