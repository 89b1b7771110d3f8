"""One freshness run against a deployment: preload, open loop, burst, report. The parts do the work, each in its own process."""

import os
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict, replace
from typing import Any

from lab.bench.freshness import report
from lab.bench.freshness.asker import Asked, ask
from lab.bench.freshness.plan import Plan, Probe, Target, probes
from lab.bench.freshness.prober import Seen, look
from lab.bench.freshness.sender import Sent, send
from lab.bench.freshness.watcher import Watcher
from lab.bench.freshness.worker import PartFailed, Worker
from lab.bench.machine import commit, machine
from lab.bench.progress import OnProgress, untold
from schemas.topics import embeddings_topic_name
from schemas.wire.tail import TailReader

_PREPARE_S = 900.0
_PRELOAD_S = 900.0
_SETTLE_S = 180.0
_DRAIN_S = 180.0
_TELL_EVERY_S = 5.0

Say = Callable[[str], None]


def run(plan: Plan, target: Target, *, say: Say = lambda _: None, on_progress: OnProgress = untold) -> dict[str, Any]:
    """Run the benchmark and return its figures, with machine, commit and configuration.

    Args:
        target: a deployment whose live bundle's index is empty, or holds nothing that expires during the run.
        say: takes a sentence for people at every step.
        on_progress: told of the open loop's seconds.

    Raises:
        PartFailed: a part ended with an error, or the deployment did not take the preload in time.
    """
    with ExitStack() as stack:
        sender = stack.enter_context(Worker(send, plan, target.bootstrap))
        asker = stack.enter_context(Worker(ask, plan, target))
        prober = stack.enter_context(Worker(look, plan, target))
        own = {"sender": sender.pid, "asker": asker.pid, "prober": prober.pid, "watcher": os.getpid()}
        watcher = Watcher(replace(target, pids={**target.pids, **own}))
        stack.callback(watcher.stop)
        for part in (asker, prober):
            part.receive(timeout_s=_PREPARE_S)
        events_begin_ms: int = sender.receive(timeout_s=_PREPARE_S)
        say("events are encoded; preloading")
        base = _first_beat(watcher)
        sender.ask("preload", timeout_s=_PRELOAD_S)
        _await(lambda: bool(watcher.samples) and watcher.samples[-1].live >= plan.live, "the preload to be live", _PRELOAD_S)
        _await(lambda: watcher.samples[-1].merge_debt == 0, "the builder to settle", _SETTLE_S)
        say(f"{watcher.samples[-1].live:,} candidates live; {plan.rate_per_s:g} tweets/s for {plan.played_s:g} s")
        with TailReader(target.bootstrap, embeddings_topic_name(target.bundle), range(target.partitions)) as reader:
            begin = reader.end_offsets()
        start_s = time.monotonic() + 1.0
        load_before = machine()["load_1m"]
        behind_s = time.time() + start_s - time.monotonic() - events_begin_ms / 1000
        prober.tell((start_s, behind_s))
        for part in (asker, sender):
            part.tell(start_s)
        tell_seconds(plan, start_s, sender, on_progress)
        sent: Sent = sender.receive(timeout_s=plan.played_s + 2 * _DRAIN_S)
        asked: Asked = asker.receive(timeout_s=plan.played_s + _DRAIN_S)
        seen: Seen = prober.receive(timeout_s=plan.give_up_s + _DRAIN_S)
        load_after = machine()["load_1m"]
        say("the open loop is over; the burst")
        burst = _burst(plan, sender, watcher, base)
        acked_s, acked = sender.ask("acknowledged", timeout_s=30.0)
        watcher.stop()
        say("reading the probes' embeddings")
        embedded_ms = _embedded(target, begin, probes(plan))
    figures = _figures(plan, watcher, sent, asked, seen, start_s=start_s)
    at_s, debt = report.debts(acked_s, acked, watcher.beats, watcher.samples, base)
    measured = (start_s + plan.warmup_s, start_s + plan.played_s)
    debt_start, debt_end, debt_max = report.edges(at_s, debt, *measured)
    ceilings = report.ceilings(watcher.samples, burst)
    slowest = min((rate for rate in ceilings.values() if rate), default=None)
    return {
        "bench": "freshness",
        "machine": {**machine(), "load_1m_before": load_before, "load_1m_after": load_after},
        "commit": commit(),
        "config": {**asdict(plan), "index": "all", "partitions": target.partitions},
        "seed_list": [plan.seed],
        **figures,
        "debt_start": debt_start,
        "debt_end": debt_end,
        "debt_max": debt_max,
        "efficiency": round(figures["rate_achieved"] / slowest, 3) if slowest else None,
        "ceiling_tweets_per_s": {stage: rate and round(rate) for stage, rate in ceilings.items()},
        "stages_ms": report.stages_ms(
            probes(plan), sent, seen, start_s=start_s, embedded_ms=embedded_ms, unix_offset_s=time.time() - time.monotonic()
        ),
        "trouble": watcher.trouble[:5],
        "rows": report.rows(probes(plan), seen, start_s),
    }


