"""What the write path measures of itself, in Prometheus' conventions, and the port it is read from. Decides nothing.

Counted once a batch, by whoever has the batch in hand. The port answers with metrics whatever the path, and with nothing else: that
it answers says that the process lives, not that it works; `roost_turn_timestamp_seconds` says that.
"""

import logging
import shutil
import time
from collections import Counter as Tally
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from operator import attrgetter
from pathlib import Path
from typing import Any, Protocol

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, start_http_server
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from schemas.errors import InvalidInput, RoostError
from schemas.positions import Place
from schemas.records.control import CommandKind, Outcome, Rollout
from schemas.records.feedback import Label, Provenance
from schemas.topics import embeddings_topic_name
from schemas.wire.inbound import InboundRecord

log = logging.getLogger(__name__)

_BATCH_BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0)
_EMBEDDINGS = embeddings_topic_name("")


class CannotServeMetrics(RoostError):
    """The port is taken, or the address is not ours."""


class _Now(Collector):
    """Gauges replaced as a whole: a scrape sees one moment, and nothing of what is not there any more."""

    def __init__(
        self, name: str, text: str, labels: Sequence[str], *, shown: Callable[[float], float] = lambda value: value
    ) -> None:
        self.values: Mapping[Any, float] = {}
        self._name, self._text, self._labels, self._shown = name, text, tuple(labels), shown

    def collect(self) -> Iterable[Metric]:
        family = GaugeMetricFamily(self._name, self._text, labels=self._labels)
        for labels, value in self.values.items():
            family.add_metric(labels, self._shown(value))
        yield family


def _now(registry: CollectorRegistry, name: str, text: str, labels: Sequence[str]) -> _Now:
    gauges = _Now(name, text, labels)
    registry.register(gauges)
    return gauges


class RunnerMetrics:
    """Of a runner, whatever its roles do. May be used by several threads."""

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        """Register on `registry`, or on one that nobody reads."""
        registry = registry or CollectorRegistry()
        self._consumed = Counter("roost_records_consumed", "Records folded.", ["topic"], registry=registry)
        self._produced = Counter(
            "roost_records_produced",
            "Records written, dead letters apart; `embeddings` are the topics of all bundles.",
            ["topic"],
            registry=registry,
        )
        self._dead = Counter(
            "roost_dead_letters", "Records of a topic that cannot be processed.", ["topic", "error"], registry=registry
        )
        self._batch_seconds = Histogram(
            "roost_batch_seconds",
            "From a batch in hand to all that came of it produced; on Faust, acknowledged.",
            ["role"],
            buckets=_BATCH_BUCKETS_S,
            registry=registry,
        )
        self._checkpoint_seconds = Histogram(
            "roost_checkpoint_seconds",
            "From the beginning of a checkpoint to its commit; live traffic goes on meanwhile.",
            buckets=_BATCH_BUCKETS_S,
            registry=registry,
        )
        self._lag = _now(
            registry,
            "roost_consumer_lag_records",
            "Records of an owned partition that are not folded yet; on Faust, not committed.",
            ["topic", "partition"],
        )
        self._paused = _now(
            registry,
            "roost_partition_paused",
            "1 for an owned partition that stands still until the schema registry answers.",
            ["topic", "partition"],
        )
        self._turn = Gauge(
            "roost_turn_timestamp_seconds",
            "When the runner last went round, in Unix seconds; 0 before it first did.",
            registry=registry,
        )

    def folded(self, role: str, records: Sequence[InboundRecord], *, took_s: float) -> None:
        """Note a batch."""
        if records:
            for topic, count in Tally(map(attrgetter("topic"), records)).items():
                self._consumed.labels(topic).inc(count)
            self._batch_seconds.labels(role).observe(took_s)

    def produced(self, counts: Mapping[str, int]) -> None:
        """Note how many records were handed to the producer, by topic."""
        for topic, count in counts.items():
            # a label for each bundle there ever was would grow for ever
            self._produced.labels("embeddings" if topic.startswith(_EMBEDDINGS) else topic).inc(count)

    def dead_lettered(self, record: InboundRecord, error: InvalidInput) -> None:
        """Note a dead letter."""
        self._dead.labels(record.topic, type(error).__name__).inc()

    def checkpointed(self, *, took_s: float) -> None:
        """Note a checkpoint that was committed."""
        self._checkpoint_seconds.observe(took_s)

    def behind(self, positions: Mapping[Place, int], ends: Mapping[Place, int]) -> None:
        """Say where this process stands on each partition it owns, and where the partition ends: next offsets both."""
        self._lag.values = {
            (topic, str(partition)): max(0, ends[topic, partition] - position)
            for (topic, partition), position in positions.items()
            if (topic, partition) in ends
        }

    def paused(self, topics: Collection[str], places: Collection[Place]) -> None:
        """Say which partitions of these topics wait for the schema registry."""
        others = {labels: value for labels, value in self._paused.values.items() if labels[0] not in topics}
        self._paused.values = others | {(topic, str(partition)): 1 for topic, partition in places}

    def went_round(self) -> None:
        """Note that the runner is not stuck."""
        self._turn.set_to_current_time()


class EmbedderMetrics:
    """Of the embedder's fold."""

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        """As `RunnerMetrics`."""
        registry = registry or CollectorRegistry()
        self._live = _now(
            registry, "roost_candidates_live", "Candidates inside their surface's recency window, in owned partitions.", ["surface"]
        )
        self._passed_over = Counter(
            "roost_candidates_passed_over",
            "Candidates that a tower yielded no usable vector for, each time it was asked; the others are embedded.",
            ["surface"],
            registry=registry,
        )

    def passed_over(self, surface: str) -> None:
        """Note a candidate that goes without a vector of a bundle that is not building any more."""
        self._passed_over.labels(surface).inc()

    def live(self, counts: Mapping[str, int]) -> None:
        """Say how many candidates are live, by surface."""
        self._live.values = {(surface,): count for surface, count in counts.items()}


