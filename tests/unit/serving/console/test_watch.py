"""What the console reads: logs folded, samples decoded, nodes asked. Without a broker."""

import json
import threading
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from confluent_kafka import KafkaError, KafkaException, TopicPartition
from prometheus_client import generate_latest

from schemas.codec import encode
from schemas.ids import Version
from schemas.records.control import SILENCE_MS, NodeStatus, Outcome, Stage
from schemas.records.users import UserState
from schemas.registry.folder import FolderRegistry
from schemas.topics import NODE_STATUS, ROLLOUTS, USER_STATES
from schemas.wire.inbound import InboundRecord
from serving.console.readings import QUERY_SECONDS, DeadLetters, Delays, Moment
from serving.console.watch import broker, newest
from serving.console.watch.broker import HISTORY, BrokerWatch, ControlLog
from serving.console.watch.delays import sampled_delays
from serving.console.watch.files import RegistryCatalog, ResultFiles
from serving.console.watch.letters import KeptLetters
from serving.console.watch.nodes import NodeReader, histograms_of
from serving.console.watch.users import recent_users
from serving.metrics import NodeMetrics
from tests.bundles import publish_bundle
from tests.console_fakes import HOME, LIVE, NEXT, rollout, stage
from tests.filled_epochs import DIM, deleted, live, tweeted
from tests.integration.waiting import until


def logged(value: bytes | None, *, offset: int = 0, key: bytes = b"k", topic: str = ROLLOUTS) -> InboundRecord:
    """Return a consumed record."""
    return InboundRecord(topic, 0, offset, 77, key, value)


def test_the_log_folds_by_revision_keeps_refusals_as_history_and_passes_over_garbage() -> None:
    """The same fold as everywhere: a zombie controller's record changes nothing here either."""
    log = ControlLog()
    first = rollout(stage(LIVE, Stage.REGISTERED), revision=1)
    refused = rollout(stage(LIVE, Stage.REGISTERED), revision=1, outcome=Outcome.REFUSED, reason="no")
    zombie = rollout(stage(NEXT, Stage.LIVE), revision=1)
    log.take_rollouts(
        [logged(encode(first)), logged(b"\x00garbage"), logged(None), logged(encode(refused)), logged(encode(zombie))]
    )
    reading = log.reading(None, {})
    assert reading.states[HOME.name] == first
    assert [record.outcome for record in reading.history[HOME.name]] == [Outcome.ACCEPTED, Outcome.REFUSED, Outcome.ACCEPTED]
    log.take_rollouts([logged(encode(first))] * HISTORY)
    assert len(log.reading(None, {}).history[HOME.name]) == HISTORY
    log.forget_rollouts()
    assert log.reading("away", {}).states == {}


def test_heartbeats_are_timed_by_the_broker_and_a_null_forgets_one() -> None:
    """A node whose clock is an hour ahead must not look alive for an hour."""
    log = ControlLog()
    status = NodeStatus("node:n1", 999_999, True)
    log.take_statuses([logged(encode(status), key=b"node:n1", topic=NODE_STATUS), logged(b"garbage", key=b"node:n2")])
    beats = log.reading(None, {}).heartbeats
    assert {name: beat.heard_ms for name, beat in beats.items()} == {"node:n1": 77}
    log.take_statuses([logged(None, key=b"node:n1")])
    assert log.reading(None, {}).heartbeats == {}


def test_who_reports_is_not_silent_because_this_machines_clock_is_ahead() -> None:
    """Ten seconds ahead of the broker's, the page said of every role that nobody had heard of it, and which to start."""
    clock_ms = [77 + 10_000]
    log = ControlLog(now_ms=lambda: clock_ms[0])
    beat = logged(encode(NodeStatus("node:n1", 1, True)), key=b"node:n1", topic=NODE_STATUS)
    log.take_statuses([beat])
    assert log.reading(None, {}).ahead_ms == 0, "of what was there before nobody knows how old it is"
    log.statuses_caught_up()
    clock_ms[0] += 1_000
    log.take_statuses([beat._replace(timestamp_ms=77 + 1_000)])
    heard = Moment(clock_ms[0] + 5_000, log.reading(None, {}))
    assert [one.status.instance for one in heard.live_nodes()] == ["node:n1"]
    assert not Moment(clock_ms[0] + SILENCE_MS, log.reading(None, {})).live_nodes()


