"""From the node's health to its record on `node-status`, and what embedders reported there. Reads and writes no topic."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

from schemas.codec import decode
from schemas.errors import InvalidInput, RoostError
from schemas.positions import read_source_ids
from schemas.records.control import EMBEDDER, NODE, AnswerCounts, NodeStatus, Progress, SourcePosition
from schemas.wire.inbound import InboundRecord
from serving.health import BundleHealth, NodeHealth


class NameTaken(RoostError):
    """Another node reports under this one's name: each is taken for the other, and they write snapshots in one place."""


def node_status(
    health: NodeHealth, answers: Mapping[str, AnswerCounts], *, time_ms: int, url: str, started_ms: int = 0
) -> NodeStatus:
    """Return the heartbeat of a node.

    A node counts its rows by bundle, not by partition: `live_count` is the whole count in the lowest partition and 0 in the
    others, so that their sum is right.
    """
    bundles = [bundle for surface in health.surfaces for bundle in surface.bundles]
    # the controller looks for the id in front: a bundle that every node refuses is rejected
    refusals = (f"{bundle.bundle}: {bundle.refusal}" for bundle in bundles if bundle.refusal is not None)
    alarms = (alarm for bundle in bundles for alarm in bundle.alarms)
    doubts = (f"bundle {bundle.bundle}: {alarm}" for bundle in bundles for alarm in bundle.index_alarms.values())
    unsaved = (bundle.snapshot.trouble for bundle in bundles if bundle.snapshot is not None and bundle.snapshot.trouble)
    return NodeStatus(
        instance=NODE + health.node,
        time_ms=time_ms,
        ready=health.ready,
        url=url,
        revisions={surface.surface: surface.revision for surface in health.surfaces},
        live={surface.surface: surface.live for surface in health.surfaces if surface.live is not None},
        progress=tuple(
            progress for surface in health.surfaces for bundle in surface.bundles for progress in _progress(surface.surface, bundle)
        ),
        coverage={bundle.bundle: bundle.coverage for bundle in bundles},
        recall={bundle.bundle: bundle.recall for bundle in bundles if bundle.recall is not None},
        errors=tuple(dict.fromkeys((*refusals, *health.reasons, *alarms, *doubts, *unsaved))),
        answers=answers,
        started_ms=started_ms,
    )


class NameClaim:
    """Whether a node has its name for itself. The order of the log decides: clocks of two machines may differ by minutes."""

    def __init__(self, name: str, *, started_ms: int) -> None:
        """Claim a name; `started_ms` is when the node began, by its own clock."""
        self._key = (NODE + name).encode()
        self._started_ms = started_ms
        # who reported under the name before this node did: (started_ms, url) of each process
        self._before: set[tuple[int, str]] = set()
        self._first_offset: int | None = None
        # whether a heartbeat of this process was in the log: a node that is ready before may still turn out to be the second
        self.made = False

    def start_over(self) -> None:
        """Hear that the log is read anew, maybe another one: its offsets are no longer those of before."""
        self._before.clear()
        self._first_offset = None

    def holder(self, records: Sequence[InboundRecord], *, url: str) -> NodeStatus | None:
        """Return the heartbeat of another process that had the name first, and still reports under it; None without one.

        Args:
            records: of `node-status`, read from its beginning in log order; harmless when some come again.
            url: where this node answers.
        """
        for record in records:
            if record.key != self._key or record.value is None:
                continue
            try:
                status = decode(NodeStatus, record.value)
            except InvalidInput:
                continue
            process = (status.started_ms, status.url)
            if process == (self._started_ms, url):
                self._first_offset = record.offset if self._first_offset is None else self._first_offset
                self.made = True
            elif self._first_offset is None:
                # what has ended is in the log too
                self._before.add(process)
            elif process in self._before and record.offset > self._first_offset:
                return status
        return None


def _progress(surface: str, bundle: BundleHealth) -> Iterable[Progress]:
    count = 0 if bundle.index is None else bundle.index.live
    for partition, applied in sorted(bundle.applied.items()):
        # when the broker took the input, a node is not told
        source = {topic: SourcePosition(held[partition], 0) for topic, held in bundle.as_of.items() if partition in held}
        yield Progress(surface, bundle.bundle, partition, source, applied=applied, live_count=count)
        count = 0


class EmbedderReport(NamedTuple):
    """What an embedder said of one partition of a bundle, and of which input topics its positions are, by name."""

    progress: Progress
    source_ids: Mapping[str, str]


class EmbedderReports:
    """What the embedders last said of each bundle."""

    def __init__(self, *, skipped: Callable[[], None]) -> None:
        """Know of none yet; `skipped` hears of each report that cannot be read."""
        self._skipped = skipped
        self._reports: dict[str, tuple[NodeStatus, Mapping[str, str]]] = {}

    def start_over(self) -> None:
        """Know of none: the topic is read anew, maybe another one, and embedders report every second."""
        self._reports.clear()

    def handle(self, records: Sequence[InboundRecord]) -> None:
        """Take in records of `node-status`; those of nodes are passed over."""
        for record in records:
            if record.key is None or not record.key.startswith(EMBEDDER.encode()):
                continue
            name = record.key.decode(errors="replace")
            if record.value is None:
                self._reports.pop(name, None)
                continue
            try:
                status = decode(NodeStatus, record.value)
            except InvalidInput:
                self._skipped()
                continue
            # by the broker's clock: the embedder's own may be wrong
            self._reports[name] = replace(status, time_ms=record.timestamp_ms), read_source_ids(record.headers)

    def live_count(self, bundle: str) -> int | None:
        """Return how many candidates the newest report per partition says a bundle has embedded and live; None without a report."""
        newest = self.of(bundle)
        return sum(report.progress.live_count for report in newest.values()) if newest else None

    def of(self, bundle: str) -> dict[int, EmbedderReport]:
        """Return the newest report of each partition of a bundle."""
        reports = sorted(self._reports.values(), key=lambda report: report[0].time_ms)
        return {
            progress.partition: EmbedderReport(progress, source_ids)
            for status, source_ids in reports
            for progress in status.progress
            if progress.bundle == bundle
        }
