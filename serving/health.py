"""What a node says of its own state, as frozen values: for /readyz, /metrics and people. Computes nothing."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol

from schemas.positions import Positions
from serving.index import IndexStats


@dataclass(frozen=True, slots=True)
class SnapshotHealth:
    """What became of a bundle's snapshots in this process.

    Attributes:
        written_ms: when the newest one was written, Unix milliseconds; None when this process wrote none.
        rows: candidates in it.
        took_s: how long it took to write.
        restored_rows: candidates this process started with; 0 when it read the topic from its beginning.
        trouble: why the last one could not be written, or None. The node answers all the same.
    """

    written_ms: int | None = None
    rows: int = 0
    took_s: float = 0.0
    restored_rows: int = 0
    trouble: str | None = None


GroupKind = Literal["all", "rank", "tier", "language", "age"]


@dataclass(frozen=True, slots=True)
class GroupRecall:
    """The recall of one part of the exact answers: those from a tier, in a language, of an age; `kind` "all" is everything.

    Of `kind` "rank" are the first ten, as an answer of no more holds them.

    `lower` is a one-sided 95% bound over the `queries` audited last; `upper` one that is wrong three times in 100,000: what it puts
    below the promised .95 is built anew.
    """

    kind: GroupKind
    group: str
    queries: int
    recall: float
    lower: float
    upper: float


@dataclass(frozen=True, slots=True)
class AuditHealth:
    """What the audit of a bundle's index found in this process.

    Attributes:
        queries: live queries answered again exactly.
        probes: new candidates looked for by their own vector; `probes_missed` of them were not found, and were inserted again.
        rebuilds: times a tier was dropped and built anew because its recall was short.
        groups: over the newest queries, the whole first.
    """

    queries: int = 0
    probes: int = 0
    probes_missed: int = 0
    rebuilds: int = 0
    groups: tuple[GroupRecall, ...] = ()


@dataclass(frozen=True, slots=True)
class BundleHealth:
    """One bundle on this node.

    Attributes:
        stage: its stage in the rollout.
        not_ready: why this node is not ready to answer from it, or None.
        refusal: why the bundle cannot be used at all, or None.
        applied: next offset of its embeddings topic by partition; a standing bad record holds it back.
        coverage: share of the live bundle's settled ids that its index holds.
        recall: share of the exact best that its search found on a sample, measured while it answers nobody; else None.
        index: None until the bundle is loaded.
        snapshot: None where the node keeps none.
        audit: None before the first one, and where the node audits nothing.
        as_of: next offset by input topic and partition that the index reflects.
        index_alarms: what is wrong with the index, by name; the node answers all the same.
    """

    bundle: str
    stage: str
    not_ready: str | None
    refusal: str | None
    alarms: tuple[str, ...]
    applied: Mapping[int, int]
    coverage: float
    recall: float | None
    lag_ms: int
    index: IndexStats | None
    snapshot: SnapshotHealth | None = None
    audit: AuditHealth | None = None
    index_alarms: Mapping[str, str] = field(default_factory=dict)
    as_of: Positions = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class SurfaceHealth:
    """One surface on this node. `live` is the bundle that answers here, `wanted` the one the rollout says should."""

    surface: str
    revision: int
    live: str | None
    wanted: str | None
    not_ready: str | None
    bundles: tuple[BundleHealth, ...]


@dataclass(frozen=True, slots=True)
class NodeHealth:
    """The whole node. `reasons` says why it is not ready; empty when it is."""

    node: str
    ready: bool
    reasons: tuple[str, ...]
    surfaces: tuple[SurfaceHealth, ...]
    users: int
    masked: int
    flips: int
    broker_age_s: float | None


class HasHealth(Protocol):
    """A node, as the HTTP layer sees it."""

    def health(self) -> NodeHealth:
        """Return the present state."""
        ...
