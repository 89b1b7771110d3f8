"""One bundle on this node: loaded, verified, its topic followed into its own index, its alarms. Decides nothing about routing."""

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from itertools import groupby

import numpy as np

from schemas.bundle import read_bundle
from schemas.errors import BundleError, BundlesUnavailable
from schemas.positions import Positions, first_missing, read_mark, read_source_ids
from schemas.registry.place import RegistryPlace
from schemas.surfaces import Surface
from schemas.topics import ENGAGEMENTS, embeddings_topic_name
from schemas.towers import Towers
from schemas.wire.identities import TopicIds
from schemas.wire.inbound import InboundRecord
from schemas.wire.tracing import Tracing
from serving.api import Freshness
from serving.audit.probe import NewcomerProbe
from serving.filling.bad import BadRecords
from serving.filling.embeddings import BadEmbedding, EmbeddingBatch, decode_batch
from serving.filling.filled import FilledIndex
from serving.filling.masks import Masks
from serving.filling.reach import SourceReach
from serving.health import SnapshotHealth
from serving.index import CandidateIndex, IndexClosed
from serving.metrics import NodeMetrics
from serving.node.contact import BrokerContact
from serving.node.follower import FollowerCallbacks, TopicFollower
from serving.node.heartbeat import EmbedderReport
from serving.query.epochs import Epoch
from serving.query.retrieve import wall_clock_ms
from serving.snapshots.keeping import BundleSnapshots
from serving.snapshots.store import SnapshotStore
from serving.tracing import note_inserted

log = logging.getLogger(__name__)

RELOAD_S = 5.0
# a heartbeat is acknowledged every second; without one for so long the broker counts as away
SILENT_S = 3.0
# between full batches of a replay while there are queries: they get the interpreter, and a batch of 500 takes some 20 ms
REPLAY_PAUSE_S = 0.002
# a batch of one row takes the interpreter for as long as eight more rows in it would
GATHER_S = 0.003
# a bundle that answers nobody need not be fresh to the millisecond: in batches its rows cost a third, and the live ones gain it
GATHER_ASIDE_S = 0.1
_LOOK_S = 0.001


@dataclass(frozen=True, slots=True)
class NodeParts:
    """What every part of one node shares.

    Attributes:
        registry: of published bundles.
        make_index: an empty index of the given dimension.
        contact: whether the broker still answers.
        snapshots: where the indexes are kept on disk; None keeps none.
        tracing: makes spans of embeddings that carry a trace; without one no header is looked at.
        sources: which topics the input is; without it what was said last counts.
    """

    bootstrap: str
    registry: RegistryPlace
    masks: Masks
    metrics: NodeMetrics
    make_index: Callable[[int], CandidateIndex]
    contact: BrokerContact
    snapshots: SnapshotStore | None = None
    tracing: Tracing | None = None
    sources: TopicIds | None = None


@dataclass(frozen=True, slots=True)
class _Loaded:
    """What exists once the bundle is loaded; replaced whole when its topic is recreated."""

    filled: FilledIndex
    epoch: Epoch
    reach: SourceReach


