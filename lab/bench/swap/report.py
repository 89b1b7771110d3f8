"""From what a run's parts kept to its figures. Pure but for reading the spool of answers."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lab.bench import promised
from lab.bench.swap.asker import Kept
from lab.bench.swap.prober import Probed
from lab.history import AnswerChecker, Observed
from lab.history.recorded import observed
from serving.api import ANSWER_JSON

LIMITS: dict[str, float] = {"rollback_ms_p99": 1_000.0, "freshness_p99_ratio": 1.3, "query_p99_ratio": 1.3}
"""At most."""
LEAST: dict[str, float] = {"backfill_efficiency": 0.6}
Window = tuple[float, float]
"""Begin and end, in Unix seconds."""
NONE = ("failed", "mixed", "empty", "lost", "violations")


@dataclass(frozen=True, slots=True)
class Answers:
    """Every query, judged one by one: `observed` of those with an answer, and how many there were of each kind."""

    observed: tuple[Observed, ...]
    queries: int
    failed: int
    mixed: int
    empty: int


def rescored(spool: Path, kept: Sequence[Kept], checker: AnswerChecker) -> Answers:
    """Read every kept answer back and score it again with the bundle it names; a mixed one is in `observed` with its fault."""
    found: list[Observed] = []
    failed = empty = 0
    for query, body in _bodies(spool, kept):
        if not body:
            failed += 1
            continue
        answer = ANSWER_JSON.validate_json(body)
        empty += not answer.candidates
        found.append(
            observed(
                answer,
                node=query.node,
                asked_ms=query.asked_ms,
                answered_ms=query.answered_ms,
                user_id=query.user_id,
                fault=checker.fault(answer),
            )
        )
    mixed = sum(one.fault is not None for one in found)
    return Answers(tuple(found), len(kept), failed, mixed, empty)


def _bodies(spool: Path, kept: Sequence[Kept]) -> Iterator[tuple[Kept, bytes]]:
    with spool.open("rb") as file:
        for query in sorted(kept, key=lambda query: query.at):
            file.seek(query.at)
            yield query, file.read(query.length)


def percentile(values: Sequence[float], share: float) -> float | None:
    """Return a percentile, rounded to a tenth; None of nothing."""
    return round(float(np.percentile(values, share)), 1) if values else None


def ratio(during: float | None, before: float | None) -> float | None:
    """Return how many times as long it took; None where either was not measured."""
    return round(during / before, 3) if during is not None and before else None


def latencies(probed: Sequence[Probed], *windows: Window) -> list[float]:
    """Return the milliseconds of the probes due within the windows that were found."""
    return [one.latency_ms for one in probed if _within(one.due_s, windows) and one.latency_ms is not None]


def waits(kept: Sequence[Kept], *windows: Window) -> list[float]:
    """Return the milliseconds of the queries due within the windows that were answered."""
    return [query.wait_ms for query in kept if _within(query.due_s, windows) and query.length]


def _within(due_s: float, windows: Sequence[Window]) -> bool:
    return any(begin_s <= due_s < end_s for begin_s, end_s in windows)


def shortfalls(figures: dict[str, Any]) -> list[str]:
    """Return a sentence for each figure that misses what was promised; one that was not measured does."""
    return promised.shortfalls(figures, none=NONE, most=LIMITS, least=LEAST)