def test_of_a_topic_of_heartbeats_that_is_gone_nobody_is_shown() -> None:
    """Who ended meanwhile would be called silent for as long as the console runs."""
    log = ControlLog()
    log.take_statuses([logged(encode(NodeStatus("node:n1", 1, True)), key=b"node:n1")])
    log.forget_statuses()
    assert log.reading(None, {}).heartbeats == {}


class _Log:
    """`NewestRecords` over a list: a record is given once."""

    def __init__(self) -> None:
        self.records: list[InboundRecord] = []
        self.whole = True
        self.firsts: dict[int, int] = {}
        self.floods: dict[int, int] = {}
        self.passed_over: dict[int, int] = {}
        self.made = 1
        self.asked: list[tuple[str, ...]] = []
        self._given = 0

    def read(self, topic: str, partitions: Iterable[int], *, per_partition: int) -> list[InboundRecord]:
        """Give the topic's records that are new; none where it is not whole. Only the tweets' come in floods."""
        self.passed_over = self.floods if topic == "tweets.dlq" else {}
        if not self.whole:
            return []
        new, self._given = self.records[self._given :], len(self.records)
        return [record for record in new if record.topic == topic]

    def forget(self, topic: str) -> None:
        """Give all of it again."""
        self._given = 0

    def topic_ids(self, topics: Collection[str]) -> dict[str, str]:
        """Return which ones they are."""
        self.asked.append(tuple(topics))
        return {topic: f"{topic}-{self.made}" for topic in topics}

    def append(self, key: bytes, value: bytes | None) -> dict[str, dict[int, int]]:
        """Return the ends afterwards."""
        self.records.append(logged(value, offset=len(self.records), key=key, topic="tweets.dlq"))
        return {"tweets.dlq": {0: len(self.records)}, "users.dlq": {0: 0}}


def test_dead_letters_are_those_that_are_kept_not_all_that_was_ever_written() -> None:
    """Roles write nulls to silent partitions, and a letter that is sent again has one behind it: a healthy console said 1."""
    log = _Log()
    letters = KeptLetters(log, log.topic_ids)
    assert letters.count({}) is None
    assert letters.count(log.append(b"stirred", None)) == DeadLetters(0)
    assert letters.count(log.append(b"tweets/0/7", b"letter")) == DeadLetters(1)
    assert letters.count(log.append(b"tweets/0/7", b"the same, again")) == DeadLetters(1)
    ends = log.append(b"tweets/0/9", b"letter")
    assert letters.count(ends) == letters.count(ends) == DeadLetters(2)
    assert letters.count(log.append(b"tweets/0/7", None)) == DeadLetters(1)
    # the topic was deleted and made anew
    log.records = []
    assert letters.count({"tweets.dlq": {0: 0}}) == DeadLetters(0)


def test_dead_letters_of_a_topic_that_is_gone_are_kept_no_more() -> None:
    """Made anew while nobody looked, and longer by then: its first letters were passed over, those of before counted for ever."""
    log = _Log()
    letters = KeptLetters(log, log.topic_ids)
    for offset in range(3):
        ends = log.append(f"tweets/0/{offset}".encode(), b"letter")
    assert letters.count(ends) == DeadLetters(3)
    log.made, log.records = 2, []
    for offset in range(10, 15):
        ends = log.append(f"tweets/0/{offset}".encode(), b"letter")
    assert letters.count(ends) == DeadLetters(5)


def test_dead_letters_whose_time_is_over_are_kept_no_more() -> None:
    """They are for thirty days: a console that ran for longer warned of letters that `roost dlq` could not show."""
    log = _Log()
    letters = KeptLetters(log, log.topic_ids)
    letters.count(log.append(b"tweets/0/7", b"letter"))
    ends = log.append(b"tweets/0/9", b"letter")
    assert letters.count(ends) == DeadLetters(2)
    log.firsts = {0: 1}
    # nothing new comes to such a topic: within a minute it is looked at all the same
    assert {letters.count(ends) for _ in range(30)} == {DeadLetters(2), DeadLetters(1)}
    assert letters.count(ends) == DeadLetters(1)
    log.firsts = {0: 2}
    assert letters.count(log.append(b"tweets/0/11", b"letter")) == DeadLetters(1)


