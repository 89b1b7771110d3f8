"""The embedder as a batch processor: folds candidates, and embeds what changed for every streaming bundle.

Creates, updates and deletes are written at once; engagements mark their candidate, which is written once at the next checkpoint,
and embedded then or later, as its surface's refresh policy says.
Reads and writes no topic itself.
"""

import logging
import time
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, MutableMapping, Sequence
from functools import cache
from itertools import chain, count
from typing import TYPE_CHECKING

from schemas.codec import SchemaLookup
from schemas.errors import InvalidInput
from schemas.positions import Place
from schemas.records.candidates import Candidate
from schemas.surfaces import WRITE_TIME, Surfaces, surface_finder
from schemas.topics import ENGAGEMENTS, embeddings_topic_name
from schemas.wire.inbound import InboundRecord
from schemas.wire.partition import partition_of
from streams.candidates.intake import read_engagement, read_publication
from streams.candidates.partition import CandidatePartition
from streams.embedder.backfill import Backfills
from streams.embedder.pace import Pace
from streams.embedder.passed_over import PassedOver
from streams.embedder.refresh import Refresh, refresh_for
from streams.embedder.reports import Reports
from streams.embedder.targets import Loaded, Targets
from streams.embedder.vectors import Vectors
from streams.metrics import EmbedderMetrics
from streams.outbox import Failure
from streams.processor import Work
from streams.runner.stirring import Stirring
from streams.state import OutboundRecord, StateStore

if TYPE_CHECKING:
    from concurrent.futures import Future

    from streams.candidates.dedupe import SeenEvents

log = logging.getLogger(__name__)

_EMBEDDINGS = embeddings_topic_name("")
# Embedded together once a second, what a policy had held back was 1,200 vectors at 3,000 tweets a second: here and in each node
# every tweet of a tenth of that second waited for them.
_REFRESH_EVERY_MS = 20
# of a partition and surface
_REFRESH_SLICE = 64
SeenBefore = Callable[[int, int], "Future[SeenEvents]"]