def _figures(plan: Plan, watcher: Watcher, sent: Sent, asked: Asked, seen: Seen, *, start_s: float) -> dict[str, Any]:
    window = (start_s + plan.warmup_s, start_s + plan.played_s)
    latencies = report.latencies_ms(probes(plan), seen, start_s)
    live = [(s.at_s, float(s.live)) for s in watcher.samples]
    rows = report.rate_between([(s.at_s, float(s.applied)) for s in watcher.samples], *window)
    achieved = report.rate_between(live, *window) or 0.0
    return {
        "rate_offered": plan.rate_per_s,
        "rate_achieved": round(achieved, 1),
        "engagements_per_s": round(report.rate_between([(b.at_s, float(b.engagements)) for b in watcher.beats], *window) or 0.0, 1),
        "queries_per_s": round(len(asked.waits_ms) / plan.seconds, 1),
        "live": int(next((count for at, count in reversed(live) if at <= window[1]), 0)),
        **report.percentiles(latencies),
        "query_p50_ms": report.percentiles(asked.waits_ms)["p50_ms"],
        "query_p99_ms": report.percentiles(asked.waits_ms)["p99_ms"],
        "query_failed": asked.failed + seen.failed,
        "recall_at_200": round(float(asked.recalls.mean()), 4) if len(asked.recalls) else None,
        "recall_compared": len(asked.recalls),
        "probes": plan.probes,
        "lost": plan.probes - len(latencies),
        "rows_per_tweet": round((rows or 0.0) / achieved, 2) if achieved else None,
        "cores": report.cores(watcher.samples, *window),
        "own_lateness_ms": {
            "sender": report.percentiles(sent.late_ms),
            "queries": report.percentiles(asked.late_ms),
            "probe_resolution": report.percentiles(seen.polls_ms),
        },
    }


def _first_beat(watcher: Watcher) -> int:
    _await(lambda: bool(watcher.beats), "the embedder's heartbeat", 60.0)
    return watcher.beats[-1].inputs


def tell_seconds(plan: Plan, start_s: float, sender: Worker, on_progress: OnProgress) -> None:
    """Tell how many seconds of the open loop are over until all are; a sender that fails ends it sooner."""
    while (left_s := start_s + plan.played_s - time.monotonic()) > 0:
        on_progress(int(plan.played_s - left_s), int(plan.played_s))
        if sender.has_said(wait_s=min(left_s, _TELL_EVERY_S)):
            return
    on_progress(int(plan.played_s), int(plan.played_s))


def _burst(plan: Plan, sender: Worker, watcher: Watcher, base: int) -> report.Burst:
    """Send the burst, wait until the node has applied what came of it, and return what there was to do."""
    began_s = time.monotonic()
    end = base + int(sender.ask("burst", timeout_s=_DRAIN_S))
    _await(lambda: watcher.beats[-1].inputs >= end, "the burst to be read", _DRAIN_S)
    _await(lambda: watcher.samples[-1].applied >= watcher.samples[-1].written, "the burst to be applied", _DRAIN_S)
    return report.Burst(began_s, plan.burst)


def _embedded(target: Target, begin: dict[int, int], wanted: tuple[Probe, ...]) -> dict[str, int]:
    """Return the append time of each probe's first embedding, Unix milliseconds, by id."""
    left = {probe.candidate_id.encode() for probe in wanted}
    found: dict[str, int] = {}
    topic = embeddings_topic_name(target.bundle)
    with TailReader(target.bootstrap, topic, range(target.partitions), start=begin) as reader:
        while left and not reader.at_end():
            for record in reader.poll(10_000, 1.0):
                if record.key in left:
                    left.discard(record.key)
                    found[record.key.decode()] = record.timestamp_ms
    return found


def _await(holds: Callable[[], bool], what: str, timeout_s: float) -> None:
    deadline_s = time.monotonic() + timeout_s
    while not holds():
        if time.monotonic() > deadline_s:
            raise PartFailed(f"waited {timeout_s:g} s for {what}; the roles' logs say why")
        time.sleep(0.05)