def test_dead_letters_that_a_slow_broker_did_not_give_are_asked_for_again() -> None:
    """A console that started on a busy machine said 0 until the next letter came, for weeks perhaps."""
    log = _Log()
    letters = KeptLetters(log, log.topic_ids)
    ends = log.append(b"tweets/0/7", b"letter")
    log.whole = False
    assert letters.count(ends) is None
    log.whole = True
    assert letters.count(ends) == DeadLetters(1)


def test_dead_letters_that_were_passed_over_are_not_hidden() -> None:
    """A console that started beside a flood of a million said 10,000, as if that were all; until their time is over they may be."""
    log = _Log()
    letters = KeptLetters(log, log.topic_ids)
    log.firsts, log.floods = {0: 0}, {0: 990_000}
    assert letters.count(log.append(b"tweets/0/7", b"letter")) == DeadLetters(1, at_least=True)
    log.floods = {}
    assert letters.count(log.append(b"tweets/0/9", b"letter")) == DeadLetters(2, at_least=True)
    log.made += 1
    assert letters.count(log.append(b"tweets/0/11", b"letter")) == DeadLetters(3), "another topic of the name"


def test_dead_letters_that_were_passed_over_count_no_more_once_their_time_is_over() -> None:
    """Then what is counted is all there is again."""
    log = _Log()
    letters = KeptLetters(log, log.topic_ids)
    log.firsts, log.floods = {0: 0}, {0: 1}
    letters.count(log.append(b"tweets/0/5", b"letter"))
    log.firsts, log.floods = {0: 1}, {}
    assert letters.count(log.append(b"tweets/0/7", b"letter")) == DeadLetters(1)


def test_the_broker_is_asked_once_which_topics_of_dead_letters_it_holds() -> None:
    """And not at all where none has changed: a look every two seconds asked of each by itself."""
    log = _Log()
    letters = KeptLetters(log, log.topic_ids)
    ends = log.append(b"tweets/0/7", b"letter")
    letters.count(ends)
    letters.count(ends)
    assert log.asked == [("tweets.dlq", "users.dlq")]


class _SlowConsumer:
    """Knows of one record, and is asked too early for it; no broker."""

    def __init__(self) -> None:
        self.answers = False

    def get_watermark_offsets(self, _place: TopicPartition, _timeout_s: float) -> tuple[int, int]:
        """Return the ends, once it answers."""
        if not self.answers:
            raise KafkaException(KafkaError(KafkaError._TIMED_OUT))
        return 0, 1

    def incremental_assign(self, _places: list[TopicPartition]) -> None:
        """Take them."""

    def unassign(self) -> None:
        """Let go."""

    def consume(self, _count: int, _timeout_s: float) -> list[object]:
        """Give nothing, though there is something."""
        return []


def test_a_reading_that_failed_or_took_too_long_does_not_seem_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is not there and what did not come look alike otherwise."""
    consumer = _SlowConsumer()
    monkeypatch.setattr(newest, "make_consumer", lambda *_, **__: consumer)
    monkeypatch.setattr(newest, "_READ_S", 0.01)
    records = newest.NewestRecords("127.0.0.1:1")
    for answers in (False, True):
        consumer.answers = answers
        assert (records.read("tweets.dlq", [0], per_partition=9), records.whole) == ([], False)
        assert records.firsts == ({0: 0} if answers else {})
    assert (records.read("tweets.dlq", [], per_partition=9), records.whole) == ([], True)


def test_a_reading_says_where_it_passed_records_over(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever counts them knows then that there may be more."""

    class Long(_SlowConsumer):
        def get_watermark_offsets(self, _place: TopicPartition, _timeout_s: float) -> tuple[int, int]:
            return 5, 30

    monkeypatch.setattr(newest, "make_consumer", lambda *_, **__: Long())
    monkeypatch.setattr(newest, "_READ_S", 0.01)
    records = newest.NewestRecords("127.0.0.1:1")
    for per_partition, passed_over in ((9, {0: 21}), (25, {})):
        records.read("tweets.dlq", [0], per_partition=per_partition)
        assert records.passed_over == passed_over