class EmbedderProcessor:
    """See the module. One thread calls it; time comes from `clock`, in Unix milliseconds."""

    def __init__(
        self,
        *,
        targets: Targets,
        surfaces: Surfaces,
        partitions: int,
        instance: str,
        seen_before: SeenBefore,
        ends: MutableMapping[tuple[str, int], int],
        topic_exists: Callable[[str], bool],
        source_ids: Callable[[], Mapping[str, str]] = dict,
        backfilled: Collection[tuple[str, int]] = (),
        backfill_slice: int = 64,
        pace: Pace | None = None,
        gather_ms: int = 0,
        lookup: SchemaLookup | None = None,
        metrics: EmbedderMetrics | None = None,
        clock: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
        steady: Callable[[], int] = lambda: time.monotonic_ns() // 1_000_000,
    ) -> None:
        """Wire the parts.

        Args:
            targets: started: what streamed when the log ended is loaded.
            seen_before: finds the event ids in the 10 minutes before (partition, next offset of engagements). Until it has them no
                engagement of the partition is taken; what is published does not wait.
            ends: next offset behind the last acknowledged record, by (topic, partition).
            topic_exists: asks the broker.
            source_ids: returns the ids of the topics that a partition is of, by name, as it is assigned.
            backfilled: (bundle, partition) that the last run of this instance reported as written whole, under the policy in force.
            backfill_slice: candidates re-embedded between two batches; more while no batch comes.
            pace: of these slices; without one each follows the other.
            gather_ms: how long a bundle that answers nobody waits for vectors of what changed; see `Vectors`.
            lookup: see `schemas.codec.decode_mapping`.
            clock: Unix time, in milliseconds.
            steady: milliseconds since any moment, which nobody sets back or forward: refresh policies wait by it.
        """
        self._targets = targets
        self._surfaces = surfaces
        self._surfaces_of = surface_finder(surfaces)
        # those of the file, with the refresh policies in force
        self._configured = {name: targets.configured(surface) for name, surface in surfaces.items()}
        self._partition_count = partitions
        self._seen_before = seen_before
        self._topic_exists = topic_exists
        self._ids_now = source_ids
        # by partition, of which topics its positions are
        self._source_ids: dict[int, Mapping[str, str]] = {}
        # trusted only for bundles that are loaded before the first record is folded: they have missed nothing since
        self._backfilled = {place for place in backfilled if not targets.is_building(place[0])}
        self._backfilled &= {(loaded.target.bundle, p) for loaded in targets.active() for p in range(partitions)}
        self._backfill_slice = backfill_slice
        self._pace = pace or Pace(1.0, unsent=lambda: 0)
        self._lookup = lookup
        self._metrics = metrics or EmbedderMetrics()
        self._clock = clock
        self._steady = steady
        self._backfills = Backfills()
        self._partitions: dict[int, CandidatePartition] = {}
        # whose engagements wait for the event ids before them
        self._rereading: dict[int, Future[SeenEvents]] = {}
        self._policies: dict[tuple[int, str], Refresh] = {}
        self._refresh_ms = 0
        self._passed_over = PassedOver(self._metrics)
        self._reports = Reports(
            instance,
            self._partitions,
            targets=targets,
            backfills=self._backfills,
            passed_over=self._passed_over,
            surfaces=surfaces,
            partition_count=partitions,
            source_ids=self._source_ids,
            ends=ends,
            metrics=self._metrics,
            clock=clock,
        )
        self._vectors = Vectors(
            targets,
            self._partitions,
            backfills=self._backfills,
            passed_over=self._passed_over,
            source_ids=self._source_ids,
            set_aside=self._set_aside,
            gather_ms=gather_ms,
            clock=clock,
            steady=steady,
        )
        self._stirring = Stirring()
        self.skipped = 0

    def assign(self, partition: int, store: StateStore, positions: Mapping[str, int], ends: Mapping[str, int]) -> None:
        """See `BatchProcessor`."""
        for name, surface in self._configured.items():
            self._policies[partition, name] = refresh_for(surface, partitions=self._partition_count)
        self._partitions[partition] = CandidatePartition(
            store,
            positions=positions,
            ends=ends,
            surfaces=self._surfaces,
            now_ms=self._clock(),
        )
        self._rereading[partition] = self._seen_before(partition, positions[ENGAGEMENTS])
        self._source_ids[partition] = self._ids_now()
        self._reports.assign(partition)
        for loaded in self._targets.active():
            # what another policy held back is gone with the process that held it
            whole = self._configured[loaded.target.surface.name].refresh == WRITE_TIME
            if whole and (loaded.target.bundle, partition) in self._backfilled:
                self._backfills.skip(loaded.target.bundle, partition)
            else:
                self._start_backfill(loaded, partition)

    def revoke(self, partition: int) -> None:
        """See `BatchProcessor`."""
        self._partitions.pop(partition, None)
        self._rereading.pop(partition, None)
        self._reports.revoke(partition)
        self._source_ids.pop(partition, None)
        for name in self._surfaces:
            del self._policies[partition, name]
        self._backfills.drop(partition=partition)
        self._vectors.forget(partition=partition)
        self._backfilled = {place for place in self._backfilled if place[1] != partition}

    def not_yet(self) -> Collection[Place]:
        """See `BatchProcessor`: engagements, until it is known which of them would be duplicates."""
        for partition in [partition for partition, seen in self._rereading.items() if seen.done()]:
            self._partitions[partition].remember(self._rereading.pop(partition).result())
        return [(ENGAGEMENTS, partition) for partition in self._rereading]

    def process(self, records: Sequence[InboundRecord]) -> Work:
        """See `BatchProcessor`. Invalid publications are dead-lettered here; invalid engagements by the labeler, their owner."""
        self._pace.live()
        dead: list[tuple[InboundRecord, InvalidInput]] = []
        touched: dict[int, CandidatePartition] = {}
        for record in records:
            partition = touched[record.partition] = self._partitions[record.partition]
            try:
                if record.topic == ENGAGEMENTS:
                    partition.fold_engagement(record, read_engagement(record, lookup=self._lookup))
                else:
                    told = read_publication(record, partitions=self._partition_count, lookup=self._lookup)
                    partition.fold_publication(record, *told)
            except InvalidInput as error:
                if record.topic == ENGAGEMENTS:
                    self._skip(record, error)
                else:
                    dead.append((record, error))
            partition.read(record)
        decoded_ns = time.time_ns()
        now_ms = self._clock()
        urgent: dict[str, dict[int, list[str]]] = defaultdict(dict)
        for number, partition in touched.items():
            for name, members in self._by_surface(partition.write_urgent(now_ms)).items():
                self._policies[number, name].embedded(members, self._steady())
                urgent[name][number] = _ids(members)
        outputs = [record for name, ids in urgent.items() for record in self._vectors.write(name, ids, marked=True)]
        return Work(tuple(outputs), tuple(dead), decoded_ns)

    def between(self) -> tuple[Work, float | None]:
        """See `BatchProcessor`: follows rollouts, re-embeds a slice of the corpus when it is time, reports progress each second."""
        outputs: list[OutboundRecord] = []
        change = self._targets.look()
        for bundle in change.gone:
            # rolled out again, it gets a new topic: nothing known of the old one may be reported of it
            self._backfilled = {place for place in self._backfilled if place[0] != bundle}
            self._backfills.drop(bundle=bundle)
            self._vectors.forget(bundle=bundle)
            self._reports.forget_ends(bundle)
            self._passed_over.forget(bundle)
        for loaded in change.ready:
            # once more: what was under way when an earlier life ended was acknowledged after that. With its offsets for an end,
            # nodes would be behind until the topic of this life is as long
            self._reports.forget_ends(loaded.target.bundle)
            # from here on live traffic is written for it; the corpus follows behind
            for partition in self._partitions:
                self._start_backfill(loaded, partition)
        for name in change.configured & self._configured.keys():
            outputs += self._reconfigure(name)
        outputs += self._refreshed()
        outputs += self._vectors.owed()
        if self._pace.rest_s() == 0 and (piece := self._backfills.next_slice(self._pace.size(self._backfill_slice))):
            with self._pace.slice():
                # as they stand now, not when the backfill began: a candidate deleted since must not come back. What was engaged
                # with and not written yet follows with its checkpoint
                outputs += self._vectors.write_for(*piece)
        if self._reports.due:
            outputs.append(self._reports.report())
        waits_s = [self._vectors.due_in_s, self._pace.rest_s() if self._backfills.running else None]
        return Work(tuple(outputs)), min((wait_s for wait_s in waits_s if wait_s is not None), default=None)

    def _refreshed(self) -> list[OutboundRecord]:
        """Return the records of candidates that a policy held back and whose turn has come: a few at a time, never a burst."""
        now_ms = self._steady()
        if now_ms < self._refresh_ms:
            return []
        chosen: dict[str, dict[int, list[str]]] = defaultdict(dict)
        for (number, name), policy in self._policies.items():
            if due := policy.due(now_ms, _REFRESH_SLICE):
                chosen[name][number] = _ids(due)
        more = any(len(ids) == _REFRESH_SLICE for members in chosen.values() for ids in members.values())
        self._refresh_ms = now_ms + (0 if more else _REFRESH_EVERY_MS)
        return [record for name, members in chosen.items() for record in self._vectors.write(name, members)]

    def begin_checkpoint(self) -> int:
        """See `BatchProcessor`."""
        self._reports.seal()
        return sum(partition.seal_dirty() for partition in self._partitions.values())

    def checkpoint(self, limit: int) -> tuple[Work, bool]:
        """See `BatchProcessor`: each candidate engaged with since the last checkpoint is written once.

        Its state is; whether its vector is, or when, the surface's policy says.
        """
        outputs: list[OutboundRecord] = []
        for number, partition in self._partitions.items():
            if written := partition.write_sealed(limit):
                for name, members in self._by_surface(written).items():
                    due = self._policies[number, name].engaged(members, self._steady())
                    outputs += self._vectors.write(name, {number: _ids(due)})
                return Work(tuple(outputs)), True
        # a delete that is owed comes before the null that ends it
        outputs += self._vectors.owed(whole=True)
        # of those set aside too: with the marker gone nobody would write the null once they are back
        wanted = self._targets.wanted()
        for partition in self._partitions.values():
            for candidate_id in partition.expire():
                names = {surface.name for surface in self._surfaces_of(candidate_id)}
                outputs += [
                    OutboundRecord(embeddings_topic_name(bundle), candidate_id.encode(), None)
                    for bundle, surface in wanted.items()
                    if surface in names
                ]
        outputs += self._stir()
        # before the commit: a bundle that was set aside must never be reported whole once input it missed is committed
        outputs.append(self._reports.report())
        self._backfills.seal()
        return Work(tuple(outputs)), False

    def _stir(self) -> list[OutboundRecord]:
        """Return nulls of nobody for the topics that are only compacted, now and then: see `streams.runner.stirring`."""
        keys = [_stir_key(partition, self._partition_count) for partition in self._partitions if self._stirring.due(partition)]
        loaded = [loaded for loaded in self._targets.active() if loaded.target.surface.recency_window_s == 0]
        return [OutboundRecord(one.target.topic, key, None) for one in loaded for key in keys]

    def durable(self) -> None:
        """See `BatchProcessor`."""
        self._backfills.durable()
        self._reports.durable()

    def forgiven(self, failures: Sequence[Failure]) -> Sequence[Failure]:
        """See `BatchProcessor`: those for a bundle that is retired, or whose topic is gone.

        Should the topic come back, the corpus is written again. On a topic that exists nothing is forgiven: a delete may be lost.
        """
        wanted = self._targets.wanted()
        lost = {failure.topic for failure in failures if failure.topic.startswith(_EMBEDDINGS)}
        bundles = {topic: topic.removeprefix(_EMBEDDINGS) for topic in lost}
        gone = {topic for topic, bundle in bundles.items() if bundle not in wanted or not self._topic_exists(topic)}
        for topic in gone:
            if bundles[topic] in wanted:
                self._set_aside(bundles[topic], f"its topic {topic} does not exist")
        return [failure for failure in failures if failure.topic in gone]

    def _reconfigure(self, name: str) -> list[OutboundRecord]:
        """Follow the refresh policy that the log names for a surface; return what the new one no longer holds back."""
        old, surface = self._configured[name], self._targets.configured(self._surfaces[name])
        if surface.refresh == old.refresh:
            return []
        log.info("%s: refresh %s, which was %s", name, surface.refresh, old.refresh, extra={"surface": name})
        self._configured[name] = surface
        outputs: list[OutboundRecord] = []
        for partition in self._partitions:
            before = self._policies[partition, name]
            policy = self._policies[partition, name] = refresh_for(surface, partitions=self._partition_count, after=before)
            if surface.refresh != WRITE_TIME:
                outputs += self._vectors.write(name, {partition: _ids(policy.engaged(before.held_back(), self._steady()))})
        if surface.refresh == WRITE_TIME:
            self._rewrite_corpus(name)
        return outputs

    def _rewrite_corpus(self, surface: str) -> None:
        # write-time promises vectors of the newest counters, and only the corpus knows which ones another policy let be
        for loaded in self._targets.active(surface):
            self._backfilled = {place for place in self._backfilled if place[0] != loaded.target.bundle}
            for partition in self._partitions:
                self._backfills.refresh(loaded.target.bundle, partition, self._live_ids(loaded, partition))

    def _by_surface(self, candidates: Iterable[Candidate]) -> dict[str, list[Candidate]]:
        by_surface: dict[str, list[Candidate]] = defaultdict(list)
        for candidate in candidates:
            for surface in self._surfaces_of(candidate.candidate_id):
                by_surface[surface.name].append(candidate)
        return by_surface

    def _start_backfill(self, loaded: Loaded, partition: int) -> None:
        # a bundle that was set aside, or could not be loaded, has missed deletes too: its topic, unless new, does not hold them
        written = loaded.ends.get(partition, 0) > 0
        deleted = self._partitions[partition].deleted(loaded.target.surface.name) if written else []
        self._backfills.start(loaded.target.bundle, partition, chain(deleted, self._live_ids(loaded, partition)))

    def _live_ids(self, loaded: Loaded, partition: int) -> Iterator[str]:
        return self._partitions[partition].live[loaded.target.surface.name].ids(self._clock())

    def _set_aside(self, bundle: str, reason: str) -> None:
        self._targets.fail(bundle, reason)
        self._backfills.drop(bundle=bundle)
        self._vectors.forget(bundle=bundle)

    def _skip(self, record: InboundRecord, error: InvalidInput) -> None:
        self.skipped += 1
        if self.skipped.bit_count() == 1:
            # at 1, 2, 4, 8 …: a flood of bad input must not become a flood of log lines
            log.warning(
                "skipped %s/%d/%d (%d so far): %s",
                record.topic,
                record.partition,
                record.offset,
                self.skipped,
                error,
                extra=record.place,
            )


def _ids(candidates: Iterable[Candidate]) -> list[str]:
    return [candidate.candidate_id for candidate in candidates]


@cache
def _stir_key(partition: int, partitions: int) -> bytes:
    # in form a candidate's, since nodes refuse others: to them it is the clean-up of one that they never had
    return next(key for n in count() if partition_of(key := f"a:@stir-{n}".encode(), partitions) == partition)
