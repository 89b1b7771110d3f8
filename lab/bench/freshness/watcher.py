"""Watches a deployment from outside while it is under load: the node's metrics, the embedder's heartbeats, processor time."""

import os
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import httpx
from confluent_kafka.admin import AdminClient
from prometheus_client.parser import text_string_to_metric_families

from lab.bench.freshness.plan import Target
from schemas.codec import decode
from schemas.errors import BrokerUnavailable, InvalidInput
from schemas.records.control import EMBEDDER, NodeStatus
from schemas.topics import ENGAGEMENTS, NODE_STATUS, TWEETS, embeddings_topic_name
from schemas.wire.admin import make_admin
from schemas.wire.ends import log_ends
from schemas.wire.tail import TailReader

EVERY_S = 0.5


@dataclass(frozen=True, slots=True)
class Sample:
    """One moment of the deployment.

    Attributes:
        at_s: monotonic seconds.
        live, fresh: rows that can be returned, and those of them in no settled tier.
        merge_debt: rows the builder owes new cells, or a graph.
        applied, written: next offsets of the embeddings topic, summed over partitions: the node's, and the log's end.
        cpu_s: processor seconds used so far, by role.
    """

    at_s: float
    live: int
    fresh: int
    merge_debt: int
    applied: int
    written: int
    cpu_s: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Beat:
    """What an embedder's heartbeat said: next offsets of its inputs, summed over partitions. `at_s` is monotonic."""

    at_s: float
    tweets: int
    engagements: int

    @property
    def inputs(self) -> int:
        """Tweets and engagements read."""
        return self.tweets + self.engagements


def monotonic_of(unix_ms: float) -> float:
    """Return the monotonic seconds of a Unix time, by the two clocks as they stand now."""
    return time.monotonic() - (time.time() - unix_ms / 1000)


class Watcher:
    """Samples on a thread of its own, from construction until `stop`."""

    def __init__(self, target: Target) -> None:
        """Begin to watch."""
        self._target = target
        self.samples: list[Sample] = []
        self.beats: list[Beat] = []
        self.trouble: list[str] = []
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watcher", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the thread."""
        self._stopping.set()
        self._thread.join()

    def _run(self) -> None:
        target = self._target
        with (
            httpx.Client(base_url=target.node_url, timeout=30.0) as node,
            TailReader(target.bootstrap, NODE_STATUS, [0]) as statuses,
        ):
            # asked, not read: a consumer that only knows the ends would have the whole topic sent to it
            admin = make_admin(target.bootstrap)
            next_s = time.monotonic()
            while not self._stopping.is_set():
                try:
                    self.beats += self._beats(statuses)
                    self.samples.append(self._sample(node, admin))
                # a loaded machine answers late, or not at all: the run goes on, and the report says so
                except (httpx.HTTPError, BrokerUnavailable, KeyError) as error:
                    self.trouble.append(f"{type(error).__name__}: {error}")
                next_s += EVERY_S
                self._stopping.wait(max(0.0, next_s - time.monotonic()))

    def _sample(self, node: httpx.Client, admin: AdminClient) -> Sample:
        values = metric_values(node.get("/metrics").text, bundle=self._target.bundle)
        # the log's end after the node's position: what is under way may be counted, never missed
        topic = embeddings_topic_name(self._target.bundle)
        written = sum(log_ends(admin, [(topic, partition) for partition in range(self._target.partitions)]).values())
        return Sample(
            time.monotonic(),
            live=int(values["roost_index_rows", "live"]),
            fresh=int(values["roost_index_rows", "fresh"]),
            merge_debt=int(values["roost_index_merge_debt_rows", ""]),
            applied=int(values["roost_applied_offset", ""]),
            written=written,
            cpu_s={role: cpu_s(pid) for role, pid in self._target.pids.items()},
        )

    def _beats(self, statuses: TailReader) -> Iterator[Beat]:
        for record in statuses.poll(1_000, 0.0):
            if record.value is None or not (record.key or b"").startswith(EMBEDDER.encode()):
                continue
            try:
                status = decode(NodeStatus, record.value)
            except InvalidInput:
                continue
            sources = [progress.source for progress in status.progress if progress.bundle == self._target.bundle]
            sums = {topic: sum(s[topic].next_offset for s in sources if topic in s) for topic in (TWEETS, ENGAGEMENTS)}
            if sources:
                yield Beat(monotonic_of(status.time_ms), sums[TWEETS], sums[ENGAGEMENTS])


def metric_values(text: str, *, bundle: str) -> dict[tuple[str, str], float]:
    """Return the node's gauges of one bundle by (name, tier), summed over partitions; the tier is empty where there is none."""
    values: dict[tuple[str, str], float] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if sample.labels.get("bundle") == bundle:
                name = (sample.name, sample.labels.get("tier", ""))
                values[name] = values.get(name, 0.0) + sample.value
    return values


def cpu_s(pid: int) -> float:
    """Return the processor seconds a process has used; 0 where the system does not say."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
