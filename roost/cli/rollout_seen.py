"""A surface's rollout as an operator sees it: with what instances say of it, as data or drawn. Asks nobody and commands nothing."""

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from roost.cli.output import drawn_table, drawn_title
from roost.embedder_errors import embedder_errors
from schemas.heartbeats import live_embedders
from schemas.parity import BundleProgress, progress_of
from schemas.records.control import SILENCE_MS, CanaryReport, NodeStatus, Rollout
from schemas.rollout import compared_canary


@dataclass(frozen=True, slots=True)
class Seen:
    """A surface's rollout with what instances say of it; `canary` is None where none is compared.

    Attributes:
        behind: embedders that act by an older revision, and by which.
        errors: what embedders say is wrong with a bundle of the surface.
    """

    state: Rollout
    progress: tuple[BundleProgress, ...] = ()
    canary: CanaryReport | None = None
    behind: Mapping[str, int] = field(default_factory=dict)
    errors: tuple[str, ...] = ()

    @classmethod
    def of(cls, state: Rollout, heard: Sequence[NodeStatus], now_ms: int) -> "Seen":
        """Return what the newest heartbeats say of a rollout."""
        return cls(
            state,
            progress_of(state, heard, now_ms),
            _canary(heard, state),
            embedders_behind(state, heard, now_ms),
            embedder_errors(heard, now_ms, of={entry.bundle for entry in state.bundles}),
        )

    def as_data(self) -> dict[str, Any]:
        """Return it as plain JSON data."""
        return {
            **as_data(self.state),
            "progress": [{**asdict(bundle), "eta_s": bundle.eta_s, "at_parity": bundle.at_parity} for bundle in self.progress],
            "embedders_behind": dict(self.behind),
            "embedder_errors": list(self.errors),
            "canary": None if self.canary is None else {"verdict": self.canary.verdict, "sentence": self.canary.sentence},
        }


def embedders_behind(state: Rollout, statuses: Iterable[NodeStatus], now_ms: int) -> dict[str, int]:
    """Return the live embedders that act by an older revision of a surface, with that revision; 0 where they know of none."""
    embedders = live_embedders(statuses, now_ms, SILENCE_MS)
    acting = {name: status.revisions.get(state.surface, 0) for name, status in embedders.items()}
    return {name: revision for name, revision in acting.items() if revision < state.revision}


def as_data(rollout: Rollout) -> dict[str, Any]:
    """Return a rollout as plain JSON data."""
    return rollout.to_avro()


def drawn(seen: Sequence[Seen]) -> RenderableType:
    """Return rollouts, drawn for a terminal."""
    if not seen:
        return Text("no rollouts yet; `roost models list` shows the bundles, `roost rollout start` begins one")
    return Group(*(part for one in seen for part in _drawn_parts(one)))


def _drawn_parts(seen: Seen) -> Iterator[RenderableType]:
    yield _drawn_title(seen.state)
    for embedder, revision in seen.behind.items():
        yield Text(f"embedder {embedder} still acts by revision {revision}")
    for error in seen.errors:
        yield Text(error)
    yield _drawn_bundles(seen.state)
    for bundle in seen.progress:
        eta = "" if bundle.eta_s is None else f", some {bundle.eta_s:.0f} s to go"
        asked = f"; still asked: {bundle.missing}" if bundle.missing else ""
        yield Text(f"{bundle.bundle}: corpus of {bundle.backfilled} of {bundle.partitions} partitions written{asked}{eta}")
        yield drawn_table(
            ["node", "rows #", "behind #", "coverage #", "recall #", "still asked"],
            (
                (
                    node.node,
                    f"{node.rows:,}",
                    "" if node.behind is None else f"{node.behind:,}",
                    "" if node.coverage is None else f"{node.coverage:.2%}",
                    "" if node.recall is None else f"{node.recall:.3f}",
                    node.missing or "nothing",
                )
                for node in bundle.nodes
            ),
        )
    if seen.canary is not None:
        yield Text(f"canary {seen.canary.bundle}: {seen.canary.sentence}")


def _drawn_title(state: Rollout) -> Text:
    frozen = ", frozen" if state.frozen else ""
    refresh = f", refresh {state.refresh}" if state.refresh else ""
    reason = f" ({state.reason})" if state.reason else ""
    if state.ramp_bp:
        shares = ", ".join(f"{share / 100:g}%" for share in state.ramp_bp)
        reason += f"; on to {shares}, each after {state.ramp_hold_s} s at least"
    return drawn_title(f"{state.surface}: revision {state.revision}{frozen}{refresh}{reason}")


def _drawn_bundles(state: Rollout) -> Table:
    rows = (
        (
            entry.bundle,
            f"{entry.state}, paused" if entry.paused else entry.state,
            f"{entry.share_bp / 100:g} %" if entry.share_bp else "",
            _clock(entry.since_ms),
        )
        for entry in state.bundles
    )
    return drawn_table(["bundle", "stage", "canary #", "since"], rows)


def _clock(time_ms: int) -> str:
    return time.strftime("%H:%M:%S", time.localtime(time_ms / 1000))


def _canary(heard: Iterable[NodeStatus], state: Rollout) -> CanaryReport | None:
    reports = [report for status in heard for report in status.canaries if report.surface == state.surface]
    # what a controller said last of a canary that has ended is history
    current = compared_canary(state)
    return next((r for r in reports if current is not None and (r.bundle, r.since_ms) == (current.bundle, current.since_ms)), None)
