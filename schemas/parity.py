"""When a bundle is as good as the live one on every node, what it lacks till then: pure comparisons of heartbeats. Moves nothing.

CONTRACTS, 'Epochs and rollouts': on every partition the backfill is done, each live node has applied all that the embedder wrote,
and the bundle's input is read within a second of the live bundle's. Besides, each node's index holds the live one's candidates and
finds what an exact scan finds: a graph that is damaged, or towers that one node runs otherwise, show in no offset.

The controller goes by it, the command line and the console show it: an operator who promotes by hand must see what it sees.
"""

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass

from schemas.heartbeats import Reports, complaint, embedder_reports, live_of, reports_of
from schemas.records.control import NODE, SILENCE_MS, BundleStage, NodeStatus, Progress, Rollout, Stage

MAX_BEHIND_LIVE_MS = 1000
MIN_COVERAGE = 0.9999
"""Of the live epoch's settled candidates, on every node."""
MIN_RECALL = 0.95
"""Of the exact best 200, on a sample of queries, on every node; a sound index has .99 and more."""
GATED = (Stage.BUILDING, Stage.READY, Stage.CANARY)


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
    """A bundle under way: the partitions whose corpus is written, of how many, and the live nodes.

    Attributes:
        missing: what the gate still asks of the embedders, as a sentence; empty when it asks nothing.
    """

    bundle: str
    backfilled: int
    partitions: int
    missing: str
    nodes: tuple[NodeProgress, ...]

    @property
    def at_parity(self) -> bool:
        """Whether every live node, of which there is one at least, has the bundle in full."""
        return not self.lack

    @property
    def lack(self) -> str:
        """The first thing that keeps it from parity, as a sentence; empty at parity."""
        if self.missing:
            return f"embedders owe {self.missing}"
        if not self.nodes:
            return "no node is heard of"
        return next((f"node {node.node} owes {node.missing}" for node in self.nodes if node.missing), "")

    @property
    def eta_s(self) -> float | None:
        """Until the slowest node that can be told of has all of it."""
        return max((node.eta_s for node in self.nodes if node.eta_s is not None), default=None)


def progress_of(
    state: Rollout,
    statuses: Iterable[NodeStatus],
    now_ms: int,
    *,
    partitions: int | None = None,
    silence_ms: int = SILENCE_MS,
    applied_lately: Collection[str] = (),
) -> tuple[BundleProgress, ...]:
    """Return the progress of each bundle of a surface that is building, ready or canary; arguments as `progress_with`.

    Args:
        applied_lately: bundles that every node had applied in full a moment ago. Heartbeats take turns: until the nodes' next ones,
            an embedder's newest shows them behind, and these are not asked for it.
    """
    heard = tuple(statuses)
    return tuple(
        progress_with(
            entry,
            state,
            heard,
            now_ms,
            partitions=partitions,
            silence_ms=silence_ms,
            applied_lately=entry.bundle in applied_lately,
        )
        for entry in state.in_stage(*GATED)
    )


def progress_with(
    entry: BundleStage,
    state: Rollout,
    statuses: Iterable[NodeStatus],
    now_ms: int,
    *,
    partitions: int | None = None,
    silence_ms: int = SILENCE_MS,
    applied_lately: bool = False,
) -> BundleProgress:
    """Return the progress of one bundle of a surface, in whatever stage.

    Args:
        statuses: the newest heartbeat of each instance; `time_ms` is when it was heard.
        partitions: of the bundle's topic; without it those that embedders name, of any bundle of the surface.
        silence_ms: who has not been heard of for this long is not live. Without a live node and embedder nothing is at parity.
    """
    live = live_of(statuses, now_ms, silence_ms)
    reports = embedder_reports(live, state.surface)
    places = {partition for _, partition in reports} if partitions is None else set(range(partitions))
    mine = {partition: reports[entry.bundle, partition] for partition in places if (entry.bundle, partition) in reports}
    whole = mine if mine.keys() == places else {}
    nodes = sorted((status for status in live if status.instance.startswith(NODE)), key=lambda status: status.instance)
    return BundleProgress(
        entry.bundle,
        sum(report.backfill_done for report in mine.values()),
        len(places),
        ", ".join(_asked_of_embedders(whole, state.live, reports)),
        tuple(_of_node(status, state.surface, entry, whole, now_ms, applied_lately=applied_lately) for status in nodes),
    )


def _asked_of_embedders(whole: dict[int, Progress], live: str | None, reports: Reports) -> Iterator[str]:
    if not whole or not all(report.backfill_done for report in whole.values()):
        yield "the corpus of every partition"
    if not all(_as_far_as_live(report, live, reports) for report in whole.values()):
        yield f"its input within {MAX_BEHIND_LIVE_MS / 1000:g} s of the live bundle's"


def _of_node(
    status: NodeStatus, surface: str, entry: BundleStage, reports: dict[int, Progress], now_ms: int, *, applied_lately: bool
) -> NodeProgress:
    applied = {partition: one for (bundle, partition), one in reports_of(status, surface).items() if bundle == entry.bundle}
    # a node that says nothing of a partition holds nothing of it, not even its emptiness
    told = bool(reports) and reports.keys() <= applied.keys()
    behind = sum(max(0, report.embeddings_end - applied[p].applied) for p, report in reports.items()) if told else None
    coverage, recall = status.coverage.get(entry.bundle), status.recall.get(entry.bundle)
    wants = ", ".join(_asked_of_node(0 if applied_lately else behind, coverage, recall))
    return NodeProgress(
        status.instance.removeprefix(NODE),
        sum(progress.live_count for progress in applied.values()),
        behind,
        coverage,
        recall,
        _eta_s(entry, coverage, now_ms),
        (complaint(status, entry.bundle) or wants) if wants else "",
    )


def _asked_of_node(behind: int | None, coverage: float | None, recall: float | None) -> Iterator[str]:
    # so that what is no number passes neither
    if coverage is None or not coverage >= MIN_COVERAGE:
        yield f"coverage {MIN_COVERAGE:.2%}"
    if recall is None or not recall >= MIN_RECALL:
        yield f"recall {MIN_RECALL:g}"
    if behind is None or behind > 0:
        yield "all of its topic"


def _eta_s(entry: BundleStage, coverage: float | None, now_ms: int) -> float | None:
    if entry.state is not Stage.BUILDING or coverage is None or not 0 < coverage < MIN_COVERAGE:
        return None
    return max(0, now_ms - entry.since_ms) / 1000 * (1 - coverage) / coverage


def _as_far_as_live(report: Progress, live: str | None, reports: Reports) -> bool:
    if live is None:
        return True
    of_live = reports.get((live, report.partition))
    if of_live is None:
        return False
    return all(
        topic in report.source and position.append_time_ms - report.source[topic].append_time_ms <= MAX_BEHIND_LIVE_MS
        for topic, position in of_live.source.items()
    )
