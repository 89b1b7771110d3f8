"""What a node says of its own state, as frozen values: for /readyz, /metrics and people. Computes nothing."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

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
