"""Queries on a schedule that no slow answer delays, by turns to each replica; every answer is kept as it came. Judges nothing."""

import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

from lab.bench.freshness.http import Retrieval, profile
from lab.bench.freshness.traffic import make_world
from lab.bench.swap.plan import Plan
from lab.world.live import Clock, LiveWorld

_THREADS = 16


@dataclass(frozen=True, slots=True)
class Kept:
    """One query. `at` and `length` are its answer's place in the spool; no length when there was none.

    Attributes:
        due_s: scheduled time, Unix seconds.
        wait_ms: from then to the last byte.
        asked_ms, answered_ms: Unix milliseconds of the request itself.
    """

    node: str
    user_id: str
    due_s: float
    wait_ms: float
    asked_ms: int
    answered_ms: int
    at: int
    length: int


def ask(connection: Connection, plan: Plan, node_urls: tuple[str, ...], surface: str, spool: Path) -> None:
    """Run the asker's process: wait for a start (Unix seconds), ask until any message, report what was asked."""
    asker = _Asker(plan, node_urls, surface, spool)
    connection.send("prepared")
    start_s: float = connection.recv()
    with closing(asker), ThreadPoolExecutor(_THREADS) as pool:
        asking = [pool.submit(asker.ask_in_turn, start_s, number) for number in range(_THREADS)]
        try:
            connection.recv()
        finally:
            asker.stop.set()
        for thread in asking:
            # one that failed has asked no more: a run of fewer queries would look like one without errors
            thread.result()
    connection.send(asker.kept)


class _Asker:
    def __init__(self, plan: Plan, node_urls: tuple[str, ...], surface: str, spool: Path) -> None:
        self._plan = plan
        self._node_urls = node_urls
        self._surface = surface
        self._spool = spool.open("wb")
        self._written = 0
        self._lock = threading.Lock()
        self.kept: list[Kept] = []
        self.stop = threading.Event()
        self._users = [
            (user.user_id, json.dumps({"k": plan.k, "user_id": user.user_id, "user": profile(user)}).encode())
            for user in LiveWorld(make_world(plan.seed), Clock(unix_ms=0)).users()
        ]

    def close(self) -> None:
        self._spool.close()

    def ask_in_turn(self, start_s: float, first: int) -> None:
        nodes = [Retrieval(url, self._surface) for url in self._node_urls]
        number = first
        while True:
            due_s = start_s + number / self._plan.queries_per_s
            if self.stop.wait(max(0.0, due_s - time.time())):
                break
            at = number % len(nodes)
            # no common factor with the replicas: every user comes to each
            user_id, body = self._users[(number // len(nodes)) % len(self._users)]
            began_s = time.time()
            answer = nodes[at].ask(body)
            self._keep(self._node_urls[at], user_id, due_s, began_s, answer or b"")
            number += _THREADS
        for node in nodes:
            node.close()

    def _keep(self, node: str, user_id: str, due_s: float, began_s: float, answer: bytes) -> None:
        ended_s = time.time()
        with self._lock:
            self._spool.write(answer)
            self._spool.flush()
            times_ms = (int(began_s * 1000), int(ended_s * 1000))
            self.kept.append(Kept(node, user_id, due_s, (ended_s - due_s) * 1000, *times_ms, self._written, len(answer)))
            self._written += len(answer)
