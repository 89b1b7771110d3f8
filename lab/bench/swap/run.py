"""One swap run against a deployment: preload, a quiet window, swaps and rollbacks, backfills, verdict. The parts do the work."""

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from lab.bench.machine import commit, machine, resident_mb
from lab.bench.progress import OnProgress, counted, untold
from lab.bench.swap import backfill, report
from lab.bench.swap.operator import Operator, RolledBack
from lab.bench.swap.parts import parts, watch_until
from lab.bench.swap.plan import MIN_BUNDLES, Plan, Target
from lab.history import AnswerChecker, judge, read_history
from schemas.errors import RoostError

Say = Callable[[str], None]
_CLEARED_UP_S = 3.0


def run(plan: Plan, target: Target, *, say: Say = lambda _: None, on_progress: OnProgress = untold) -> dict[str, Any]:
    """Run the benchmark and return its figures, with machine, commit and configuration; a deployment of its own is best.

    Args:
        target: bundles in a registry, one live on an empty index, on every replica.
        say: takes a sentence for people at every step.
        on_progress: told of every swap, rollback and backfill.

    Raises:
        PartFailed: a part ended with an error.
        RoostError: a swap or rollback did not come about.
    """
    if len(set(target.bundles)) < MIN_BUNDLES:
        raise RoostError(f"a swap run needs {MIN_BUNDLES} different bundles, not {len(set(target.bundles))}")
    with parts(plan, target) as running:
        operator = running.operator
        step = counted(plan.swaps + plan.rollbacks + plan.backfills, on_progress)
        preloaded = running.preload()
        say(f"{preloaded:,} candidates live on {len(target.node_urls)} replicas; {plan.before_s:g} s without a rollout")
        begin_s = running.begin()
        watch_until(begin_s + plan.before_s, target)
        memory_before = _memory_mb(target.pids)
        swapped = _swaps(plan, operator, target, say, step)
        traffic = running.end()
        probed, kept, load = traffic.probed, traffic.kept, traffic.load
        say(f"{len(kept):,} queries and {load.acknowledged:,} events; backfills without traffic, on one node")
        target.leave_one_node()
        backfills = [_backfill(operator, target, step) for _ in range(plan.backfills)]
        say("scoring every answer again")
        answers = report.rescored(running.spool, kept, AnswerChecker(target.registry, target.surface))
        verdict = judge(read_history(target.bootstrap, answers.observed))
        say(verdict.sentence())
    windows = {"before": [(begin_s, begin_s + plan.before_s)], "between": swapped.between, "during": swapped.during}
    fresh = {name: report.percentile(report.latencies(probed, *spells), 99) for name, spells in windows.items()}
    query = {name: report.percentile(report.waits(kept, *spells), 99) for name, spells in windows.items()}
    return {
        "bench": "swap",
        "machine": machine(),
        "commit": commit(),
        "config": asdict(plan),
        "swaps": len(swapped.took_s),
        "rollbacks": len(swapped.rolled_back),
        "replicas": len(target.node_urls),
        "live": preloaded,
        "queries": answers.queries,
        "failed": answers.failed,
        "mixed": answers.mixed,
        "empty": answers.empty,
        "lost": sum(one.latency_ms is None for one in probed) + sum(not one.holds_newest for one in swapped.rolled_back),
        "violations": len(verdict.violations),
        "rollback_ms_p50": report.percentile([one.milliseconds for one in swapped.rolled_back], 50),
        "rollback_ms_p99": report.percentile([one.milliseconds for one in swapped.rolled_back], 99),
        "swap_s_p50": report.percentile(swapped.took_s, 50),
        "swap_s_max": report.percentile(swapped.took_s, 100),
        "freshness_p99_ms": fresh,
        "freshness_p99_ratio": report.ratio(fresh["during"], fresh["before"]),
        "freshness_p99_vs_between": report.ratio(fresh["during"], fresh["between"]),
        "query_p99_ms": query,
        "query_p99_ratio": report.ratio(query["during"], query["before"]),
        "query_p99_vs_between": report.ratio(query["during"], query["between"]),
        "probes": len(probed),
        "events_per_s": round(load.rate_per_s, 1),
        "sender_late_s": round(load.late_s, 2),
        "memory_mb": {"before": memory_before, "after_each": swapped.memory_mb, "after": swapped.memory_mb[-1]},
        **_backfill_figures(backfills),
        "history": verdict.as_data(),
    }


@dataclass(frozen=True, slots=True)
class _Swapped:
    """What came of the swaps: the seconds of each, the rollbacks, the windows with and without a rollout, and roles' memory."""

    took_s: list[float] = field(default_factory=list)
    rolled_back: list[RolledBack] = field(default_factory=list)
    during: list[report.Window] = field(default_factory=list)
    between: list[report.Window] = field(default_factory=list)
    memory_mb: list[dict[str, float]] = field(default_factory=list)


def _swaps(plan: Plan, operator: Operator, target: Target, say: Say, step: Callable[[], None]) -> _Swapped:
    swapped = _Swapped()
    for number in range(plan.swaps):
        begin_s = time.time()
        swapped.took_s.append(operator.swap())
        say(f"swap {number + 1} of {plan.swaps}: every replica answers from the new bundle after {swapped.took_s[-1]:.1f} s")
        step()
        if plan.rolls_back_after(number):
            swapped.rolled_back.append(operator.roll_back(number))
            say(f"rolled back: every replica answers from the old bundle after {swapped.rolled_back[-1].milliseconds:.0f} ms")
            step()
        # what a flip leaves to be done is the rollout's
        end_s = time.time() + _CLEARED_UP_S
        swapped.during.append((begin_s, end_s))
        swapped.between.append((end_s, end_s + plan.between_s))
        watch_until(end_s + plan.between_s, target)
        swapped.memory_mb.append(_memory_mb(target.pids))
    return swapped


def _backfill(operator: Operator, target: Target, step: Callable[[], None]) -> backfill.Backfill:
    used = {entry.bundle for entry in operator.state().bundles if entry.state in ("live", "draining")}
    measured = backfill.measure(operator, target, next(bundle for bundle in target.bundles if bundle not in used))
    step()
    return measured


def _backfill_figures(runs: list[backfill.Backfill]) -> dict[str, Any]:
    if not runs:
        return {"backfill_per_s": None, "backfill_efficiency": None}
    return {
        "backfill_per_s": round(statistics.median(run.pipeline_per_s for run in runs)),
        "backfill_efficiency": round(statistics.median(run.pipeline_per_s / run.in_process_per_s for run in runs), 3),
        "backfills": [asdict(run) for run in runs],
    }


def _memory_mb(pids: Mapping[str, int]) -> dict[str, float]:
    """Return the resident memory of the roles, where the system tells."""
    found = {}
    for role, pid in pids.items():
        try:
            found[role] = round(resident_mb(pid), 1)
        except OSError:
            continue
    return found
