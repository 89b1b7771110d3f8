"""From what a run's parts kept to what each kill cost. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from lab.bench import promised
from lab.bench.swap.asker import Kept
from lab.bench.swap.prober import Probed
from lab.bench.swap.report import latencies, percentile

NONE = ("lost", "not_back", "failed_elsewhere", "mixed", "empty", "violations", "live_wrong")
"""Figures that must be 0."""
_UNDER_WAY_S = 1.0
"""A tweet due so long before a kill was found before it, however busy the machine."""


@dataclass(frozen=True, slots=True)
class Kill:
    """One kill -9.

    Attributes:
        node: the replica's URL; None where what was killed answers no queries.
        at_s, end_s: Unix seconds: from the kill to the next one.
    """

    role: str
    node: str | None
    at_s: float
    end_s: float


@dataclass(frozen=True, slots=True)
class Cost:
    """What one kill cost those who publish and those who ask.

    Attributes:
        stale_ms: the longest from a tweet's scheduled send to the first answer with it; None where none was found.
        down_ms: from the kill to the replica's next answer; None where no replica was killed, or it answered no more.
        failed: queries to the killed replica without an answer; a client that knows both asks the other.
    """

    stale_ms: float | None
    down_ms: float | None
    failed: int


def cost(kill: Kill, probed: Sequence[Probed], kept: Sequence[Kept]) -> Cost:
    """Count what the kill may have delayed: queries that ended until the next one, and tweets due from `_UNDER_WAY_S` before it."""
    asked = [query for query in kept if kill.at_s * 1000 <= query.answered_ms < kill.end_s * 1000]
    back = [query.answered_ms for query in asked if query.node == kill.node and query.length and query.asked_ms > kill.at_s * 1000]
    return Cost(
        stale_ms=percentile(latencies(probed, (kill.at_s - _UNDER_WAY_S, kill.end_s - _UNDER_WAY_S)), 100),
        down_ms=round(min(back) - kill.at_s * 1000, 1) if back else None,
        failed=sum(query.node == kill.node and not query.length for query in asked),
    )


def by_role(kills: Sequence[Kill], costs: Sequence[Cost]) -> dict[str, dict[str, Any]]:
    """Sum the kills of each role up."""
    found: dict[str, dict[str, Any]] = {}
    for role in dict.fromkeys(kill.role for kill in kills):
        mine = [one for kill, one in zip(kills, costs, strict=True) if kill.role == role]
        stale = [one.stale_ms for one in mine if one.stale_ms is not None]
        down = [one.down_ms for one in mine if one.down_ms is not None]
        found[role] = {
            "kills": len(mine),
            "stale_ms_p50": percentile(stale, 50),
            "stale_ms_max": percentile(stale, 100),
            "down_ms_p50": percentile(down, 50),
            "down_ms_max": percentile(down, 100),
            # of these nobody knows how long: the two above are of the others
            "not_back": _not_back(kills, costs, role),
            "failed": sum(one.failed for one in mine),
        }
    return found


def not_back(kills: Sequence[Kill], costs: Sequence[Cost]) -> int:
    """Return how often a killed replica answered no more before the next kill."""
    return sum(_not_back(kills, costs, role) for role in {kill.role for kill in kills})


def _not_back(kills: Sequence[Kill], costs: Sequence[Cost], role: str) -> int:
    of_role = [(kill, one) for kill, one in zip(kills, costs, strict=True) if kill.role == role]
    return sum(kill.node is not None and one.down_ms is None for kill, one in of_role)


def failed_elsewhere(kept: Sequence[Kept], costs: Sequence[Cost]) -> int:
    """Return how many queries of the whole run got no answer, but those to a replica that was just killed."""
    return sum(not query.length for query in kept) - sum(one.failed for one in costs)


def shortfalls(figures: dict[str, Any]) -> list[str]:
    """Return a sentence for each figure that should be 0 and is not."""
    return promised.shortfalls(figures, none=NONE)
