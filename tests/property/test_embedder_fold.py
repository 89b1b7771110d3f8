"""Any interleaving, redelivery and crash gives the state of the reference fold: the embedder on logs kept in memory."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field, replace

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from schemas.bundle import read_bundle
from schemas.codec import decode, decode_embedding, encode
from schemas.ids import Version
from schemas.positions import Header, read_mark
from schemas.records.candidates import Candidate, Embedding, Tweet
from schemas.records.control import BundleStage, NodeStatus, Progress, Rollout, Stage
from schemas.records.feedback import Engagement, EngagementKind
from schemas.surfaces import WRITE_TIME, load_surfaces
from schemas.topics import CANDIDATES, ENGAGEMENTS, NODE_STATUS, TWEETS, embeddings_topic_name
from schemas.towers import Towers
from schemas.wire.inbound import InboundRecord
from schemas.wire.partition import partition_of
from serving.filling.embeddings import decode_batch
from streams.candidates.dedupe import SeenEvents, window_start_ms
from streams.candidates.intake import read_engagement
from streams.embedder import targets as targets_module
from streams.embedder.embed import Target
from streams.embedder.processor import EmbedderProcessor
from streams.embedder.replay import written_whole
from streams.embedder.targets import Loaded, Targets
from streams.processor import Work
from streams.runner.changelog import ChangelogStore
from tests.bundles import publish_bundle
from tests.reference_fold import comparable, reference_fold
from tests.streams_kit import newest_candidates

_BASE_MS = 1_700_000_000_000
_PARTITIONS = 2
_INPUTS = (TWEETS, ENGAGEMENTS)
_SURFACES = load_surfaces()


@pytest.fixture(scope="module")
def towers(tmp_path_factory: pytest.TempPathFactory) -> Towers:
    """Return real towers, small ones."""
    registry = tmp_path_factory.mktemp("registry")
    return Towers(read_bundle(registry, "home-timeline", publish_bundle(registry, dim=32)))


# one input: which topic, the record's key and value, and by how much the append time moves
Event = tuple[str, str, bytes | None, int]
_ids = st.sampled_from(["t:a", "t:b", "t:c", "t:\N{BIRD}"])
# few values, so that versions tie and event ids repeat
_times = st.integers(_BASE_MS, _BASE_MS + 3)
_steps = st.sampled_from([0, 1, 1_000, 50_000, 400_000])


@st.composite
def _tweets(draw: st.DrawFn) -> Event:
    candidate_id, deleted = draw(_ids), draw(st.booleans())
    text = draw(st.sampled_from(["one", "two"]))
    tweet = Tweet(candidate_id, draw(_times), draw(st.integers(0, 1)), "a:1", _BASE_MS, deleted, topics=(text,), text=text)
    return TWEETS, candidate_id, encode(tweet), draw(_steps)


@st.composite
def _engagements(draw: st.DrawFn) -> Event:
    candidate_id = draw(_ids)
    event = Engagement(f"e{draw(st.integers(0, 6))}", "u", candidate_id, draw(st.sampled_from(EngagementKind)), _BASE_MS)
    return ENGAGEMENTS, candidate_id, encode(event), draw(_steps)


_nulls: st.SearchStrategy[Event] = st.tuples(st.just(TWEETS), _ids, st.none(), _steps)
_garbage: st.SearchStrategy[Event] = st.tuples(st.sampled_from(_INPUTS), _ids, st.just(b"\x00junk"), _steps)
_events = st.lists(st.one_of(_tweets(), _engagements(), _engagements(), _nulls, _garbage), max_size=40)

Action = tuple[str, int, int] | tuple[str, int | str | None]
_actions = st.lists(
    st.one_of(
        st.tuples(st.just("read"), st.integers(0, 2 * _PARTITIONS - 1), st.integers(1, 6)),
        st.tuples(st.sampled_from(["checkpoint", "between", "step", "step", "step", "reread"]), st.just(0), st.just(0)),
        # percent of the unflushed state, and of the other unflushed records, that reached the broker all the same
        st.tuples(
            st.sampled_from(["crash", "crash before flush", "crash before commit", "crash before commit"]),
            st.sampled_from([0, 50, 100]),
            st.sampled_from([0, 50, 100]),
        ),
    ),
    max_size=30,
)


def _logs(events: Iterable[Event]) -> dict[tuple[str, int], list[InboundRecord]]:
    logs: dict[tuple[str, int], list[InboundRecord]] = {(t, p): [] for t in _INPUTS for p in range(_PARTITIONS)}
    append_time_ms = _BASE_MS
    for topic, candidate_id, value, step_ms in events:
        append_time_ms += step_ms
        key = candidate_id.encode()
        log = logs[topic, partition_of(key, _PARTITIONS)]
        log.append(InboundRecord(topic, partition_of(key, _PARTITIONS), len(log), append_time_ms, key, value))
    return logs


@dataclass
class _RolloutLog:
    """The rollouts topic: a fake of what a `TailReader` reads."""

    waiting: list[InboundRecord] = field(default_factory=list)

    def poll(self, max_messages: int = 1_000, timeout_s: float = 0.1) -> list[InboundRecord]:
        records, self.waiting = self.waiting, []
        return records

    def at_end(self) -> bool:
        return not self.waiting


class _World:
    """A broker and a supervisor in memory: what was flushed survives a crash; of the rest, any part of each log does."""

    def __init__(
        self,
        logs: dict[tuple[str, int], list[InboundRecord]],
        towers: Towers,
        refresh: str = WRITE_TIME,
        *,
        rereads_at_once: bool = True,
        stage: Stage = Stage.LIVE,
        gather_ms: int = 0,
    ) -> None:
        self.logs = logs
        self.gather_ms = gather_ms
        self.steady_ms = _BASE_MS
        self.rereads_at_once = rereads_at_once
        self.towers = towers
        self.surfaces = {name: replace(surface, refresh=refresh) for name, surface in _SURFACES.items()}
        self.committed = dict.fromkeys(logs, 0)
        self.durable: dict[tuple[str, int], list[InboundRecord]] = defaultdict(list)
        self.flying: dict[tuple[str, int], list[InboundRecord]] = defaultdict(list)
        self.revisions = [Rollout("home-timeline", 1, bundles=(BundleStage(towers.bundle_id, stage),))]
        whole = tuple(Progress("home-timeline", towers.bundle_id, p, backfill_done=True) for p in range(_PARTITIONS))
        self.first_report = NodeStatus("embedder:0", _BASE_MS, ready=True, revisions={"home-timeline": 1}, progress=whole)
        self.start()

    def start(self) -> None:
        self.rereading: list[tuple[Future[SeenEvents], int, int]] = []
        self.rollouts = _RolloutLog()
        for revision in self.revisions:
            self.say(revision)
        loaded = Loaded(Target(self.surfaces["home-timeline"], self.towers), {})
        self.targets = Targets(self.rollouts, lambda *_: loaded, self.surfaces)
        self.targets.start()
        self.processor = EmbedderProcessor(
            targets=self.targets,
            surfaces=self.surfaces,
            partitions=_PARTITIONS,
            instance="0",
            seen_before=self._seen_before,
            ends={},
            topic_exists=lambda _: True,
            backfilled=written_whole(self._last_report(), self.targets.configured_at),
            backfill_slice=1,
            gather_ms=self.gather_ms,
            clock=lambda: _BASE_MS,
            steady=lambda: self.steady_ms,
        )
        self.stores: dict[int, ChangelogStore] = {}
        for partition in range(_PARTITIONS):
            restored = newest_candidates(self.durable[CANDIDATES, partition])
            self.stores[partition] = ChangelogStore({key: encode(candidate) for key, candidate in restored.items()})
            positions = {topic: self.committed[topic, partition] for topic in _INPUTS}
            ends = {topic: len(self.logs[topic, partition]) for topic in _INPUTS}
            self.processor.assign(partition, self.stores[partition], positions, ends)
        self.positions = dict(self.committed)
        self.under_way: dict[tuple[str, int], int] | None = None
        self.written = False

    def crash(self, state_percent: int, output_percent: int) -> None:
        for place, records in self.flying.items():
            percent = state_percent if place[0] == CANDIDATES else output_percent
            self.durable[place] += records[: len(records) * percent // 100]
        self.flying.clear()
        self.targets.close()
        self.start()

    def read(self, place: tuple[str, int], count: int) -> None:
        if place in self.processor.not_yet():
            return
        records = self.logs[place][self.positions[place] :][:count]
        self._apply(self.processor.process(records))
        self.positions[place] += len(records)

    def checkpoint(self, *, crash: str = "", survives: tuple[int, int] = (0, 0)) -> None:
        """Take a whole checkpoint, or crash on the way."""
        self.begin()
        while self.write_slice():
            pass
        if crash == "crash before flush":
            self.crash(*survives)
            return
        self.flush()
        if crash == "crash before commit":
            self.crash(*survives)
            return
        self.commit()

    def step(self) -> None:
        """Take a checkpoint one step further, as the runner does between batches."""
        if self.under_way is None:
            self.begin()
        elif not self.written:
            self.write_slice()
        else:
            self.flush()
            self.commit()

    def begin(self) -> None:
        self.under_way, self.written = dict(self.positions), False
        self.processor.begin_checkpoint()

    def write_slice(self) -> bool:
        work, more = self.processor.checkpoint(1)
        self._apply(work)
        self.written = not more
        return more

    def flush(self) -> None:
        for place, records in self.flying.items():
            self.durable[place] += records
        self.flying.clear()

    def commit(self) -> None:
        assert self.under_way is not None
        self.processor.durable()
        self.committed, self.under_way = self.under_way, None

    def act(self, action: Action) -> None:
        match action:
            case ("configure", str() | None as refresh):
                self.configure(refresh)
            case ("read", place, count):
                self.read(list(self.logs)[place], count)
            case ("checkpoint", _, _):
                self.checkpoint()
            case ("step", _, _):
                self.step()
            case ("reread", _, _):
                self.reread()
            case ("between", _, _):
                self.steady_ms += self.gather_ms // 2
                self._apply(self.processor.between()[0])
            case ("crash", state_percent, output_percent):
                self.crash(state_percent, output_percent)
            case (name, state_percent, output_percent):
                self.checkpoint(crash=name, survives=(state_percent, output_percent))

    def finish(self) -> None:
        self.reread()
        for place, log in self.logs.items():
            self.read(place, len(log))
        while True:
            work, wait_s = self.processor.between()
            self._apply(work)
            if wait_s is None:
                break
            self.steady_ms += self.gather_ms
        self.checkpoint()
        self.targets.close()

    def candidates(self) -> dict[str, Candidate]:
        return newest_candidates(record for p in range(_PARTITIONS) for record in self.durable[CANDIDATES, p])

    def embeddings(self) -> dict[str, Embedding]:
        newest: dict[str, Embedding] = {}
        for (topic, _), records in self.durable.items():
            for record in records if topic.startswith("embeddings.") else ():
                embedding = decode_embedding(32, record.value or b"")
                known = newest.get(embedding.candidate_id)
                if known is None or embedding.version >= known.version:
                    newest[embedding.candidate_id] = embedding
        return newest

    def configure(self, refresh: str | None) -> None:
        self.revisions.append(replace(self.revisions[-1], revision=len(self.revisions) + 1, refresh=refresh))
        self.say(self.revisions[-1])

    def say(self, revision: Rollout) -> None:
        self.rollouts.waiting.append(InboundRecord("rollouts", 0, 0, _BASE_MS, b"home-timeline", encode(revision)))

    def _last_report(self) -> NodeStatus:
        reports = [record for (topic, _), records in self.durable.items() if topic == NODE_STATUS for record in records]
        return decode(NodeStatus, reports[-1].value or b"") if reports else self.first_report

    def _apply(self, work: Work) -> None:
        for partition, store in self.stores.items():
            for key, value in store.take_changes():
                self._write(CANDIDATES, partition, key.encode(), value)
        for output in work.outputs:
            self._write(output.topic, partition_of(output.key, _PARTITIONS), output.key, output.value, output.headers)

    def _write(self, topic: str, partition: int, key: bytes, value: bytes | None, headers: tuple[Header, ...] = ()) -> None:
        self.flying[topic, partition].append(InboundRecord(topic, partition, 0, _BASE_MS, key, value, headers))

    def _seen_before(self, partition: int, next_offset: int) -> Future[SeenEvents]:
        found: Future[SeenEvents] = Future()
        self.rereading.append((found, partition, next_offset))
        if self.rereads_at_once:
            self.reread()
        return found

    def reread(self) -> None:
        for found, partition, next_offset in self.rereading:
            found.set_result(self._events_before(partition, next_offset))
        self.rereading = []

    def _events_before(self, partition: int, next_offset: int) -> SeenEvents:
        seen = SeenEvents()
        before = self.logs[ENGAGEMENTS, partition][:next_offset]
        for record in before:
            if record.timestamp_ms >= window_start_ms(before[-1].timestamp_ms) and (record.value or b"")[:2] != b"\x00j":
                seen.repeats(read_engagement(record).event_id, record.timestamp_ms)
        return seen


def _check_marks(world: _World) -> None:
    """Every mark in an embeddings log holds: what follows from the tweets before it is in the log by then."""
    topic = embeddings_topic_name(world.towers.bundle_id)
    for partition in range(_PARTITIONS):
        tweets, versions = world.logs[TWEETS, partition], dict[str, Version]()
        for record in world.durable[topic, partition]:
            embedding = decode_embedding(32, record.value or b"")
            versions[embedding.candidate_id] = max(embedding.version, versions.get(embedding.candidate_id, embedding.version))
            if reached := read_mark(record.headers).get(TWEETS, 0):
                expected = reference_fold(tweets[:reached], [], partitions=_PARTITIONS)
                assert all(versions[candidate_id] >= candidate.version for candidate_id, candidate in expected.items())


def _check(world: _World, *, newest: bool = True) -> None:
    """Finish, then compare with the reference fold; `newest`: vectors are of the newest counters, as with write-time."""
    world.finish()
    _check_marks(world)
    everything = {topic: [r for p in range(_PARTITIONS) for r in world.logs[topic, p]] for topic in _INPUTS}
    expected = reference_fold(everything[TWEETS], everything[ENGAGEMENTS], partitions=_PARTITIONS)
    assert {i: comparable(c) for i, c in world.candidates().items()} == {i: comparable(c) for i, c in expected.items()}
    vectors = world.embeddings()
    assert {i: e.deleted for i, e in vectors.items()} == {i: c.deleted for i, c in expected.items() if not c.is_stub}
    for candidate_id, embedding in vectors.items():
        assert embedding.version == expected[candidate_id].version
        if newest:
            assert embedding.features == expected[candidate_id].features()
        if embedding.features is not None:
            vector = np.frombuffer(embedding.vector, "<f4")
            assert np.allclose(vector, world.towers.embed_candidates([embedding.features])[0], atol=1e-6)


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(events=_events, actions=_actions, rereads_at_once=st.booleans())
def test_any_interleaving_redelivery_and_crash_gives_the_reference_state(
    towers: Towers, events: Sequence[Event], actions: Sequence[Action], *, rereads_at_once: bool
) -> None:
    """CONTRACTS, 'What "the same state" means': candidates, live set and vectors after quiescence are one function of the logs."""
    world = _World(_logs(events), towers, rereads_at_once=rereads_at_once)
    for action in actions:
        world.act(action)
    _check(world)


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(
    refresh=st.sampled_from(["every=1s", "every=100s", "threshold", "value=1/s", "value=999/s"]), events=_events, actions=_actions
)
def test_a_refresh_policy_delays_vectors_and_nothing_else(
    towers: Towers, refresh: str, events: Sequence[Event], actions: Sequence[Action]
) -> None:
    """CONTRACTS, as above: state, versions and deletes are as with write-time; a vector is that of its own features."""
    world = _World(_logs(events), towers, refresh)
    for action in actions:
        world.act(action)
    _check(world, newest=False)


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(events=_events, actions=_actions)
def test_a_bundle_that_answers_nobody_gets_the_same_a_moment_later(
    towers: Towers, events: Sequence[Event], actions: Sequence[Action]
) -> None:
    """CONTRACTS, as above, and marks that hold: a rollback goes to what is gathered for, wherever a crash came between."""
    world = _World(_logs(events), towers, stage=Stage.DRAINING, gather_ms=50)
    for action in actions:
        world.act(action)
    _check(world)


def test_a_bundle_that_answers_again_is_given_what_it_is_owed(towers: Towers, monkeypatch: pytest.MonkeyPatch) -> None:
    """Gathered for while it drained: after a rollback nothing of it may wait for its time."""
    monkeypatch.setattr(targets_module, "_LOOK_EVERY_S", 0.0)
    world = _World(_logs([_tweet("one"), _tweet("two", 1)]), towers, stage=Stage.DRAINING, gather_ms=50)
    topic = embeddings_topic_name(towers.bundle_id)
    world.read(_TWEETS_OF_A, 1)
    assert not world.flying[topic, _TWEETS_OF_A[1]]
    assert world.processor.between()[1] == pytest.approx(0.05)
    world.revisions.append(replace(world.revisions[-1], revision=2, bundles=(BundleStage(towers.bundle_id, Stage.LIVE),)))
    world.say(world.revisions[-1])
    world.act(("between", 0, 0))
    assert [read_mark(record.headers) for record in world.flying[topic, _TWEETS_OF_A[1]]] == [{TWEETS: 1}]
    world.read(_TWEETS_OF_A, 1)
    assert len(world.flying[topic, _TWEETS_OF_A[1]]) == 2, "it answers: at once"
    _check(world)


def test_what_is_published_does_not_wait_for_the_event_ids_of_before(towers: Towers) -> None:
    """A restart reads ten minutes of engagements again: those that follow wait for it, a tweet does not."""
    world = _World(_logs([_tweet("one"), _click("e1"), _click("e1")]), towers, rereads_at_once=False)
    world.read(_TWEETS_OF_A, 1)
    world.read(_ENGAGEMENTS_OF_A, 2)
    world.flush()
    assert world.embeddings()["t:a"].features is not None
    assert world.positions[_ENGAGEMENTS_OF_A] == 0
    world.reread()
    world.read(_ENGAGEMENTS_OF_A, 2)
    assert world.positions[_ENGAGEMENTS_OF_A] == 2
    _check(world)


def _tweet(text: str, sequence: int = 0) -> Event:
    return TWEETS, "t:a", encode(Tweet("t:a", _BASE_MS, sequence, "a:1", _BASE_MS, topics=(text,))), 1


def _click(event_id: str) -> Event:
    return ENGAGEMENTS, "t:a", encode(Engagement(event_id, "u", "t:a", EngagementKind.CLICK, _BASE_MS)), 1


_TWEETS_OF_A = (TWEETS, partition_of(b"t:a", _PARTITIONS))
_ENGAGEMENTS_OF_A = (ENGAGEMENTS, partition_of(b"t:a", _PARTITIONS))


_POLICIES = ["write-time", "every=100s", "threshold", "value=1/s", None]
_changes = st.one_of(
    st.sampled_from(_POLICIES).map(lambda refresh: ("configure", refresh)),
    st.integers(1, 3).map(lambda count: ("click", count)),
    st.tuples(st.sampled_from(["checkpoint", "between", "between", "crash", "crash before commit"]), st.just(100), st.just(0)),
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(actions=st.lists(_changes, max_size=25), last=st.sampled_from(_POLICIES))
# killed before it could say of the change that something was still held back
@example(actions=[("configure", "value=1/s"), ("between", 0, 0), ("click", 1), ("configure", None), ("crash", 100, 0)], last=None)
def test_a_policy_changed_at_any_moment_loses_no_vector(
    towers: Towers, actions: Sequence[Action], last: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Back at write-time every vector is of the newest counters, whatever was held back, and wherever a crash came between."""
    monkeypatch.setattr(targets_module, "_LOOK_EVERY_S", 0.0)
    # no more than are read on the way: one read at the end would embed its candidate anew, whatever was lost
    clicks = sum(int(action[1] or 0) for action in actions if action[0] == "click")
    world = _World(_logs([_tweet("one"), *(_click(f"e{n}") for n in range(clicks))]), towers)
    world.read(_TWEETS_OF_A, 1)
    world.checkpoint()
    for action in actions:
        match action:
            case ("click", int(count)):
                world.read(_ENGAGEMENTS_OF_A, count)
                world.checkpoint()
            case _:
                world.act(action)
    world.configure(last)
    _check(world, newest=last in (WRITE_TIME, None))


