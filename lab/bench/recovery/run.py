"""One recovery run against a deployment: preload, a quiet window, kills by turns, verdict. The parts do the work."""

import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any

from lab.bench.freshness.worker import Worker
from lab.bench.machine import commit, machine
from lab.bench.recovery.plan import Plan
from lab.bench.recovery.report import Kill, by_role, cost
from lab.bench.swap.asker import Kept, ask
from lab.bench.swap.backfill import searchable
from lab.bench.swap.operator import Operator
from lab.bench.swap.plan import Target
from lab.bench.swap.prober import Probed, probe
from lab.bench.swap.report import latencies, percentile, rescored, waits
from lab.bench.swap.traffic import EVENTS_A_ROUND, Load, send
from lab.history import AnswerChecker, judge, read_history
from schemas.errors import RoostError

_PREPARE_S = 300.0
_PRELOAD_S = 900.0
_QUIET_S = 60.0

Say = Callable[[str], None]


def run(plan: Plan, target: Target, *, say: Say = lambda _: None) -> dict[str, Any]:
    """Kill each of `target.kills` by turns under load, `plan.rounds` times, and return what it cost, and whether anything is lost.

    Args:
        target: a bundle live on an empty index, on every replica.
        say: takes a sentence for people at every step.

    Raises:
        PartFailed: a part ended with an error.
        RoostError: the deployment did not take the preload.
    """
    load = plan.load
    with ExitStack() as stack:
        spool = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="roost-recovery-"))) / "answers"
        sender = stack.enter_context(Worker(send, load, target.bootstrap))
        asker = stack.enter_context(Worker(ask, load, target.node_urls, target.surface, spool))
        prober = stack.enter_context(Worker(probe, load, target.bootstrap, target.node_urls, target.surface))
        operator = Operator(load, target)
        stack.callback(operator.close)
        asker.receive(timeout_s=_PREPARE_S)
        prober.receive(timeout_s=_PREPARE_S)
        preloaded: int = sender.receive(timeout_s=_PRELOAD_S)
        operator.await_(
            lambda: min(_held(operator, target)) >= preloaded, f"{preloaded:,} candidates to be live", _PRELOAD_S, look_s=0.1
        )
        say(f"{preloaded:,} candidates live on {len(target.node_urls)} replicas; {plan.before_s:g} s without a kill")
        start_s = time.time() + 0.5
        for part in (sender, asker, prober):
            part.tell(start_s)
        begin_s = start_s + plan.settle_s
        _watch_until(begin_s + plan.before_s, target)
        kills = _kills(plan, target, say)
        prober.tell("stop")
        probed: list[Probed] = prober.receive(timeout_s=load.give_up_s + 60)
        asker.tell("stop")
        kept: list[Kept] = asker.receive(timeout_s=60.0)
        sender.tell("stop")
        sent: Load = sender.receive(timeout_s=60.0)
        # of a round that was cut short, the create alone may have been sent
        expected = preloaded + len(probed) + (sent.acknowledged % EVENTS_A_ROUND == 1)
        say(f"{len(kept):,} queries and {sent.acknowledged:,} events; {expected:,} candidates are to be live, and no others")
        wrong = _wrong(operator, target, expected)
        say("scoring every answer again")
        answers = rescored(spool, kept, AnswerChecker(target.registry, target.surface))
        verdict = judge(read_history(target.bootstrap, answers.observed))
        say(verdict.sentence())
    costs = [cost(kill, probed, kept) for kill in kills]
    before = (begin_s, begin_s + plan.before_s)
    return {
        "bench": "recovery",
        "machine": machine(),
        "commit": commit(),
        "config": asdict(plan),
        "seed_list": [plan.seed],
        "replicas": len(target.node_urls),
        "live": preloaded,
        "queries": answers.queries,
        "events_per_s": round(sent.rate_per_s, 1),
        "before_ms": {
            "freshness_p99": percentile(latencies(probed, *before), 99),
            "query_p99": percentile(waits(kept, *before), 99),
        },
        "roles": by_role(kills, costs),
        "lost": sum(one.latency_ms is None for one in probed),
        "probes": len(probed),
        "failed_elsewhere": sum(one.failed_elsewhere for one in costs),
        "mixed": answers.mixed,
        "empty": answers.empty,
        "violations": len(verdict.violations),
        "live_wrong": wrong,
        "rows": [{**asdict(kill), **asdict(one)} for kill, one in zip(kills, costs, strict=True)],
    }


def _kills(plan: Plan, target: Target, say: Say) -> list[Kill]:
    kills: list[Kill] = []
    nodes = dict(zip(("serve", "serve-2"), target.node_urls, strict=True))
    for number in range(plan.rounds):
        for role, kill in target.kills.items():
            at_s = time.time()
            kill()
            say(f"round {number + 1} of {plan.rounds}: kill -9 of {role}")
            _watch_until(at_s + plan.between_s, target)
            kills.append(Kill(role, nodes.get(role), at_s, time.time()))
    return kills


def _wrong(operator: Operator, target: Target, expected: int) -> int:
    """Return by how many the replicas' live candidates differ from what was published, at most, once no more changes."""
    deadline_s = time.monotonic() + _QUIET_S
    while (wrong := max(abs(held - expected) for held in _held(operator, target))) and time.monotonic() < deadline_s:
        target.watch()
        time.sleep(0.5)
    return wrong


def _held(operator: Operator, target: Target) -> list[int]:
    """Return each replica's count; a replica that does not answer holds none."""
    held = []
    for node in operator.nodes:
        try:
            held.append(searchable(node, target.live_bundle))
        except RoostError:
            held.append(0)
    return held


def _watch_until(unix_s: float, target: Target) -> None:
    while (left_s := unix_s - time.time()) > 0:
        target.watch()
        time.sleep(min(left_s, 1.0))
