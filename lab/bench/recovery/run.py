"""One recovery run against a deployment: preload, a quiet window, kills by turns, verdict. The parts do the work."""

import time
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from lab.bench.machine import commit, machine
from lab.bench.progress import OnProgress, counted, untold
from lab.bench.recovery.plan import Plan
from lab.bench.recovery.report import Kill, by_role, cost, failed_elsewhere, not_back
from lab.bench.swap.parts import Parts, parts, watch_until
from lab.bench.swap.plan import Target
from lab.bench.swap.report import latencies, percentile, rescored, waits
from lab.bench.swap.traffic import EVENTS_A_ROUND
from lab.history import AnswerChecker, judge, read_history

_QUIET_S = 60.0

Say = Callable[[str], None]


def run(plan: Plan, target: Target, *, say: Say = lambda _: None, on_progress: OnProgress = untold) -> dict[str, Any]:
    """Kill each of `target.kills` by turns under load, `plan.rounds` times, and return what it cost, and whether anything is lost.

    Args:
        target: a bundle live on an empty index, on every replica.
        say: takes a sentence for people at every step.
        on_progress: told of every kill, once its window is over.

    Raises:
        PartFailed: a part ended with an error.
        RoostError: the deployment did not take the preload.
    """
    with parts(plan.load, target) as running:
        step = counted(plan.rounds * len(target.kills), on_progress)
        preloaded = running.preload()
        say(f"{preloaded:,} candidates live on {len(target.node_urls)} replicas; {plan.before_s:g} s without a kill")
        begin_s = running.begin()
        watch_until(begin_s + plan.before_s, target)
        kills = _kills(plan, target, say, step)
        traffic = running.end()
        probed, kept, sent = traffic.probed, traffic.kept, traffic.load
        # of a round that was cut short, the create alone may have been sent
        expected = preloaded + len(probed) + (sent.acknowledged % EVENTS_A_ROUND == 1)
        say(f"{len(kept):,} queries and {sent.acknowledged:,} events; {expected:,} candidates are to be live, and no others")
        wrong = _wrong(running, target, expected)
        say("scoring every answer again")
        answers = rescored(running.spool, kept, AnswerChecker(target.registry, target.surface))
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
            "freshness_p99": percentile(latencies(probed, before), 99),
            "query_p99": percentile(waits(kept, before), 99),
        },
        "roles": by_role(kills, costs),
        "lost": sum(one.latency_ms is None for one in probed),
        "probes": len(probed),
        "not_back": not_back(kills, costs),
        "failed_elsewhere": failed_elsewhere(kept, costs),
        "mixed": answers.mixed,
        "empty": answers.empty,
        "violations": len(verdict.violations),
        "live_wrong": wrong,
        "rows": [{**asdict(kill), **asdict(one)} for kill, one in zip(kills, costs, strict=True)],
    }


def _kills(plan: Plan, target: Target, say: Say, step: Callable[[], None]) -> list[Kill]:
    kills: list[Kill] = []
    nodes = dict(zip(("serve", "serve-2"), target.node_urls, strict=True))
    for number in range(plan.rounds):
        for role, kill in target.kills.items():
            at_s = time.time()
            kill()
            say(f"round {number + 1} of {plan.rounds}: kill -9 of {role}")
            watch_until(at_s + plan.between_s, target)
            kills.append(Kill(role, nodes.get(role), at_s, time.time()))
            step()
    return kills


def _wrong(running: Parts, target: Target, expected: int) -> int:
    """Return by how many the replicas' live candidates differ from what was published, at most, once no more changes."""
    deadline_s = time.monotonic() + _QUIET_S
    while (wrong := max(abs(held - expected) for held in running.held())) and time.monotonic() < deadline_s:
        target.watch()
        time.sleep(0.5)
    return wrong