def test_a_user_that_was_deleted_is_no_longer_offered_to_ask_for() -> None:
    """The marker of the delete is a state that changed lately: it put the id at the head of the playground's list, for hours."""

    def state(user_id: str, at_ms: int, **known: Any) -> InboundRecord:
        value = encode(UserState(user_id, **known))
        return InboundRecord(USER_STATES, 0, at_ms, at_ms, user_id.encode(), value)

    known = recent_users([state("u:1", 1, region="SE"), state("u:2", 2, region="SE"), state("u:3", 3)], (), most=9)
    assert known == ("u:3", "u:2", "u:1"), "the latest first"
    gone = [state("u:2", 4, erased_ms=4), InboundRecord(USER_STATES, 0, 5, 5, b"u:3", None), state("u:4", 6, erased_ms=6)]
    assert recent_users(gone, known, most=9) == ("u:1",)
    back = [state("u:2", 7, erased_ms=4, region="NO"), InboundRecord(USER_STATES, 0, 8, 8, b"u:5", b"garbage")]
    assert recent_users([*gone, *back], known, most=9) == ("u:2", "u:1")
    assert recent_users(back, known, most=2) == ("u:2", "u:3")


def test_delays_are_measured_from_the_brokers_append_and_only_of_what_is_live() -> None:
    """Appended at 2,000, logged at 5,000; deletes and garbage say nothing of freshness."""
    vector = [1.0] + [0.0] * (DIM - 1)
    records = [
        live(tweeted("t:1", version=Version(1_990, 0)), vector),
        deleted("t:2", Version(1, 0)),
        InboundRecord("embeddings.x", 0, 1, 5_000, b"t:3", b"garbage"),
        InboundRecord("embeddings.x", 0, 1, 5_000, b"t:4", None),
    ]
    sampled = sampled_delays(records, since_ms=5_000)
    assert sampled_delays(records, since_ms=5_001).new == Delays(), "of before: a backfill of an hour ago"
    assert sampled.new == Delays((10,), (0,), (3_000,))
    assert sampled.refreshed == Delays()


def test_histograms_are_read_from_what_a_node_exports() -> None:
    """The node's own metrics, through the text format: a renamed metric fails here, not on the page."""
    metrics = NodeMetrics()
    metrics.retrieve_seconds.labels(HOME.name).observe(0.004)
    metrics.retrievable(HOME.name, [0.02, 0.5], new=[1])
    metrics.probed(HOME.name, 0.7)
    found = histograms_of(generate_latest(metrics.registry).decode())
    assert found[QUERY_SECONDS][HOME.name].total == 1
    assert found["roost_new_to_retrievable_seconds"][HOME.name].total == 1
    assert (found["roost_new_to_retrievable_seconds"][HOME.name].quantile(0.5) or 0) > 0.3
    assert found["roost_publish_to_found_seconds"][HOME.name].total == 1
    assert "roost_publish_to_retrievable_seconds" not in found


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        (httpx.Response(200, text="<html>another service</html>"), "something else than a node"),
        (httpx.Response(200, json={"node": 1}), "something else than a node"),
        (httpx.ConnectError("refused"), "does not answer"),
        (httpx.ReadTimeout("slow"), "does not answer"),
    ],
)
def test_a_node_that_does_not_answer_as_one_is_a_sentence(answer: httpx.Response | httpx.TransportError, sentence: str) -> None:
    """One broken node must not empty the page of the others."""

    def handle(_: httpx.Request) -> httpx.Response:
        if isinstance(answer, Exception):
            raise answer
        return answer

    reader = NodeReader(transport=httpx.MockTransport(handle))
    reading = reader.read("node:n1", "http://n1")
    assert reading.health is None
    assert sentence in (reading.trouble or "")
    assert NodeReader().read("node:n1", "no url at all").trouble is not None


