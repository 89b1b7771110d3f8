"""How far each node is with a bundle under way, by the heartbeats: what its gate asks, and what is missing. Decides nothing."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from schemas.records.control import EMBEDDER, NODE, SILENCE_MS, BundleStage, NodeStatus, Progress, Rollout, Stage
from streams.controller.parity import MIN_COVERAGE, MIN_RECALL, Reports, complaint, embedder_reports, live_of


@dataclass(frozen=True, slots=True)
class NodeProgress:
    """One live node with one bundle.

    Attributes:
        rows: candidates its index of the bundle holds.
        behind: records of the bundle's topic that it has not applied yet; None while the embedder has not reported them.
        coverage, recall: what the gate reads; None where the node has not measured it.
        eta_s: until the coverage is whole, at the pace since the stage began; None when it is, or cannot be told.
        missing: what the gate still asks of this node, as a sentence; empty when it asks nothing.
    """

    node: str
    rows: int
    behind: int | None
    coverage: float | None
    recall: float | None
    eta_s: float | None
    missing: str


@dataclass(frozen=True, slots=True)
class BundleProgress:
    """A bundle under way: the partitions whose corpus is written, of how many, and the live nodes."""

    bundle: str
    backfilled: int
    partitions: int
    nodes: tuple[NodeProgress, ...]

    @property
    def eta_s(self) -> float | None:
        """Until the slowest node that can be told of has all of it."""
        return max((node.eta_s for node in self.nodes if node.eta_s is not None), default=None)


def progress_of(state: Rollout, statuses: Iterable[NodeStatus], now_ms: int) -> tuple[BundleProgress, ...]:
    """Return the progress of each bundle of a surface that is building, ready or canary.

    Args:
        statuses: the newest heartbeat of each instance; `time_ms` is when it was heard.
    """
    live = live_of(statuses, now_ms, SILENCE_MS)
    nodes = sorted((status for status in live if status.instance.startswith(NODE)), key=lambda status: status.instance)
    reports = embedder_reports(live, state.surface)
    return tuple(_of(entry, state.surface, reports, nodes, now_ms) for entry in state.in_stage(*_GATED))


def embedders_behind(state: Rollout, statuses: Iterable[NodeStatus], now_ms: int) -> dict[str, int]:
    """Return the live embedders that act by an older revision of a surface, with that revision; 0 where they know of none."""
    embedders = [status for status in live_of(statuses, now_ms, SILENCE_MS) if status.instance.startswith(EMBEDDER)]
    acting = {status.instance.removeprefix(EMBEDDER): status.revisions.get(state.surface, 0) for status in embedders}
    return {instance: revision for instance, revision in sorted(acting.items()) if revision < state.revision}


_GATED = (Stage.BUILDING, Stage.READY, Stage.CANARY)


def _of(entry: BundleStage, surface: str, heard: Reports, nodes: Iterable[NodeStatus], now_ms: int) -> BundleProgress:
    reports = {partition: report for (bundle, partition), report in heard.items() if bundle == entry.bundle}
    whole = sum(report.backfill_done for report in reports.values())
    elapsed_s = max(0, now_ms - entry.since_ms) / 1000
    return BundleProgress(
        entry.bundle,
        whole,
        len(reports),
        tuple(_of_node(status, surface, entry, reports, elapsed_s) for status in nodes),
    )


def _of_node(
    status: NodeStatus, surface: str, entry: BundleStage, reports: Mapping[int, Progress], elapsed_s: float
) -> NodeProgress:
    mine = _by_partition(status, surface, entry.bundle)
    missing = [max(0, report.embeddings_end - mine[p].applied) for p, report in reports.items() if p in mine]
    behind = sum(missing) if missing and len(missing) == len(reports) else None
    coverage, recall = status.coverage.get(entry.bundle), status.recall.get(entry.bundle)
    building = entry.state is Stage.BUILDING and coverage is not None and 0 < coverage < MIN_COVERAGE
    return NodeProgress(
        status.instance.removeprefix(NODE),
        sum(progress.live_count for progress in mine.values()),
        behind,
        coverage,
        recall,
        elapsed_s * (1 - coverage) / coverage if building and coverage else None,
        _missing(status, entry.bundle, behind, coverage, recall),
    )


def _missing(status: NodeStatus, bundle: str, behind: int | None, coverage: float | None, recall: float | None) -> str:
    if refused := complaint(status, bundle):
        return refused
    wants = []
    if coverage is None or coverage < MIN_COVERAGE:
        wants.append(f"coverage {MIN_COVERAGE:.2%}")
    if recall is None or recall < MIN_RECALL:
        wants.append(f"recall {MIN_RECALL:g}")
    if behind is None or behind > 0:
        wants.append("all of its topic")
    return ", ".join(wants)


def _by_partition(status: NodeStatus, surface: str, bundle: str) -> dict[int, Progress]:
    return {entry.partition: entry for entry in status.progress if (entry.surface, entry.bundle) == (surface, bundle)}
