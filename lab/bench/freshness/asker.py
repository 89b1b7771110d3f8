"""Queries on a schedule that no slow answer delays, and the recall of a sample of them. Publishes nothing."""

import json
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

import numpy as np

from lab.bench.freshness.http import Retrieval, profile
from lab.bench.freshness.plan import Plan, Target
from lab.bench.freshness.traffic import make_world
from lab.observed.columns import Floats
from lab.world.live import Clock, LiveWorld
from serving.index.audit import SCORE_TOLERANCE

# each asks every so many-th query: an answer of up to so many query intervals delays nobody
_THREADS = 24


@dataclass(frozen=True, slots=True)
class Asked:
    """What became of the queries.

    Attributes:
        waits_ms: float64 [answered], from scheduled arrival to the last byte; the warm-up's are left out.
        late_ms: float64 [asked], from scheduled arrival to the request's first byte: the benchmark's own lateness.
        failed: queries without an answer.
        recalls: share of the exact answer in the ordinary one, float64 [compared]; see `recall`.
        exact_ms: how long the exact answers took.
    """

    waits_ms: Floats
    late_ms: Floats
    failed: int
    recalls: Floats
    exact_ms: Floats


def ask(connection: Connection, plan: Plan, target: Target) -> None:
    """Run the asker's process: prepare, wait for a start (monotonic seconds), ask for as long as the open loop, report."""
    requests = user_requests(plan)
    connection.send("prepared")
    start_s: float = connection.recv()
    connection.send(_Asker(plan, target, requests).run(start_s))


def user_requests(plan: Plan) -> list[dict[str, Any]]:
    """Return requests of users of the world, profiles inline."""
    return [{"k": plan.k, "user": profile(user)} for user in LiveWorld(make_world(plan.seed), Clock(unix_ms=0)).users()]


def recall(truth: Mapping[str, float], found: Mapping[str, float]) -> float:
    """Return the share of an exact answer that another holds, given the score of each id in both.

    Of candidates with equal scores at the end of an answer either is right: many tweets of one author have the same features, so
    the same vector.
    """
    least = min(truth.values()) - SCORE_TOLERANCE
    right = sum(candidate_id in truth or score >= least for candidate_id, score in found.items())
    return min(1.0, right / len(truth))


class _Asker:
    def __init__(self, plan: Plan, target: Target, requests: list[dict[str, Any]]) -> None:
        self._plan = plan
        self._target = target
        self._requests = requests
        self._bodies = [json.dumps(request).encode() for request in requests]
        rng = np.random.default_rng((plan.seed, 4))
        self._due_s = np.sort(rng.random(round(plan.queries_per_s * plan.played_s)) * plan.played_s).tolist()
        self._waits: list[float] = []
        self._late: list[float] = []
        self._failed = 0
        self._recalls: list[float] = []
        self._exact: list[float] = []

    def run(self, start_s: float) -> Asked:
        with ThreadPoolExecutor(_THREADS + 1) as pool:
            asking = [pool.submit(self._ask_in_turn, start_s, number) for number in range(_THREADS)]
            asking.append(pool.submit(self._compare, start_s))
            for thread in asking:
                # one that failed has asked no more: a run of fewer queries would look like one without errors
                thread.result()
        columns = (np.array(column) * 1000 for column in (self._waits, self._late, self._exact))
        waits_ms, late_ms, exact_ms = columns
        return Asked(waits_ms, late_ms, self._failed, np.array(self._recalls), exact_ms)

    def _ask_in_turn(self, start_s: float, number: int) -> None:
        retrieval = Retrieval(self._target.node_url, self._target.surface)
        for at in range(number, len(self._due_s), _THREADS):
            due_s = self._due_s[at]
            time.sleep(max(0.0, start_s + due_s - time.monotonic()))
            began_s = time.monotonic() - start_s
            answer = retrieval.ask(self._bodies[at % len(self._bodies)])
            if due_s < self._plan.warmup_s:
                continue
            self._late.append(began_s - due_s)
            if answer is None:
                self._failed += 1
            else:
                self._waits.append(time.monotonic() - start_s - due_s)
        retrieval.close()

    def _compare(self, start_s: float) -> None:
        plan = self._plan
        retrieval = Retrieval(self._target.node_url, self._target.surface)
        for at in range(int(plan.exact_per_s * plan.seconds)):
            # a fraction that meets every phase of what the builder does
            time.sleep(max(0.0, start_s + plan.warmup_s + (at + (at * 0.618) % 1) / plan.exact_per_s - time.monotonic()))
            request = self._requests[(at * 7) % len(self._requests)]
            found = retrieval.scores(request)
            began_s = time.monotonic()
            truth = retrieval.scores({**request, "exact": True})
            # recall is of those that were answered: a node that refuses its costly queries must not look the better for it
            self._failed += (found is None) + (truth is None)
            if found is not None and truth:
                self._exact.append(time.monotonic() - began_s)
                self._recalls.append(recall(truth, found))
        retrieval.close()
