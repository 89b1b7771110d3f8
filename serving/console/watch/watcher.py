"""Reads everything every two seconds and keeps the last minutes. Draws nothing, decides nothing."""

import logging
import threading
import time
from collections import deque
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from schemas.surfaces import Surfaces
from schemas.topics import USER_STATES, USERS, embeddings_topic_name
from serving.console.readings import (
    DEAD_LETTERS,
    INPUTS,
    BrokerReading,
    Heartbeat,
    Moment,
    NodeReading,
    SampledDelays,
)
from serving.console.watch.broker import BrokerWatch
from serving.console.watch.delays import sampled_delays
from serving.console.watch.letters import KeptLetters
from serving.console.watch.newest import NewestRecords
from serving.console.watch.nodes import NodeReader
from serving.console.watch.users import recent_users
from serving.query.retrieve import wall_clock_ms

log = logging.getLogger(__name__)

EVERY_S = 2.0
KEPT = 300
_SAMPLED_PER_PARTITION = 50
# the page calls them those of the last minute
_SAMPLED_MS = 60_000
_USERS_PER_PARTITION = 8
_USERS_KEPT = 24
# one after the other, a few that do not answer would make every figure seem too old to be read
_NODES_AT_ONCE = 32
# between two readings, of the wall clock against the monotonic one
_CLOCK_SET_S = 1.0


class Watcher:
    """One thread that reads; `moments` may be asked for on any."""

    def __init__(self, bootstrap: str, surfaces: Surfaces) -> None:
        self._surfaces = surfaces
        self._broker = BrokerWatch(bootstrap, (*INPUTS, *DEAD_LETTERS))
        self._nodes = NodeReader()
        self._newest = NewestRecords(bootstrap)
        self._letters = KeptLetters(self._newest, self._broker.topic_ids)
        self._asking = ThreadPoolExecutor(_NODES_AT_ONCE, thread_name_prefix="console-node")
        self._moments: deque[Moment] = deque(maxlen=KEPT)
        # of the newest reading: the wall clock's time less the one's that nobody sets
        self._apart_s: float | None = None
        self._taken_s = 0.0
        self._told_ms: int | None = None
        self._users: tuple[str, ...] = ()
        self._stopping = threading.Event()
        self._due = threading.Event()
        self._thread = threading.Thread(target=self._run, name="console-watch", daemon=True)

    def start(self) -> None:
        """Begin to read."""
        self._broker.start()
        self._thread.start()

    def stop(self) -> None:
        """End the threads and close the connections."""
        self._stopping.set()
        self._due.set()
        self._thread.join()
        self._asking.shutdown()
        self._broker.stop()
        self._nodes.close()
        self._newest.close()

    def moments(self) -> Sequence[Moment]:
        """See `HasMoments`."""
        return tuple(self._moments)

    def hurry(self) -> None:
        """See `HasMoments`."""
        self._due.set()

    def _run(self) -> None:
        while not self._stopping.is_set():
            started_s = time.monotonic()
            try:
                self._keep(self._read())
            # a page that lags says so; a thread that ended would show yesterday's figures for ever
            except Exception:
                log.exception("reading the deployment failed; trying again")
            self._due.wait(max(0.1, EVERY_S - (time.monotonic() - started_s)))
            self._due.clear()

    def _keep(self, moment: Moment) -> None:
        """Keep a reading; those of before the clock was set go: a rate over the step would be none, or below zero."""
        apart_s = moment.at_ms / 1000 - self._taken_s
        if self._apart_s is not None and abs(apart_s - self._apart_s) > _CLOCK_SET_S:
            log.warning("the clock was set by %+.1f s: figures over time begin anew", apart_s - self._apart_s)
            self._moments.clear()
        self._apart_s = apart_s
        self._moments.append(moment)

    def _read(self) -> Moment:
        broker = self._broker.read()
        # the moment is the broker's: who was heard of then may be silent by the time that slow nodes and samples are read
        at_ms, self._taken_s = wall_clock_ms(), time.monotonic()
        is_away = broker.trouble is not None and not broker.ends
        self._told_ms = self._told_ms if is_away else at_ms
        moment = Moment(at_ms, broker, told_ms=self._told_ms if is_away else None)
        nodes = tuple(self._asking.map(self._node, moment.live_nodes()))
        return replace(
            moment,
            nodes=nodes,
            delays=self._delays(broker),
            users=self._recent_users(broker),
            # of a topic that cannot be read now nobody knows what it holds
            dead_letters=None if broker.trouble else self._letters.count(broker.ends),
        )

    def _node(self, beat: Heartbeat) -> NodeReading:
        if not beat.status.url:
            return NodeReading(beat.status.instance, "", "its heartbeat names no address")
        return self._nodes.read(beat.status.instance, beat.status.url)

    def _delays(self, broker: BrokerReading) -> dict[str, SampledDelays]:
        delays: dict[str, SampledDelays] = {}
        for surface, state in broker.states.items():
            if state.live is None or surface not in self._surfaces:
                continue
            # partition p of a bundle's topic holds the ids of partition p of its candidates' topic
            partitions = broker.ends.get(self._surfaces[surface].candidate_topic, {})
            topic = embeddings_topic_name(state.live)
            records = self._newest.read(topic, partitions, per_partition=_SAMPLED_PER_PARTITION)
            # what was written before it went live is its backfill, of candidates of days ago
            live_since_ms = max(entry.since_ms for entry in state.bundles if entry.bundle == state.live)
            since_ms = max(wall_clock_ms() - _SAMPLED_MS, live_since_ms)
            delays[surface] = sampled_delays(records, since_ms=since_ms)
        return delays

    def _recent_users(self, broker: BrokerReading) -> tuple[str, ...]:
        records = self._newest.read(USER_STATES, broker.ends.get(USERS, {}), per_partition=_USERS_PER_PARTITION)
        self._users = recent_users(records, self._users, most=_USERS_KEPT)
        return self._users