class BundleTail:
    """Loads a bundle and fills its index until stopped."""

    def __init__(
        self,
        surface: Surface,
        bundle: str,
        parts: NodeParts,
        *,
        changed: Callable[[], None],
        asked: Callable[[], bool] = lambda: True,
    ) -> None:
        """Do nothing yet.

        Args:
            changed: called, on a thread of this tail, when `epoch` may be another.
            asked: tells whether there are queries just now, for which the filling of an index makes room.
        """
        self.surface = surface
        self.bundle = bundle
        self._parts = parts
        self._changed = changed
        self._asked = asked
        self._loaded: _Loaded | None = None
        self._towers: Towers | None = None
        self._bad = BadRecords()
        self._probe = NewcomerProbe(partial(parts.metrics.probed, surface.name), now_ms=wall_clock_ms)
        self._snapshots = None if parts.snapshots is None else BundleSnapshots(bundle, parts.snapshots, now_ms=wall_clock_ms)
        self.refusal: str | None = None
        self._unavailable = False
        self.is_live = False
        # live, or in a canary
        self.answers = False
        self._stopping = threading.Event()
        self._loader = threading.Thread(target=self._load, name=f"load-{bundle}", daemon=True)
        self._follower = TopicFollower(
            parts.bootstrap,
            embeddings_topic_name(bundle),
            FollowerCallbacks(self._handle, self._caught_up, self._start_over, self._place),
            pause_s=lambda: REPLAY_PAUSE_S if asked() else 0.0,
            gather_s=self._gather_s,
        )

    def start(self) -> None:
        """Begin to load and follow."""
        self._loader.start()

    def stop(self) -> None:
        """End the threads and give the index's memory back."""
        self._stopping.set()
        if self._loader is not threading.current_thread():
            self._loader.join()
        self._follower.stop()
        if self._loaded is not None:
            self._loaded.filled.close()
            self._loaded = None
        # this tail and its follower refer to each other, and a node's collector looks for such cycles once in many minutes
        self._towers = None

    def hold(self) -> None:
        """Follow the topic no longer: the index stays as it is."""
        self._follower.stop()

    def catch_up(self, positions: Positions, timeout_s: float) -> bool:
        """Rest no longer, and return once the index reflects the input up to these positions; False after `timeout_s`.

        What is published only: engagements are embedded as each surface's policy says. On the follower's own thread, at once.
        """
        published = {topic: reached for topic, reached in positions.items() if topic != ENGAGEMENTS}
        deadline_s = time.monotonic() + timeout_s
        while (left_s := deadline_s - time.monotonic()) > 0 and self._follower.catch_up(left_s):
            if first_missing(published, self.as_of()) is None or self._follower.is_current_thread:
                return True
            # the embedder gathers for it what it is owed
            time.sleep(_LOOK_S)
        return False

    def forget(self) -> None:
        """Give the disk back as well, and end the metrics, of a bundle that left for good."""
        self._parts.metrics.forget(self.surface.name, self.bundle)
        if self._snapshots is not None:
            self._snapshots.forget()

    def save(self) -> None:
        """Write a snapshot if the index is whole and there is news; what goes wrong is kept in `snapshot_health`.

        The offsets are read before the contents: what is applied between is in the snapshot and comes again, which does no harm.
        """
        loaded, topic_id, offsets = self._loaded, self._follower.topic_id, self.applied
        if self._snapshots is None or loaded is None or topic_id is None or not self._follower.caught_up:
            return
        lag_ms = int(self._lag_s() * 1000)
        self._snapshots.save(loaded.filled, topic_id, offsets, still=lambda: self._loaded is loaded, lag_ms=lag_ms)

    @property
    def snapshot_health(self) -> SnapshotHealth | None:
        """What became of this bundle's snapshots; None where the node keeps none."""
        return None if self._snapshots is None else self._snapshots.health

    @property
    def epoch(self) -> Epoch | None:
        """The epoch, once its index holds everything that was in the topic when the node came to it."""
        # looked at once: another thread may be stopping this tail
        loaded = self._loaded
        return loaded.epoch if loaded is not None and self._follower.caught_up else None

    @property
    def filled(self) -> FilledIndex | None:
        """The index, whole or not; None until the bundle is loaded."""
        loaded = self._loaded
        return None if loaded is None else loaded.filled

    @property
    def applied(self) -> dict[int, int]:
        """By partition, the offset up to which everything is in force: a bad record that nothing replaced holds it back."""
        return self._bad.hold_back(self._follower.position)

    @property
    def complaint(self) -> str | None:
        """What is wrong with the bundle itself; None also where the registry does not answer: nothing is known against it."""
        return None if self._unavailable else self.refusal

    @property
    def alarms(self) -> tuple[str, ...]:
        """What is wrong with this bundle here, as sentences; empty when it is well."""
        if self.refusal is not None:
            return (self.refusal,)
        alarms = []
        if (first := self._bad.first) is not None:
            alarms.append(
                f"bundle {self.bundle}: {len(self._bad)} bad embeddings, the first at {self._follower.topic}/{first.partition}/"
                f"{first.offset} ({first.reason}); re-embed those candidates or delete them"
            )
        if self._follower.trouble is not None and self._loaded is not None:
            alarms.append(f"bundle {self.bundle}: {self._follower.trouble}")
        return tuple(alarms)

    @property
    def not_ready(self) -> str | None:
        """Why this node is not ready to answer from the bundle, or None when it is."""
        if alarms := self.alarms:
            return alarms[0]
        if self._loaded is None:
            return f"bundle {self.bundle} is being loaded"
        if not self._follower.caught_up:
            return f"bundle {self.bundle}: replaying {self._follower.topic}, {self._follower.to_go} records to go"
        return None

    def freshness(self) -> Freshness:
        """See `serving.query.epochs.IndexSource`."""
        loaded = self._loaded
        return Freshness(
            as_of_ms=None if loaded is None else loaded.filled.newest_append_ms,
            lag_ms=int(self._lag_s() * 1000),
            applied={str(partition): offset for partition, offset in sorted(self.applied.items())},
        )

    def as_of(self) -> Positions:
        """See `serving.query.epochs.IndexSource`."""
        loaded = self._loaded
        sources = self._parts.sources
        return {} if loaded is None else loaded.reach.positions(self.applied, None if sources is None else sources.now)

    def told(self, reports: Mapping[int, EmbedderReport]) -> None:
        """Take in what the embedder last reported of this bundle, by partition."""
        loaded = self._loaded
        for partition, (progress, source_ids) in reports.items():
            if loaded is not None and progress.backfill_done:
                next_offsets = {topic: position.next_offset for topic, position in progress.source.items()}
                loaded.reach.claim(partition, progress.embeddings_end, next_offsets, source_ids)

    def _gather_s(self) -> float:
        is_aside = self._follower.caught_up and not self.answers and self._asked()
        return GATHER_ASIDE_S if is_aside else GATHER_S

    def _lag_s(self) -> float:
        drained_s = self._follower.drained_age_s
        silent_s = self._parts.contact.age_s
        # nothing comes from a broker that is away either; then the node knows of nothing newer than its last contact
        return drained_s if silent_s is None or silent_s < SILENT_S else max(drained_s, silent_s)

    def sweep(self) -> None:
        """Expire what left the recency window, and alarms about records that did. Queries pass over it by themselves."""
        loaded, now_ms = self._loaded, self._parts.contact.past_ms(wall_clock_ms())
        if loaded is None or now_ms is None or self.surface.recency_window_s == 0:
            return
        horizon_ms = now_ms - int(self.surface.recency_window_s * 1000)
        # the bundle may leave, or its index be replaced, at this moment: then there is nothing to expire
        with suppress(IndexClosed):
            loaded.filled.expire(horizon_ms)
        self._bad.expire(horizon_ms)

    def _load(self) -> None:
        while not self._stopping.is_set():
            try:
                bundle = read_bundle(self._parts.registry, self.surface.name, self.bundle)
                bundle.manifest.check_indexed(bundle.id)
                self._towers = Towers(bundle)
                self.refusal = None
                self._begin_anew()
                self._follower.start()
            except BundleError as error:
                self._unavailable = isinstance(error, BundlesUnavailable)
                self._refuse(str(error))
            # whatever loading provoked, the node's other bundles are still good
            except Exception as error:
                log.exception("loading bundle %s failed", self.bundle, extra={"bundle": self.bundle})
                self._unavailable = False
                self._refuse(f"bundle {self.bundle} cannot be loaded ({type(error).__name__}: {error}); see the node's log")
            else:
                return
            # it may yet be published whole, or there be room for its index and threads
            self._stopping.wait(RELOAD_S)

    def _refuse(self, sentence: str) -> None:
        if sentence != self.refusal:
            log.error("bundle refused: %s", sentence, extra={"bundle": self.bundle, "surface": self.surface.name})
        self.refusal = sentence
        self._changed()

    def _caught_up(self) -> None:
        # it may be gone before it acknowledges the first heartbeat, and the index would not seem to age
        self._parts.contact.seen()
        self._changed()

    def _place(self, topic_id: str) -> Mapping[int, int]:
        loaded = self._loaded
        if self._snapshots is None or loaded is None:
            return {}
        offsets = self._snapshots.restore(loaded.filled, topic_id)
        # what left the recency window meanwhile, where the broker has told the time; else the first sweep after it has
        self.sweep()
        return offsets

    def _start_over(self) -> None:
        if self._snapshots is not None:
            self._snapshots.forget()
        self._begin_anew()

    def _begin_anew(self) -> None:
        """Start with an empty index: at first, and when the topic cannot be read on from where it was read to."""
        towers = self._towers
        if towers is None:
            raise RuntimeError("the towers are loaded before the topic is followed")
        old = self._loaded
        filled = FilledIndex(self._parts.make_index(towers.dim), self._parts.masks, id_prefix=self.surface.id_prefix)
        self._bad.clear()
        self._loaded = _Loaded(filled, Epoch(self.bundle, towers, filled.index, self), SourceReach())
        self.sweep()
        self._changed()
        if old is not None:
            old.filled.close()

    def _handle(self, records: Sequence[InboundRecord]) -> None:
        loaded = self._loaded
        if loaded is None:
            raise RuntimeError("the index exists before its topic is followed")
        for _, run in groupby(records, key=lambda record: record.value is None):
            run_records = tuple(run)
            begin_ns = time.time_ns()
            batch = decode_batch(self.bundle, loaded.filled.index.dim, run_records)
            new = loaded.filled.apply(batch)
            if batch.bad or self._bad:
                self._tell_bad(batch.bad)
                self._bad.note(run_records, batch.bad)
            # a replay is no news of the traces it once belonged to
            if self._parts.tracing is not None and self._follower.caught_up:
                note_inserted(self._parts.tracing, self.surface.name, self.bundle, run_records, batch.bad, begin_ns=begin_ns)
            self._measure(loaded.filled, batch, new)
        for record in records:
            if record.headers and (next_offsets := read_mark(record.headers)):
                loaded.reach.claim(record.partition, record.offset + 1, next_offsets, read_source_ids(record.headers))

    def _tell_bad(self, found: Sequence[BadEmbedding]) -> None:
        for bad in found:
            log.error(
                "bad embedding at %s/%d/%d: %s",
                self._follower.topic,
                bad.partition,
                bad.offset,
                bad.reason,
                extra={
                    "bundle": self.bundle,
                    "topic": self._follower.topic,
                    "partition": bad.partition,
                    "offset": bad.offset,
                },
            )
            self._parts.metrics.bad_embeddings.labels(self.surface.name, self.bundle).inc()

    def _measure(self, filled: FilledIndex, batch: EmbeddingBatch, new: Sequence[int]) -> None:
        metrics = self._parts.metrics
        metrics.rows_applied.labels(self.surface.name, self.bundle).inc(len(batch.rows) + len(batch.deleted))
        # a replay is not news
        if self.is_live and self._follower.caught_up and len(batch.rows):
            ages_s = np.maximum(wall_clock_ms() - batch.append_time_ms, 0) / 1000
            metrics.retrievable(self.surface.name, ages_s.tolist(), new=new)
            self._probe.look(filled.index, batch, new)