def test_a_bundles_manifest_is_read_once_and_a_damaged_one_is_none(tmp_path: Path) -> None:
    """The page refreshes every two seconds; a bundle never changes."""
    bundle = publish_bundle(tmp_path, surface=HOME.name, seed=1)
    catalog = RegistryCatalog(tmp_path, wait_s=60)
    assert catalog.bundles(HOME.name) == [bundle]
    found = catalog.manifest(HOME.name, bundle)
    assert found is not None
    assert catalog.manifest(HOME.name, bundle) is found
    (tmp_path / HOME.name / bundle / "manifest.json").write_bytes(b"{}")
    assert RegistryCatalog(tmp_path, wait_s=60).manifest(HOME.name, bundle) is None
    assert catalog.manifest(HOME.name, "../../etc") is None


def test_a_partition_without_a_leader_hides_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """One broker of a cluster is away: the page said that none answers, and showed neither lag nor events of any topic."""
    away = KafkaException(KafkaError(KafkaError.LEADER_NOT_AVAILABLE))
    places = {("tweets", 0): 5, ("tweets", 1): away, ("users", 0): 7}
    watch = BrokerWatch("127.0.0.1:1", ("tweets", "users"))
    monkeypatch.setattr(broker, "ask_offsets", lambda *_, **__: dict(places))
    monkeypatch.setattr(broker, "committed_offsets", lambda _, asked, **__: dict.fromkeys(asked, 3))
    listed = SimpleNamespace(topics={topic: SimpleNamespace(partitions=(0, 1)) for topic in ("tweets", "users")})
    monkeypatch.setattr(watch, "_admin", SimpleNamespace(list_topics=lambda **_: listed))
    read = watch.read()
    assert read.ends == {"tweets": {0: 5}, "users": {0: 7}}
    assert read.committed["embed"] == {("tweets", 0): 3}
    assert (read.trouble or "").startswith("tweets/1 cannot be asked for its end")
    places |= dict.fromkeys([("tweets", 0), ("users", 0)], away)
    assert "does not answer" in (watch.read().trouble or ""), "there is one broker, and it is away"
    watch.stop()


@dataclass(frozen=True, slots=True)
class _Hanging(FolderRegistry):
    """A registry that answers nothing before it is told to, as one of S3 whose network drops packets."""

    answers: threading.Event = field(default_factory=threading.Event)

    def names(self, path: str) -> list[str]:
        """See `BundleRegistry.names`."""
        assert self.answers.wait(30)
        return FolderRegistry.names(self, path)

    def read(self, path: str, most_bytes: int) -> bytes:
        """See `BundleRegistry.read`."""
        assert self.answers.wait(30)
        return FolderRegistry.read(self, path, most_bytes)


def test_a_registry_that_does_not_answer_holds_up_no_page(tmp_path: Path) -> None:
    """Each page of the board, and each command given there, a rollback too, waited for it, for minutes."""
    bundle = publish_bundle(tmp_path, surface=HOME.name, seed=1)
    registry = _Hanging(tmp_path)
    catalog = RegistryCatalog(registry, wait_s=0.01)
    asked_before = threading.active_count()
    for _ in range(5):
        assert (catalog.bundles(HOME.name), catalog.manifest(HOME.name, bundle)) == ([], None)
    assert threading.active_count() <= asked_before + 2, "nobody asks again before there is an answer"
    registry.answers.set()
    until(lambda: catalog.bundles(HOME.name) == [bundle], what="what comes later is shown")
    until(lambda: catalog.manifest(HOME.name, bundle) is not None, what="the manifest is read")


def test_results_are_read_by_name_and_half_written_ones_are_left_out(tmp_path: Path) -> None:
    """A run may be writing while somebody looks."""
    (tmp_path / "b.json").write_text(json.dumps({"x": 1}))
    (tmp_path / "a.json").write_text(json.dumps([1]))
    (tmp_path / "broken.json").write_text('{"x": ')
    (tmp_path / "notes.txt").write_text("no")
    assert list(ResultFiles(tmp_path).read()) == ["a", "b"]
    assert ResultFiles(tmp_path / "absent").read() == {}
