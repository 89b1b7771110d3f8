"""One partition of candidates: the fold applied in log order, what must be written, and what expires. Embeds and sends nothing.

What changed is kept beside the store until it is written, engagements as sums: a candidate that is engaged with a thousand times
between two checkpoints is decoded, folded, encoded and written once.
"""

import heapq
from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from itertools import islice

from schemas.codec import decode, encode
from schemas.records.candidates import Candidate, Publication
from schemas.surfaces import Surfaces, surface_finder
from schemas.topics import CANDIDATES, DAY_MS, ENGAGEMENTS, deletes_kept_ms
from schemas.wire.inbound import InboundRecord
from streams.candidates import fold
from streams.candidates.dedupe import SeenEvents
from streams.candidates.engaged import Engaged
from streams.candidates.live import LiveIds
from streams.candidates.unfolded import UnfoldedEngagements
from streams.state import StateStore, read_state

_MAX_DECODED = 50_000
# for each one written: all are gone long before there are as many again
_LET_GO_EACH = 4
_GRACE_MS = DAY_MS
STUBS_KEPT_MS = DAY_MS
"""How long what was engaged with waits for its publication, after the last engagement."""


class CandidatePartition:
    """The embedder's state of one partition; the runner's thread owns it."""

    def __init__(
        self, store: StateStore, *, positions: Mapping[str, int], ends: Mapping[str, int], surfaces: Surfaces, now_ms: int
    ) -> None:
        """Take over a restored store.

        Args:
            positions: next offset of each input topic.
            ends: of each input's log; see `BatchProcessor.assign`.
            now_ms: decides who is inside a recency window, Unix milliseconds.
        """
        self.positions = dict(positions)
        # broker append time of the last record read, by input topic
        self.append_times_ms = dict.fromkeys(positions, 0)
        # surfaces of one prefix and window hold the same ids: kept once
        shared = {(surface.id_prefix, surface.recency_window_s): LiveIds(surface) for surface in surfaces.values()}
        self.live = {name: shared[surface.id_prefix, surface.recency_window_s] for name, surface in surfaces.items()}
        # insertion-ordered: whose delete markers the store holds
        self._deleted: dict[str, None] = {}
        self._store = store
        self._surfaces_of = surface_finder(surfaces)
        self._seen = SeenEvents()
        self._decoded: dict[str, Candidate] = {}
        # what is let go of those, a few with each write: all at once, in each partition, it took a tenth of a second
        self._let_go: dict[str, Candidate] = {}
        self._unfolded = UnfoldedEngagements()
        # by topic, the furthest that the input of any candidate was folded; beyond that no record is a redelivery
        self._folded_to: dict[str, int] = {}
        # insertion-ordered sets of what awaits writing: at once, in the checkpoint under way, and in the next
        self._urgent: dict[str, None] = {}
        self._sealed: dict[str, None] = {}
        self._dirty: dict[str, None] = {}
        self._due: list[tuple[int, str]] = []
        self._fading: list[str] = []
        anew: set[str] = set()
        for key, value in store.scan():
            candidate = read_state(Candidate, CANDIDATES, key, value)
            anew.update(topic for topic, offset in candidate.source.items() if offset > ends[topic])
            for topic, offset in candidate.source.items():
                self._folded_to[topic] = max(offset, self._folded_to.get(topic, 0))
            self._place(candidate, now_ms)
            self._await_expiry(candidate)
            for topic in self.append_times_ms:
                self.append_times_ms[topic] = max(self.append_times_ms[topic], candidate.append_time_ms)
        if anew:
            self._begin_anew(anew)

    def remember(self, seen: SeenEvents) -> None:
        """Take over the event ids of the 10 minutes before the engagements' position; before the first engagement is folded."""
        self._seen = seen

    def get(self, candidate_id: str) -> Candidate | None:
        """Return the candidate as folded so far."""
        known = self._decoded.get(candidate_id)
        if known is None and (value := self._store.get(candidate_id)) is not None:
            known = decode(Candidate, value)
        unfolded = self._unfolded.take(candidate_id)
        if unfolded is None:
            return known
        after = fold.with_engagements(known, candidate_id, unfolded.steps, append_time_ms=unfolded.append_time_ms)
        self._decoded[candidate_id] = after
        if known is None:
            self._await_expiry(after)
        return after

    def written(self, candidate_ids: Iterable[str]) -> list[bytes]:
        """Return the records of these candidates as last written, of those that still have one."""
        return [state for candidate_id in candidate_ids if (state := self._store.get(candidate_id)) is not None]

    def deleted(self, surface: str) -> list[str]:
        """Return the deleted ids of a surface whose markers are still held."""
        return [i for i in self._deleted if any(one.name == surface for one in self._surfaces_of(i))]

    def fold_publication(self, record: InboundRecord, candidate_id: str, told: Publication | None) -> None:
        """Fold a create, update, delete, or (None) a foreign null."""
        known = self.get(candidate_id)
        if _already_folded(known, record):
            # its outputs may have been lost in the crash that brought it back
            self._urgent[candidate_id] = None
            return
        if told is None:
            after: Candidate | None = fold.with_tombstone(known, candidate_id, append_time_ms=record.timestamp_ms)
        else:
            after = fold.with_publication(known, told, append_time_ms=record.timestamp_ms)
        if after is not None:
            self._decoded[candidate_id] = after
            self._urgent[candidate_id] = None
            self._await_expiry(after)

    def fold_engagement(self, record: InboundRecord, engaged: Engaged) -> None:
        """Fold an engagement, unless its event id is a duplicate."""
        repeated = self._seen.repeats(engaged.event_id, record.timestamp_ms)
        candidate_id = engaged.candidate_id
        known = self.get(candidate_id) if record.offset < self._folded_to.get(ENGAGEMENTS, 0) else None
        if _already_folded(known, record) or (not repeated and self._unfolded.add(candidate_id, engaged.kind, record.timestamp_ms)):
            self._dirty[candidate_id] = None

    def read(self, record: InboundRecord) -> None:
        """Note that a record was read, whatever came of it."""
        self.positions[record.topic] = record.offset + 1
        self.append_times_ms[record.topic] = max(self.append_times_ms[record.topic], record.timestamp_ms)

    def write_urgent(self, now_ms: int) -> list[Candidate]:
        """Put the candidates that were created, updated or deleted into the store, and return them."""
        urgent, self._urgent = self._urgent, {}
        written = self._write(urgent)
        for candidate in written:
            self._place(candidate, now_ms)
        return written

    def seal_dirty(self) -> int:
        """Begin a checkpoint: what is dirty now is part of it; what becomes dirty later is written now or with the next.

        Returns how many candidates it has to write.
        """
        self._sealed.update(self._dirty)
        self._dirty = {}
        if len(self._decoded) > _MAX_DECODED:
            # only what is not written yet must stay
            waiting = (*self._sealed, *self._urgent)
            self._let_go = self._decoded
            self._decoded = {candidate_id: self._let_go[candidate_id] for candidate_id in waiting if candidate_id in self._let_go}
        return len(self._sealed)

    def write_sealed(self, limit: int) -> list[Candidate]:
        """Put up to `limit` candidates of the checkpoint under way into the store, and return them; none when it is whole."""
        return self._write(list(islice(self._sealed, limit)))

    def expire(self) -> list[str]:
        """Forget what is past its time, and return the deleted ids whose nulls the embeddings topics need.

        A delete marker leaves the store only with the call after the one that named it: its nulls must be durable first, or a
        crash between would keep the delete on those topics for ever.
        """
        now_ms = max(self.append_times_ms.values(), default=0)
        for candidate_id in self._fading:
            candidate = self.get(candidate_id)
            if candidate is not None and candidate.deleted and self._is_due(candidate, now_ms):
                self._remove(candidate_id)
            elif candidate is not None:
                self._await_expiry(candidate)
        self._fading = []
        while self._due and self._due[0][0] <= now_ms:
            candidate = self.get(heapq.heappop(self._due)[1])
            if candidate is None:
                continue
            if not self._is_due(candidate, now_ms):
                self._await_expiry(candidate)
            elif candidate.deleted:
                self._fading.append(candidate.candidate_id)
            else:
                self._remove(candidate.candidate_id)
        return list(dict.fromkeys(self._fading))

    def _begin_anew(self, topics: Collection[str]) -> None:
        """Forget how far these topics were read: of one that was created anew, deletes too would be taken for folded long ago."""
        self._folded_to = {topic: offset for topic, offset in self._folded_to.items() if topic not in topics}
        for candidate_id, value in list(self._store.scan()):
            candidate = decode(Candidate, value)
            source = {topic: offset for topic, offset in candidate.source.items() if topic not in topics}
            self._store.put(candidate_id, encode(replace(candidate, source=source)))

    def _write(self, ids: Iterable[str]) -> list[Candidate]:
        written = []
        positions = dict(self.positions)
        redelivered = any(offset < self._folded_to.get(topic, 0) for topic, offset in positions.items())
        for candidate_id in ids:
            # written with all its inputs up to here, it awaits nothing more
            self._sealed.pop(candidate_id, None)
            self._dirty.pop(candidate_id, None)
            known = self.get(candidate_id)
            if known is None:
                continue
            stamped = Candidate(
                candidate_id,
                known.event_time_ms,
                known.sequence,
                known.append_time_ms,
                known.deleted,
                known.attributes,
                known.counters,
                # redelivered input must not set the mark back: what it already covers is in the counters
                {topic: max(offset, known.source.get(topic, 0)) for topic, offset in positions.items()}
                if redelivered
                else positions,
            )
            self._decoded[candidate_id] = stamped
            self._store.put(candidate_id, encode(stamped))
            written.append(stamped)
        for _ in range(min(_LET_GO_EACH * len(written), len(self._let_go))):
            self._let_go.popitem()
        return written

    def _place(self, candidate: Candidate, now_ms: int) -> None:
        if candidate.deleted:
            self._deleted[candidate.candidate_id] = None
        else:
            self._deleted.pop(candidate.candidate_id, None)
        for surface in self._surfaces_of(candidate.candidate_id):
            if candidate.attributes is not None and surface.holds(candidate.attributes.created_ms, now_ms):
                self.live[surface.name].add(candidate.candidate_id, candidate.attributes.created_ms)
            else:
                self.live[surface.name].discard(candidate.candidate_id)

    def _remove(self, candidate_id: str) -> None:
        self._store.delete(candidate_id)
        self._decoded.pop(candidate_id, None)
        self._deleted.pop(candidate_id, None)
        for live in self.live.values():
            live.discard(candidate_id)

    def _await_expiry(self, candidate: Candidate) -> None:
        due_ms = self._due_ms(candidate)
        if due_ms is not None:
            heapq.heappush(self._due, (due_ms, candidate.candidate_id))

    def _is_due(self, candidate: Candidate, now_ms: int) -> bool:
        due_ms = self._due_ms(candidate)
        return due_ms is not None and due_ms <= now_ms

    def _due_ms(self, candidate: Candidate) -> int | None:
        surfaces = self._surfaces_of(candidate.candidate_id)
        if candidate.deleted:
            return candidate.append_time_ms + deletes_kept_ms(surfaces)
        if candidate.attributes is None:
            return candidate.append_time_ms + STUBS_KEPT_MS
        windows_s = [surface.recency_window_s for surface in surfaces]
        if 0 in windows_s:
            return None
        return candidate.attributes.created_ms + int(max(windows_s, default=0.0) * 1000) + _GRACE_MS


def _already_folded(known: Candidate | None, record: InboundRecord) -> bool:
    return known is not None and record.offset < known.source.get(record.topic, 0)