def test_a_running_embedder_follows_the_policy_in_the_log_and_hands_on_what_the_old_one_held_back(
    towers: Towers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An operator changes it because of the load there is now: a restart would embed the whole corpus on top of it."""
    monkeypatch.setattr(targets_module, "_LOOK_EVERY_S", 0.0)
    world = _World(_logs([_tweet("one"), _click("e1"), _click("e2")]), towers)

    def clicks_in_the_vector() -> int:
        world.flush()
        features = world.embeddings()["t:a"].features
        assert features is not None
        return features.counters.click

    world.read(_TWEETS_OF_A, 1)
    world.read(_ENGAGEMENTS_OF_A, 1)
    world.checkpoint()
    assert clicks_in_the_vector() == 1
    world.configure("value=1/s")
    world.act(("between", 0, 0))
    world.read(_ENGAGEMENTS_OF_A, 1)
    world.checkpoint()
    assert clicks_in_the_vector() == 1
    world.configure("every=100s")
    world.act(("between", 0, 0))
    assert clicks_in_the_vector() == 2, "a candidate that the new policy would not hold back is embedded at once"
    assert world.processor.between()[1] is None, "no corpus is written again between policies that hold back"
    world.targets.close()


def test_a_batch_is_marked_at_its_end_and_only_for_a_bundle_with_its_whole_corpus(towers: Towers) -> None:
    """A mark one record too early, and whoever waits for the tweet just published is answered without it."""
    place = _TWEETS_OF_A
    tweets = [_tweet("one"), _tweet("two", 1)]
    world = _World(_logs([*tweets, *tweets, _tweet("one", 2)]), towers)
    world.read(place, 5)
    topic = embeddings_topic_name(towers.bundle_id)
    assert [read_mark(record.headers) for record in world.flying[topic, place[1]]] == [{TWEETS: 5}]
    corpus_behind = _World(_logs([_tweet("one")]), towers, "threshold")
    corpus_behind.read(place, 1)
    assert [record.headers for record in corpus_behind.flying[topic, place[1]]] == [()]
    for each in (world, corpus_behind):
        _check(each, newest=each is world)


def test_a_tweet_is_not_waited_for_longer_while_the_corpus_is_embedded_again(
    towers: Towers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Back at write-time only counters are old: beside live traffic that may take minutes, and `publish --wait` would time out."""
    monkeypatch.setattr(targets_module, "_LOOK_EVERY_S", 0.0)
    world = _World(_logs([_tweet("one"), _tweet("two", 1), _tweet("one", 2)]), towers)
    world.read(_TWEETS_OF_A, 1)
    world.checkpoint()
    world.configure("threshold")
    world.act(("between", 0, 0))
    world.configure(WRITE_TIME)
    world.act(("between", 0, 0))
    world.read(_TWEETS_OF_A, 1)
    assert world.processor.between()[1] is not None, "the corpus is still under way"
    topic = embeddings_topic_name(towers.bundle_id)
    assert read_mark(world.flying[topic, _TWEETS_OF_A[1]][-1].headers) == {TWEETS: 2}
    _check(world)


def test_a_vector_lost_while_its_state_survived_is_written_again(towers: Towers) -> None:
    """State and vectors are different topics: a crash may keep one. The redelivered input changes no state, yet must write."""
    world = _World(_logs([_tweet("one")]), towers)
    world.read(_TWEETS_OF_A, 1)
    world.crash(100, 0)
    assert world.candidates()
    assert not world.embeddings()
    _check(world)


def test_a_refresh_lost_while_its_counters_survived_is_written_again(towers: Towers) -> None:
    """The same for engagements: without it a vector would stay at the counters of before the crash for ever."""
    world = _World(_logs([_tweet("one"), _click("e1")]), towers)
    world.read(_TWEETS_OF_A, 1)
    world.checkpoint()
    world.read(_ENGAGEMENTS_OF_A, 1)
    world.checkpoint(crash="crash before flush", survives=(100, 0))
    _check(world)


def test_two_crashes_with_less_read_in_between_count_nothing_twice(towers: Towers) -> None:
    """After the first crash only part is read again: writing the candidate then must not set back how far its counters reach."""
    world = _World(_logs([_tweet("one"), *(_click(f"e{n}") for n in range(5))]), towers)
    world.read(_TWEETS_OF_A, 1)
    world.read(_ENGAGEMENTS_OF_A, 5)
    world.checkpoint(crash="crash before commit")
    world.read(_ENGAGEMENTS_OF_A, 1)
    world.checkpoint(crash="crash before commit")
    _check(world)


def test_a_duplicate_is_known_after_a_restart(towers: Towers) -> None:
    """The event ids are in no state: they are read again, from 10 minutes before the committed offset."""
    world = _World(_logs([_click("e1"), _click("e1")]), towers)
    world.read(_ENGAGEMENTS_OF_A, 1)
    world.checkpoint()
    world.crash(0, 0)
    _check(world)
    assert world.candidates()["t:a"].counters.click == 1


def test_a_topic_that_is_only_compacted_is_written_to_in_every_partition(towers: Towers) -> None:
    """The broker cleans no silent partition: the vector and text of an erased account stayed on one for ever."""
    topic = embeddings_topic_name(towers.bundle_id)
    world = _World(_logs([]), towers)
    world.checkpoint()
    assert not any(world.durable[topic, partition] for partition in range(_PARTITIONS)), "retention cleans a silent partition"
    world.surfaces = {name: replace(surface, recency_window_s=0) for name, surface in world.surfaces.items()}
    world.crash(0, 0)
    world.checkpoint()
    world.checkpoint()
    records = [record for partition in range(_PARTITIONS) for record in world.durable[topic, partition]]
    assert [record.partition for record in records] == list(range(_PARTITIONS)), "once, until it is time again"
    batch = decode_batch(towers.bundle_id, towers.dim, records)
    assert (len(batch.forgotten), batch.bad) == (_PARTITIONS, ()), "to a node it is the clean-up of nobody"
    world.targets.close()
