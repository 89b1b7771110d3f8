"""Joins one partition of impressions and engagements into examples, and re-keys both by user. Reads no clock and no topic itself.

A join lives in the store from its first record until `CORRECTION_WINDOWS` label windows after its example: until then an engagement
that changes the label emits a correction. The store also holds the offsets folded so far, so a redelivered record is passed over.
"""

import json
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from heapq import heappop, heappush

from schemas.codec import SchemaLookup, decode, encode
from schemas.errors import InvalidInput, InvalidRecord
from schemas.records.candidates import CandidateAttributes, CandidateFeatures
from schemas.records.feedback import CandidateToken, Engagement, Example, Impression, Label, LabelJoin, Provenance, example_id
from schemas.records.users import UserEntry, UserEvent, UserEventKind
from schemas.surfaces import Surface, Surfaces, surfaces_of
from schemas.tokens import bounded, read_token
from schemas.topics import ENGAGEMENTS, EXAMPLES, IMPRESSIONS, LABELER_STATE, USER_EVENTS
from schemas.wire.inbound import InboundRecord
from streams.intake import read
from streams.labeler.features import Sight, label_of, serve_time_features, snapshot, takes_a_history
from streams.labeler.held import HeldWindows, NothingAwaited, Reach, needed_ms
from streams.labeler.overtaken import LatelyWritten
from streams.labeler.watermark import NEVER_MS, Watermark
from streams.metrics import LabelerMetrics
from streams.processor import Clock, Work
from streams.state import OutboundRecord, StateStore, read_state
from streams.voiding import voiding

LABELER_TOPICS = (IMPRESSIONS, ENGAGEMENTS)
# how long an emitted join takes corrections, and an engagement counts, in label windows after the first
CORRECTION_WINDOWS = 3
# engagements with one impression that a join takes; a client that repeats one under ever new ids must not make a join that costs
# more with each, and in the end is over the largest message, which its partition would never get past
_FULL = 100

# how long before a window is due the user states it needs are asked about: it takes a second where all is well
_ASKED_AHEAD_MS = 2000

_POSITION = "@position"
_JOINS = "join/"


@dataclass(frozen=True, slots=True)
class _Window:
    """The label window of a surface, in milliseconds."""

    label_ms: int
    lateness_ms: int

    @classmethod
    def of(cls, surface: Surface) -> "_Window":
        return cls(round(surface.label_window_s * 1000), round(surface.lateness_s * 1000))

    @property
    def kept_ms(self) -> int:
        return self.label_ms * (1 + CORRECTION_WINDOWS)


def joins_end_ms(surfaces: Surfaces) -> int:
    """Return how long after its impression a join stays in the state at most, in milliseconds of event time."""
    windows = [_Window.of(surface) for surface in surfaces.values()]
    return max((window.kept_ms + window.lateness_ms for window in windows), default=0)


def latest_ms(surfaces: Surfaces) -> int:
    """Return the longest lateness of any surface, in milliseconds."""
    return max((_Window.of(surface).lateness_ms for surface in surfaces.values()), default=0)