class LabelerMetrics:
    """Of the label join."""

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        """As `RunnerMetrics`."""
        registry = registry or CollectorRegistry()
        self._examples = Counter("roost_examples", "Examples emitted.", ["label", "provenance"], registry=registry)
        self._corrections = Counter(
            "roost_example_corrections", "Corrections emitted: an engagement came after its example.", ["label"], registry=registry
        )
        self._left_out = Counter(
            "roost_labeler_left_out",
            "Impressions that give no example, or no further one, and engagements that none of them takes, by why.",
            ["why"],
            registry=registry,
        )
        self._watermark = _Now(
            "roost_watermark_lag_seconds",
            "From event time that has surely come to now; examples wait for it.",
            ["surface", "partition"],
            # it grows while nobody folds: a stuck labeler must not look punctual
            shown=lambda watermark_ms: max(0.0, time.time() - watermark_ms / 1000),
        )
        registry.register(self._watermark)
        self._given_up = Counter(
            "roost_user_states_given_up",
            "Times that user states fell so far behind that label windows stopped waiting for them; once until they caught up.",
            registry=registry,
        )

    def states_given_up(self) -> None:
        """Note that windows close without the user states they would wait for, from now on."""
        self._given_up.inc()

    def emitted(self, counts: Mapping[tuple[Label, Provenance], int]) -> None:
        """Note the examples of a batch."""
        for (label, provenance), count in counts.items():
            self._examples.labels(str(label), str(provenance)).inc(count)

    def corrected(self, counts: Mapping[Label, int]) -> None:
        """Note the corrections of a batch, by the label they corrected to."""
        for label, count in counts.items():
            self._corrections.labels(str(label)).inc(count)

    def left_out(self, counts: Mapping[str, int]) -> None:
        """Note what a batch gave no example of, by why."""
        for why, count in counts.items():
            self._left_out.labels(why).inc(count)

    def reached(self, partition: int, watermarks_ms: Mapping[str, int]) -> None:
        """Say how far event time has come on a partition, by surface, in Unix milliseconds."""
        others = {labels: value for labels, value in self._watermark.values.items() if labels[1] != str(partition)}
        self._watermark.values = others | {(surface, str(partition)): value for surface, value in watermarks_ms.items()}

    def dropped(self) -> None:
        """Forget all partitions: they may be another process's now."""
        self._watermark.values = {}


class ControllerMetrics:
    """Of rollouts, as the log has them."""

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        """As `RunnerMetrics`."""
        registry = registry or CollectorRegistry()
        self._commands = Counter("roost_rollout_commands", "Commands answered.", ["surface", "kind", "outcome"], registry=registry)
        self._revision = _now(registry, "roost_rollout_revision", "Rollout revision in force.", ["surface"])
        self._stages = _now(registry, "roost_rollout_bundles", "Bundles of a surface by stage.", ["surface", "stage"])

    def answered(self, surface: str | None, kind: CommandKind, outcome: Outcome) -> None:
        """Note an answer; None is a surface that does not exist, whatever it was called."""
        self._commands.labels(surface or "unknown", str(kind), str(outcome)).inc()

    def stand(self, states: Mapping[str, Rollout]) -> None:
        """Say where each surface stands."""
        self._revision.values = {(surface,): state.revision for surface, state in states.items()}
        self._stages.values = Tally((surface, str(entry.state)) for surface, state in states.items() for entry in state.bundles)


class DiskCollector(Collector):
    """Room on the disk that holds a folder, looked up when somebody scrapes."""

    def __init__(self, folder: Path, of: str) -> None:
        self._folder, self._of = folder, of

    def collect(self) -> Iterable[Metric]:
        """Return free and whole size; nothing while the folder does not exist."""
        free = GaugeMetricFamily("roost_disk_free_bytes", "Free bytes of the disk under a folder of ours.", labels=["of"])
        size = GaugeMetricFamily("roost_disk_size_bytes", "Size of the disk under a folder of ours.", labels=["of"])
        if self._folder.is_dir():
            usage = shutil.disk_usage(self._folder)
            free.add_metric([self._of], usage.free)
            size.add_metric([self._of], usage.total)
        yield from (free, size)


class MetricsSettings(Protocol):
    """Where to serve metrics; nowhere without a port."""

    @property
    def metrics_port(self) -> int | None:
        """The port."""
        ...

    @property
    def metrics_host(self) -> str:
        """The address to bind."""
        ...


@contextmanager
def metrics_served(settings: MetricsSettings) -> Iterator[CollectorRegistry]:
    """Yield a registry that is readable on the settings' port while the context lasts; on none when there is no port.

    Raises:
        CannotServeMetrics: the port is taken.
    """
    registry = CollectorRegistry()
    if settings.metrics_port is None:
        yield registry
        return
    ProcessCollector(registry=registry)
    try:
        server, thread = start_http_server(settings.metrics_port, settings.metrics_host, registry)
    except OSError as error:
        raise CannotServeMetrics(
            f"cannot serve metrics on {settings.metrics_host}:{settings.metrics_port} ({error.strerror}); "
            "give each role a ROOST_METRICS_PORT of its own, or leave it unset"
        ) from error
    log.info("metrics at http://%s:%d/metrics", settings.metrics_host, settings.metrics_port)
    try:
        yield registry
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
