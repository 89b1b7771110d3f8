"""Which bundle is written vectors now: those that answer at once, the others' gathered for a moment. Folds and sends nothing.

A bundle that answers nobody need not be fresh to the millisecond, and each handful of its records costs the broker a request a
partition, every node a batch, and the towers a call. What it is owed is embedded as the candidates stand by then.
"""

from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence

from schemas.positions import write_mark, write_source_ids
from schemas.topics import ENGAGEMENTS
from streams.candidates.partition import CandidatePartition
from streams.embedder.backfill import Backfills
from streams.embedder.passed_over import PassedOver
from streams.embedder.targets import Loaded, Targets
from streams.state import OutboundRecord

Ids = Mapping[int, Collection[str]]
"""Candidate ids by partition."""


class Vectors:
    """Writes embeddings of candidates for every bundle of their surface. One thread; looks at what the processor holds."""

    def __init__(
        self,
        targets: Targets,
        partitions: Mapping[int, CandidatePartition],
        *,
        backfills: Backfills,
        passed_over: PassedOver,
        source_ids: Mapping[int, Mapping[str, str]],
        set_aside: Callable[[str, str], None],
        gather_ms: int,
        clock: Callable[[], int],
        steady: Callable[[], int],
    ) -> None:
        """Owe nothing yet.

        Args:
            partitions: those assigned; what is owed of one that is revoked is to be forgotten first.
            source_ids: by partition, of which topics its positions are.
            set_aside: takes a bundle that is building and the reason why its towers yield no vector for a candidate.
            gather_ms: how long a bundle that answers nobody may wait; 0 writes for it at once.
            clock: Unix milliseconds.
            steady: milliseconds since any moment, which nobody sets back or forward.
        """
        self._targets = targets
        self._partitions = partitions
        self._backfills = backfills
        self._passed_over = passed_over
        self._source_ids = source_ids
        self._set_aside = set_aside
        self._gather_ms = gather_ms
        self._clock = clock
        self._steady = steady
        # by bundle and partition, in the order of their first change
        self._owed: dict[str, dict[int, dict[str, None]]] = {}
        self._due_ms: dict[str, int] = {}

    def write(self, surface: str, ids: Ids, *, marked: bool = False) -> list[OutboundRecord]:
        """Return the records of these candidates for the surface's bundles that answer; the others are owed them.

        Args:
            marked: all that was read so far is in the store, and nothing of it left to be written: the records may say so.
        """
        records: list[OutboundRecord] = []
        for loaded in self._targets.active(surface):
            if self._gather_ms and not self._targets.answers(loaded.target.bundle):
                self._owe(loaded.target.bundle, ids)
            else:
                made = self._embed(loaded, ids)
                records += self._marked(loaded.target.bundle, made, ids) if marked else made
        return records

    def write_for(self, bundle: str, partition: int, ids: Sequence[str]) -> list[OutboundRecord]:
        """Return the records of these candidates for one bundle, at once; none when it is not loaded."""
        found = [loaded for loaded in self._targets.active() if loaded.target.bundle == bundle]
        return [record for loaded in found for record in self._embed(loaded, {partition: ids})]

    def owed(self, *, whole: bool = False) -> list[OutboundRecord]:
        """Return the records that are owed and whose time has come, or all of them; all that was read so far is in the store."""
        records: list[OutboundRecord] = []
        now_ms = self._steady()
        for loaded in self._targets.active():
            bundle = loaded.target.bundle
            if bundle in self._owed and (whole or self._due_ms[bundle] <= now_ms or self._targets.answers(bundle)):
                ids = self._owed.pop(bundle)
                records += self._marked(bundle, self._embed(loaded, ids), ids)
        return records

    @property
    def due_in_s(self) -> float | None:
        """The seconds until something that is owed is due; None when nothing is owed."""
        if not self._owed:
            return None
        return max(0, min(self._due_ms[bundle] for bundle in self._owed) - self._steady()) / 1000

    def forget(self, *, bundle: str | None = None, partition: int | None = None) -> None:
        """Owe nothing more to a bundle, or of a partition."""
        if bundle is not None:
            self._owed.pop(bundle, None)
        if partition is not None:
            for owed in self._owed.values():
                owed.pop(partition, None)

    def _owe(self, bundle: str, ids: Ids) -> None:
        if not any(ids.values()):
            return
        if bundle not in self._owed:
            self._owed[bundle] = defaultdict(dict)
            self._due_ms[bundle] = self._steady() + self._gather_ms
        for partition, members in ids.items():
            self._owed[bundle][partition].update(dict.fromkeys(members))

    def _embed(self, loaded: Loaded, ids: Ids) -> list[OutboundRecord]:
        # of all partitions: one call of the towers costs as much as some ten candidates in it
        states = [state for partition, members in ids.items() for state in self._partitions[partition].written(members)]
        bundle, made = loaded.target.bundle, loaded.target.embed(states, now_ms=self._clock())
        if made.failed and self._targets.is_building(bundle):
            # nobody is answered from it yet, and it must not become ready
            self._set_aside(bundle, next(iter(made.failed.values())))
            return []
        # without any vectors of a bundle that answers, one candidate would freeze its surface
        for candidate_id, reason in made.failed.items():
            self._passed_over.note(bundle, loaded.target.surface.name, candidate_id, reason)
        return made.records

    def _marked(self, bundle: str, made: list[OutboundRecord], ids: Ids) -> list[OutboundRecord]:
        """Mark the last record of each partition for a bundle that has its whole corpus; see `schemas.positions`."""
        partition_of_key = {candidate_id.encode(): partition for partition, members in ids.items() for candidate_id in members}
        last = {partition_of_key[record.key]: at for at, record in enumerate(made)}
        for partition, at in last.items():
            if self._backfills.is_whole(bundle, partition):
                positions = self._partitions[partition].positions
                # engagements wait for their checkpoint, and longer where the surface's policy says so
                next_offsets = {source: offset for source, offset in positions.items() if source != ENGAGEMENTS}
                source_ids = write_source_ids(self._source_ids[partition])
                made[at] = made[at]._replace(headers=(write_mark(next_offsets), *source_ids))
        return made