class LabelProcessor:
    """One partition."""

    def __init__(
        self,
        partition: int,
        store: StateStore,
        *,
        ends: Mapping[str, int],
        surfaces: Surfaces,
        sight: Sight,
        reach: Reach | None = None,
        states_wait_ms: int = 0,
        lookup: SchemaLookup | None = None,
        metrics: LabelerMetrics | None = None,
    ) -> None:
        """Take up the joins that `store` holds.

        Args:
            ends: of the inputs' logs now. What was folded beyond was of a topic of that name that is no more.
            reach: how far the user states of `sight` reflect the inputs; without it windows close by the watermark alone.
            states_wait_ms: how long a window that is due waits for it at most.
        """
        self._metrics = metrics or LabelerMetrics()
        # of the batch under way
        self._emitted: Counter[tuple[Label, Provenance]] = Counter()
        self._corrected: Counter[Label] = Counter()
        self._left_out: Counter[str] = Counter()
        self._partition = partition
        self._now_ms = 0
        self._store = store
        self._surfaces = surfaces
        self._windows = {name: _Window.of(surface) for name, surface in surfaces.items()}
        self._sight = sight
        self._lookup = lookup
        position = json.loads(store.get(_POSITION) or b"{}")
        folded: dict[str, int] = position.get("next", {})
        self._next = {topic: offset for topic, offset in folded.items() if offset <= ends[topic]}
        newest_ms: dict[str, int] = position.get("newest_ms", {})
        self._watermark = Watermark(LABELER_TOPICS, newest_ms)
        self._reach = reach or NothingAwaited()
        self._held = HeldWindows(self._reach, states_wait_ms)
        self._written = LatelyWritten()
        # of what was folded, all impressions that wait here among it; positions of older releases do not tell
        self._appended_ms: int = position.get("appended_ms", max(newest_ms.values(), default=NEVER_MS))
        self._reach.read(self._appended_ms)
        # by window: (event time at which it is due, store key, append time that the user states must reflect)
        self._closing: defaultdict[_Window, list[tuple[int, str, int]]] = defaultdict(list)
        # by window: (event time at which it is due, store key)
        self._expiring: defaultdict[_Window, list[tuple[int, str]]] = defaultdict(list)
        for key, data in store.scan(_JOINS):
            join = read_state(LabelJoin, LABELER_STATE, key, data)
            if join.surface and join.surface not in surfaces:
                self._left_out["surface_gone"] += 1
                store.delete(key)
            else:
                self._take_up(key, join)

    def process(self, batch: Sequence[InboundRecord], clock: Clock) -> Work:
        """See `PartitionProcessor.process`. Examples come out when the watermark passes their window's end."""
        outputs: list[OutboundRecord] = []
        dead: list[tuple[InboundRecord, InvalidInput]] = []
        self._now_ms = clock.now_ms
        # before the batch: a join that it brings must not come and go within one commit, or a replay would emit it anew
        outputs.extend(self._expire(clock))
        for record in batch:
            if record.offset < self._next.get(record.topic, 0):
                continue
            self._next[record.topic] = record.offset + 1
            self._appended_ms = max(self._appended_ms, record.timestamp_ms)
            try:
                outputs.extend(self._fold(record))
            except InvalidInput as error:
                dead.append((record, error))
        self._reach.read(self._appended_ms)
        outputs.extend(self._emit_due(clock))
        outputs.extend(self._void_overtaken())
        if batch:
            position = {"next": self._next, "newest_ms": self._watermark.newest_ms, "appended_ms": self._appended_ms}
            self._store.put(_POSITION, json.dumps(position, sort_keys=True).encode())
        self._report(clock)
        return Work(tuple(outputs), tuple(dead))

    def _report(self, clock: Clock) -> None:
        self._metrics.emitted(self._emitted)
        self._metrics.corrected(self._corrected)
        self._metrics.left_out(self._left_out)
        for counted in (self._emitted, self._corrected, self._left_out):
            counted.clear()
        reached_ms = {name: self._watermark.at(clock, window.lateness_ms) for name, window in self._windows.items()}
        # before anything came on a topic, event time has come nowhere
        self._metrics.reached(self._partition, {name: at_ms for name, at_ms in reached_ms.items() if at_ms > 0})

    def _fold(self, record: InboundRecord) -> list[OutboundRecord]:
        if record.topic == IMPRESSIONS:
            impression = read(Impression, record, lambda shown: shown.candidate_id, lookup=self._lookup)
            if impression.surface not in self._surfaces:
                known = ", ".join(sorted(self._surfaces))
                raise InvalidRecord(
                    f"surface {impression.surface!r} is not configured (known: {known}); add it to the surfaces file"
                )
            self._watermark.observe(IMPRESSIONS, impression.event_time_ms, record.timestamp_ms)
            return self._fold_impression(impression, record.offset)
        engagement = read(Engagement, record, lambda done: done.candidate_id, lookup=self._lookup)
        self._watermark.observe(ENGAGEMENTS, engagement.event_time_ms, record.timestamp_ms)
        return self._fold_engagement(engagement)

    def _fold_impression(self, impression: Impression, offset: int) -> list[OutboundRecord]:
        name = example_id(impression.request_id, impression.candidate_id)
        token = read_token(CandidateToken, impression.token)
        entry = self._entry(
            name, UserEventKind.IMPRESSION, impression.candidate_id, impression.event_time_ms, token.features if token else None
        )
        outputs = [_user_event(impression.user_id, entry, impression.surface, impression.source_time_ms)]
        join = self._load(_JOINS + name) or LabelJoin()
        if join.impression is not None or join.example is not None:
            return outputs
        join = LabelJoin(
            impression.surface,
            impression.event_time_ms,
            offset,
            encode(replace(impression, token=bounded(impression.token), query_token=bounded(impression.query_token))),
            snapshot(impression.candidate_id, self._sight) if token is None else None,
            join.entries,
        )
        self._save(_JOINS + name, join)
        self._take_up(_JOINS + name, join, impression)
        return outputs

    def _fold_engagement(self, engagement: Engagement) -> list[OutboundRecord]:
        kind = UserEventKind(engagement.kind)
        entry = self._entry(engagement.event_id, kind, engagement.candidate_id, engagement.event_time_ms, None)
        outputs = [_user_event(engagement.user_id, entry, None, engagement.source_time_ms)]
        if engagement.request_id is None:
            return outputs
        key = _JOINS + example_id(engagement.request_id, engagement.candidate_id)
        join = self._load(key)
        if join is None:
            join = LabelJoin(entries=(entry,))
            self._take_up(key, join)
        elif any(known.entry_id == entry.entry_id for known in join.entries):
            return outputs
        elif len(join.entries) >= _FULL and any(known.kind is entry.kind for known in join.entries):
            # one of each kind still comes in: a rejection must make a negative of whatever was repeated
            self._left_out["crowded_out"] += 1
            return outputs
        else:
            join = replace(join, entries=(*join.entries, entry))
        if join.example is not None:
            example = decode(Example, join.example)
            if self._is_erased(example.user_id, example.event_time_ms):
                return [*outputs, self._void(key, example.user_id)]
            label, kinds = label_of(self._counting(join))
            if (label, kinds) != (example.label, example.kinds):
                self._corrected[label] += 1
                frame = encode(replace(example, revision=example.revision + 1, label=label, kinds=kinds))
                join = replace(join, example=frame)
                outputs.append(self._written_now(key, example, frame))
        self._save(key, join)
        return outputs

    def _entry(
        self, entry_id: str, kind: UserEventKind, candidate_id: str, event_time_ms: int, served: CandidateFeatures | None
    ) -> UserEntry:
        known: CandidateFeatures | CandidateAttributes | None = served
        if known is None:
            candidate = self._sight.candidate(candidate_id)
            known = candidate.attributes if candidate is not None else None
        if known is None:
            return UserEntry(entry_id, kind, candidate_id, event_time_ms)
        return UserEntry(entry_id, kind, candidate_id, event_time_ms, known.author_id, known.language, known.topics)

    def _emit_due(self, clock: Clock) -> list[OutboundRecord]:
        outputs: list[OutboundRecord] = []
        for window, heap in self._closing.items():
            watermark_ms = self._watermark.at(clock, window.lateness_ms)
            while heap and heap[0][0] <= watermark_ms:
                _, key, needed_ms = heappop(heap)
                if not self._held.holds(key, needed_ms, clock.now_ms):
                    outputs.extend(self._close(key))
            # begun ahead, what it takes to know is known when the window is due
            if heap and heap[0][0] <= watermark_ms + _ASKED_AHEAD_MS:
                self._reach.want(heap[0][2])
        for key in self._held.let_go(clock.now_ms):
            outputs.extend(self._close(key))
        return outputs

    def _close(self, key: str) -> list[OutboundRecord]:
        join = self._load(key)
        if join is None or join.impression is None:
            return []
        return self._emit(key, join, decode(Impression, join.impression))

    def _is_erased(self, user_id: str, event_time_ms: int) -> bool:
        """Tell whether a user was deleted at or after an event: no example may come of it any more."""
        return event_time_ms <= self._sight.erased_ms(user_id)

    def _void(self, key: str, user_id: str) -> OutboundRecord:
        """Forget a join of before its user's delete; returns the null that voids what was written of it."""
        self._left_out["user_erased"] += 1
        self._store.delete(key)
        return voiding(user_id, self._sight.erased_ms(user_id))

    def _written_now(self, key: str, example: Example, frame: bytes) -> OutboundRecord:
        self._written.note(key, example, self._now_ms)
        return OutboundRecord(EXAMPLES, example.user_id.encode(), frame)

    def _void_overtaken(self) -> list[OutboundRecord]:
        """Return a null behind each example that stands behind that of its user's delete."""
        settled = self._written.settled(self._now_ms)
        return [self._void(key, user_id) for key, user_id, event_time_ms in settled if self._is_erased(user_id, event_time_ms)]

    def _emit(self, key: str, join: LabelJoin, impression: Impression) -> list[OutboundRecord]:
        if self._is_erased(impression.user_id, impression.event_time_ms):
            # a crash may have taken what was known of one written before it
            return [self._void(key, impression.user_id)]
        features = serve_time_features(impression, join.candidate, self._sight)
        if features is None:
            self._left_out["candidate_unknown"] += 1
            self._store.delete(key)
            return []
        query, candidate, provenance = features
        label, kinds = label_of(self._counting(join))
        example = Example(
            example_id=key.removeprefix(_JOINS),
            revision=0,
            surface=impression.surface,
            request_id=impression.request_id,
            user_id=impression.user_id,
            candidate_id=impression.candidate_id,
            position=impression.position,
            event_time_ms=impression.event_time_ms,
            candidate=candidate,
            label=label,
            kinds=kinds,
            provenance=provenance,
            bundle=impression.bundle,
            query=query,
            impression_partition=self._partition,
            impression_offset=join.impression_offset,
            source_time_ms=impression.source_time_ms,
        )
        self._emitted[label, provenance] += 1
        frame = encode(example)
        emitted = replace(join, impression=None, candidate=None, example=frame)
        self._save(key, emitted)
        self._take_up(key, emitted)
        return [self._written_now(key, example, frame)]

    def _counting(self, join: LabelJoin) -> list[UserEntry]:
        """Return the engagements that count: by event time, so that the order of arrival cannot decide a label."""
        last_ms = join.event_time_ms + self._window(join.surface).kept_ms
        return [entry for entry in join.entries if entry.event_time_ms <= last_ms]

    def _expire(self, clock: Clock) -> Iterator[OutboundRecord]:
        """Forget the joins whose time is over; yield a null behind an example whose user was deleted meanwhile."""
        for window, heap in self._expiring.items():
            watermark_ms = self._watermark.at(clock, window.lateness_ms)
            while heap and heap[0][0] <= watermark_ms:
                _, key = heappop(heap)
                join = self._load(key)
                # a key may be scheduled twice: its engagements came first, then its impression
                if join is None or join.impression is not None or self._end(join)[1] > watermark_ms:
                    continue
                self._store.delete(key)
                if join.example is not None:
                    example = decode(Example, join.example)
                    if self._is_erased(example.user_id, example.event_time_ms):
                        yield voiding(example.user_id, self._sight.erased_ms(example.user_id))

    def _take_up(self, key: str, join: LabelJoin, impression: Impression | None = None) -> None:
        """Schedule what happens next to a join: its example, or its end. `impression` is its own, where it is decoded already."""
        window, due_ms = self._end(join)
        if join.impression is None:
            heappush(self._expiring[window], (due_ms, key))
            return
        needed = NEVER_MS
        if takes_a_history(impression or decode(Impression, join.impression)):
            needed = needed_ms(join.event_time_ms, self._appended_ms, window.lateness_ms)
        heappush(self._closing[window], (due_ms, key, needed))

    def _end(self, join: LabelJoin) -> tuple[_Window, int]:
        """Return the window a join belongs to, and the event time at which its present stage ends."""
        if join.surface:
            window = self._window(join.surface)
            return window, join.event_time_ms + (window.label_ms if join.impression is not None else window.kept_ms)
        # its impression may still come: an earlier event, read later
        first = join.entries[0]
        belongs_to = surfaces_of(first.candidate_id, self._surfaces) or tuple(self._surfaces.values())
        window = max((self._window(surface.name) for surface in belongs_to), key=lambda window: window.label_ms)
        return window, first.event_time_ms + window.label_ms

    def _window(self, surface: str) -> _Window:
        return self._windows[surface]

    def _load(self, key: str) -> LabelJoin | None:
        data = self._store.get(key)
        return decode(LabelJoin, data) if data is not None else None

    def _save(self, key: str, join: LabelJoin) -> None:
        self._store.put(key, encode(join))


def _user_event(user_id: str, entry: UserEntry, surface: str | None, source_time_ms: int | None) -> OutboundRecord:
    event = UserEvent.of(user_id, entry, surface=surface, source_time_ms=source_time_ms)
    return OutboundRecord(USER_EVENTS, user_id.encode(), encode(event))
