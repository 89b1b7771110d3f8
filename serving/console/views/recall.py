"""The nodes' own recall audits, as the overview shows them: rank, tier, language, age, and their bounds. Pure; audits nothing."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from serving.audit.bounds import FLOOR, JUDGED_FROM_QUERIES
from serving.audit.window import AGES
from serving.console.readings import NodeReading
from serving.health import AuditHealth, GroupKind, GroupRecall

KINDS: tuple[tuple[GroupKind, str], ...] = (("rank", "Rank"), ("tier", "Tier"), ("language", "Language"), ("age", "Age"))
# of recall: where the scale of the bars begins, the first that leaves nothing out
_SCALES = (0.9, 0.8, 0.5, 0.0)


@dataclass(frozen=True, slots=True)
class Bounds:
    """What the audited queries of a group promise of its recall.

    Attributes:
        lower: the lower bound, from 0 to 1.
        start, at, end: where lower bound, estimate and upper bound lie from 0 to 1 on the audit's scale.
        tone: "good" where the lower bound keeps what is promised, "bad" where even the upper one is short of it, "" where the
            sample does not tell yet.
    """

    lower: float
    start: float
    at: float
    end: float
    tone: str


@dataclass(frozen=True, slots=True)
class RecallLine:
    """One group: of the nodes that audited enough, the one that can promise least, since each answers users by itself.

    Attributes:
        recall: the estimate, from 0 to 1.
        queries: so many of it were audited there.
        bounds: None where these are too few; then the node is the one with the most.
    """

    label: str
    recall: float
    queries: int
    bounds: Bounds | None


@dataclass(frozen=True, slots=True)
class RecallAudit:
    """What is known of the live bundle's recall on all nodes together.

    Attributes:
        whole: of all answers.
        groups: a title with its lines.
        needed: queries of a group from which on it has bounds.
        bounded: whether any group has them.
        floor: what is promised; `floor_at` is its place on the scale, which begins at `scale`.
        queries, probes, missed, rebuilds: of all nodes, since they started.
    """

    bundle: str
    nodes: int
    whole: RecallLine
    groups: tuple[tuple[str, tuple[RecallLine, ...]], ...]
    needed: int
    bounded: bool
    floor: float
    floor_at: float
    scale: float
    queries: int
    probes: int
    missed: int
    rebuilds: int


def recall_audit(nodes: Sequence[NodeReading], surface: str) -> RecallAudit | None:
    """Return the audit of what answers on the nodes; None where nobody has audited a query of it yet."""
    found = [(bundle, audit) for node in nodes for bundle, audit in _audits(node, surface)]
    # in the second of a flip two bundles answer: the one that more nodes have counts
    bundles = [bundle for bundle, _ in found]
    if not bundles:
        return None
    bundle = max(bundles, key=bundles.count)
    audits = [audit for of, audit in found if of == bundle]
    worst: dict[tuple[GroupKind, str], GroupRecall] = {}
    for group in (group for audit in audits for group in audit.groups):
        held = worst.get((group.kind, group.group))
        if held is None or _says_more(group, held):
            worst[group.kind, group.group] = group
    lowest = min((group.lower for group in worst.values() if _is_judged(group)), default=1.0)
    scale = next(start for start in _SCALES if start <= lowest)
    lines = {key: _line(group, scale) for key, group in worst.items()}
    return RecallAudit(
        bundle=bundle,
        nodes=len(audits),
        whole=lines["all", "all"],
        groups=tuple(
            (title, tuple(line for (kind, _), line in sorted(lines.items(), key=_order) if kind == wanted))
            for wanted, title in KINDS
            if any(kind == wanted for kind, _ in lines)
        ),
        needed=JUDGED_FROM_QUERIES,
        bounded=any(line.bounds for line in lines.values()),
        floor=FLOOR,
        floor_at=_place(FLOOR, scale),
        scale=scale,
        queries=sum(audit.queries for audit in audits),
        probes=sum(audit.probes for audit in audits),
        missed=sum(audit.probes_missed for audit in audits),
        rebuilds=sum(audit.rebuilds for audit in audits),
    )


def _audits(node: NodeReading, surface: str) -> Iterable[tuple[str, AuditHealth]]:
    for of_surface in node.health.surfaces if node.health is not None else ():
        for bundle in of_surface.bundles if of_surface.surface == surface else ():
            if bundle.bundle == of_surface.live and bundle.audit is not None and bundle.audit.groups:
                yield bundle.bundle, bundle.audit


def _order(entry: tuple[tuple[GroupKind, str], RecallLine]) -> int:
    """Youngest first; the others stay in the order they came in."""
    (kind, name), _ = entry
    ages = [age for age, _ in AGES]
    return ages.index(name) if name in ages else len(ages) if kind == "age" else 0


def _is_judged(group: GroupRecall) -> bool:
    return group.queries >= JUDGED_FROM_QUERIES


def _says_more(group: GroupRecall, held: GroupRecall) -> bool:
    """Tell whether a node's figures of a group are to be shown before another's."""
    if _is_judged(group) != _is_judged(held):
        return _is_judged(group)
    return group.lower < held.lower if _is_judged(group) else group.queries > held.queries


def _line(group: GroupRecall, scale: float) -> RecallLine:
    bounds = Bounds(
        lower=group.lower,
        start=_place(group.lower, scale),
        at=_place(group.recall, scale),
        end=_place(group.upper, scale),
        tone="bad" if group.upper < FLOOR else "good" if group.lower >= FLOOR else "",
    )
    return RecallLine(group.group, group.recall, group.queries, bounds if _is_judged(group) else None)


def _place(recall: float, scale: float) -> float:
    return (recall - scale) / (1 - scale)
