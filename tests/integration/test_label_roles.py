"""Labeler and user state on a real broker: real joins, kill -9, bad bytes, an idle end, and what is committed at a clean stop."""

import gc
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import pytest
from confluent_kafka import ConsumerGroupState
from prometheus_client import CollectorRegistry

from roost.broker import Broker
from schemas.codec import decode, encode
from schemas.groups import LABEL
from schemas.records.candidates import Candidate, CandidateAttributes, CandidateFeatures, Counters
from schemas.records.feedback import (
    CandidateToken,
    Engagement,
    EngagementKind,
    Example,
    Impression,
    Label,
    Provenance,
    QueryToken,
)
from schemas.records.users import QueryFeatures, User, UserState
from schemas.tokens import write_token
from schemas.topics import CANDIDATES, ENGAGEMENTS, EXAMPLES, IMPRESSIONS, USER_STATES, USERS, dlq, standard_topics
from schemas.voided import erased_ms_of
from schemas.wire.admin import create_topics, delete_topics, group_description, make_admin, wait_for_broker
from schemas.wire.client import make_consumer, make_producer
from schemas.wire.committed import committed_offsets
from schemas.wire.dlq import DeadLetter
from schemas.wire.tail import TailReader
from streams.labeler import view
from streams.labeler.job import labeler_job
from streams.labeler.view import TopicSight
from streams.metrics import LabelerMetrics
from streams.producer import Producer
from streams.runner.faust_runner import run_jobs
from streams.runner.folded import FoldedPositions
from streams.runner.group import group_settings
from streams.settings import LabelerSettings
from tests.integration.waiting import until

PARTITIONS = 4
WINDOW_S = 3.0
BUNDLE = "0123456789abcdef"
SURFACES = f"""
[home]
candidate_topic = "tweets"
id_prefix = "t:"
feature_spec = "tweet-v1"
dim = 32
popularity = "engagements"
refresh = "write-time"
label_window_s = {WINDOW_S}
recency_window_s = 3600
"""
TOKEN = write_token(CandidateToken(BUNDLE, 1, 0, CandidateFeatures("a:1", "de", "", ("chess",), 5, Counters(favorite=2))))
QUERY_TOKEN = write_token(QueryToken(BUNDLE, QueryFeatures(("de",))), max_bytes=4096)


@pytest.fixture
def kafka(fresh_broker: Broker) -> str:
    """Return a broker with every topic, for this test alone: the roles' topics have fixed names."""
    admin = wait_for_broker(fresh_broker.bootstrap, timeout_s=20)
    create_topics(admin, standard_topics(PARTITIONS))
    return fresh_broker.bootstrap


class Roles:
    """Both roles in one process of their own."""

    def __init__(self, bootstrap: str, folder: Path, *, instance: str = "0", lag_s: float | None = None) -> None:
        (folder / "surfaces.toml").write_text(SURFACES)
        self._environment = {
            **os.environ,
            "KAFKA_BOOTSTRAP_SERVERS": bootstrap,
            "ROOST_SURFACES": str(folder / "surfaces.toml"),
            "ROOST_SESSION_TIMEOUT_S": "6",
            "ROOST_INSTANCE": instance,
            # far longer than any test: what has its history has not just been waited for for so long that it came
            "ROOST_USER_STATES_WAIT_S": "600",
        }
        self._words = [] if lag_s is None else [str(lag_s)]
        self._log = folder / f"roles-{instance}.log"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start, or start again."""
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "tests.label_roles_process", *self._words], env=self._environment, stderr=log, stdout=log
            )

    def stop(self, how: signal.Signals) -> int:
        """End the process and return its exit status."""
        assert self.process is not None
        self.process.send_signal(how)
        return self.process.wait(30)


@contextmanager
def running(bootstrap: str, folder: Path, *, instance: str = "0", lag_s: float | None = None) -> Iterator[Roles]:
    """Run both roles, user state late by `lag_s`; they are killed at the end if they still run."""
    roles = Roles(bootstrap, folder, instance=instance, lag_s=lag_s)
    roles.start()
    try:
        yield roles
    finally:
        with suppress(ProcessLookupError):
            roles.stop(signal.SIGKILL)


def read_all(bootstrap: str, topic: str, partitions: int = PARTITIONS) -> list[tuple[bytes | None, bytes | None]]:
    """Return key and value of all records of a topic, in log order per partition."""
    with TailReader(bootstrap, topic, range(partitions), once=True) as reader:
        return [(record.key, record.value) for record in reader.read_to_end()]


def examples(bootstrap: str) -> dict[str, Example]:
    """Return the examples as the trainer takes them: of each id the highest revision, of equals the later."""
    found: dict[str, Example] = {}
    for _, value in read_all(bootstrap, EXAMPLES):
        assert value is not None
        example = decode(Example, value)
        known = found.get(example.example_id)
        if known is None or example.revision >= known.revision:
            found[example.example_id] = example
    return found


def voided(bootstrap: str) -> set[tuple[str, int]]:
    """Return whose examples are void, and until when."""
    with TailReader(bootstrap, EXAMPLES, range(PARTITIONS), once=True) as reader:
        nulls = [record for record in reader.read_to_end() if record.value is None]
    return {((null.key or b"").decode(), erased_ms_of(null)) for null in nulls}


def user_states(bootstrap: str) -> dict[str, UserState]:
    """Return the newest state of every user."""
    newest = {key: value for key, value in read_all(bootstrap, USER_STATES) if value is not None}
    return {state.user_id: state for state in (decode(UserState, value) for value in newest.values())}


def committed(bootstrap: str, topic: str) -> int:
    """Return how many records of a topic the group has committed."""
    consumer = make_consumer(bootstrap, LABEL.group)
    offsets = committed_offsets(consumer, [(topic, p) for p in range(PARTITIONS)])
    consumer.close()
    return sum(offset or 0 for offset in offsets.values())


def now_ms() -> int:
    """Return the wall clock."""
    return time.time_ns() // 1_000_000


def shown(number: int) -> Impression:
    """Return the impression of one of many candidates, with tokens."""
    return Impression(f"r{number}", f"t:{number % 50}", f"u:{number % 7}", "home", 0, now_ms(), BUNDLE, QUERY_TOKEN, TOKEN)


def reaction(impression: Impression, kind: EngagementKind) -> Engagement:
    """Return an engagement with an impression."""
    event_id = f"{kind}-{impression.request_id}"
    return Engagement(event_id, impression.user_id, impression.candidate_id, kind, now_ms(), impression.request_id)


KINDS = [EngagementKind.FAVORITE, EngagementKind.CLICK, EngagementKind.SHOW_LESS]
LABELS = [Label.POSITIVE, Label.POSITIVE, Label.EXPLICIT_NEGATIVE, Label.IMPLICIT_NEGATIVE]


def test_a_live_stream_is_joined_bad_bytes_are_set_aside_and_a_stop_commits(kafka: str, tmp_path: Path) -> None:
    """The whole write path of labels, on a real broker, to its clean end."""
    with running(kafka, tmp_path) as roles:
        with Producer(kafka) as producer:
            producer.send(User("u:0", 5, 0, languages=("de",)))
            # corrections are bounded in time: the roles must be at work before the first impression
            until(lambda: "u:0" in user_states(kafka), timeout_s=30, what="a user's state")
            impressions = [shown(number) for number in range(40)]
            for number, impression in enumerate(impressions):
                producer.send(impression)
                if number % 4 < 3:
                    producer.send(reaction(impression, KINDS[number % 4]))
        foreign = make_producer(kafka)
        # as `roost dlq replay` sends a letter again
        foreign.produce(IMPRESSIONS, b"no frame", b"t:1", headers={"roost-attempts": b"4"})
        foreign.produce(ENGAGEMENTS, None, b"t:1")
        foreign.produce(USERS, b"\x00\x00\x00\x00\x01x", b"u:1")
        foreign.produce(IMPRESSIONS, encode(replace(shown(0), surface="nowhere")), b"t:0")
        assert foreign.flush(10) == 0
        # nothing follows: only silence can close these windows
        until(lambda: len(examples(kafka)) == 40, timeout_s=30, what="40 examples")
        until(lambda: len(user_states(kafka)) == 7, timeout_s=10, what="7 user states")
        found = examples(kafka)
        for number, impression in enumerate(impressions):
            example = found[f"{impression.request_id}/{impression.candidate_id}"]
            assert example.label is LABELS[number % 4]
            assert example.provenance is Provenance.SERVED
            assert example.candidate.author_id == "a:1"
        state = user_states(kafka)["u:0"]
        assert state.languages == ("de",)
        assert {entry.author_id for entry in state.entries if entry.entry_id.startswith("r")} == {"a:1"}

        with Producer(kafka) as producer:
            producer.send(reaction(impressions[3], EngagementKind.REPLY))
        corrected = f"{impressions[3].request_id}/{impressions[3].candidate_id}"
        until(lambda: examples(kafka)[corrected].revision == 1, timeout_s=10, what="a correction")
        assert examples(kafka)[corrected].label is Label.POSITIVE

        until(lambda: len(read_all(kafka, dlq(IMPRESSIONS), 1)) == 2, timeout_s=10, what="two dead impressions")
        letters = [decode(DeadLetter, value) for _, value in read_all(kafka, dlq(IMPRESSIONS), 1) if value is not None]
        assert [letter.attempts for letter in letters if letter.value == b"no frame"] == [5]
        assert len(read_all(kafka, dlq(ENGAGEMENTS), 1)) == len(read_all(kafka, dlq(USERS), 1)) == 1

        gone_ms = now_ms()
        with Producer(kafka) as producer:
            producer.send(User("u:0", gone_ms, 0, deleted=True))
        until(lambda: voided(kafka) == {("u:0", gone_ms)}, timeout_s=10, what="a null that says until when")

        assert roles.stop(signal.SIGTERM) == 0
        assert committed(kafka, IMPRESSIONS) == 42
        assert committed(kafka, ENGAGEMENTS) == 32


def test_kill_9_in_the_middle_of_a_stream_loses_and_doubles_nothing(kafka: str, tmp_path: Path) -> None:
    """Examples by highest revision, and user states, equal those of a labeler that was never killed."""
    impressions: list[Impression] = []
    with running(kafka, tmp_path) as roles, Producer(kafka) as producer:
        time.sleep(3.0)
        for burst in range(3):
            begun = time.monotonic()
            for number in range(burst * 300, (burst + 1) * 300):
                impressions.append(shown(number))
                producer.send(impressions[-1])
                if number % 4 < 3:
                    producer.send(reaction(impressions[-1], KINDS[number % 4]))
                if number % 100 == 99:
                    time.sleep(0.15)
            producer.flush()
            if burst < 2:
                # at whatever step of a batch it is
                time.sleep(max(0.0, 0.5 + burst * 0.37 - (time.monotonic() - begun)))
                roles.stop(signal.SIGKILL)
                roles.start()
        until(lambda: len(examples(kafka)) == 900, timeout_s=45, what="900 examples")
        # a state is full with two hundred entries, before the last of its user's events have come
        last = {f"u:{user}": {f"{i.request_id}/{i.candidate_id}" for i in impressions[user::7][-60:]} for user in range(7)}

        def are_whole() -> bool:
            entries = {user_id: {entry.entry_id for entry in state.entries} for user_id, state in user_states(kafka).items()}
            return all(len(mine := entries.get(user_id, set())) == 200 and of_user <= mine for user_id, of_user in last.items())

        until(are_whole, timeout_s=20, what="full user states with the newest of each user")
        assert roles.stop(signal.SIGTERM) == 0
    found = examples(kafka)
    for number, impression in enumerate(impressions):
        example = found[f"{impression.request_id}/{impression.candidate_id}"]
        assert example.label is LABELS[number % 4], (number, example)
        assert example.kinds == ((str(KINDS[number % 4]),) if number % 4 < 3 else ())
    assert are_whole(), "and nothing that a kill left behind changes them"
    assert committed(kafka, IMPRESSIONS) == 900
    assert committed(kafka, ENGAGEMENTS) == 675


def test_what_is_shown_on_a_topic_created_anew_under_running_roles_is_joined(kafka: str, tmp_path: Path) -> None:
    """Faust took every impression for read, or assigned the topic to nobody: nothing became an example, and nothing said so."""
    with running(kafka, tmp_path) as roles, Producer(kafka) as producer:
        for number in range(200):
            producer.send(shown(number))
        producer.flush()
        until(lambda: committed(kafka, IMPRESSIONS) == 200, timeout_s=60, what="all impressions committed")
        admin = wait_for_broker(kafka, timeout_s=20)
        delete_topics(admin, [IMPRESSIONS])
        create_topics(admin, standard_topics(PARTITIONS))
        anew = [shown(number) for number in range(200, 210)]
        for impression in anew:
            producer.send(impression)
        producer.flush()
        assert roles.process is not None
        assert roles.process.wait(60) == 1, "ended, to be started again"
        roles.start()
        wanted = {f"{impression.request_id}/{impression.candidate_id}" for impression in anew}
        until(lambda: wanted <= examples(kafka).keys(), timeout_s=60, what="their examples")


USERS_OF_HISTORIES = [f"u:h{number}" for number in range(8)]


def know_candidates(bootstrap: str, count: int) -> None:
    """Write the candidates t:0 and so on to `candidates`, each by an author of its own."""
    producer = make_producer(bootstrap)
    for number in range(count):
        candidate = Candidate(f"t:{number}", 1, 0, 1, attributes=CandidateAttributes(f"a:{number}", 1, "de"))
        producer.produce(CANDIDATES, encode(candidate), candidate.candidate_id.encode())
    assert producer.flush(20) == 0


def like_then_show(producer: Producer, *, films: int) -> list[Impression]:
    """Let every user like candidates of all partitions, the newest one an instant before an impression without tokens."""
    shown = []
    for user in USERS_OF_HISTORIES:
        for number in range(films):
            producer.send(Engagement(f"{user}-{number}", user, f"t:{number}", EngagementKind.FAVORITE, now_ms() - films + number))
        shown.append(Impression(f"r-{user}", f"t:{films}", user, "home", 0, now_ms() + 1))
        producer.send(shown[-1])
    producer.flush()
    return shown


def has_whole_histories(bootstrap: str, *, films: int) -> None:
    """Wait for the examples of `like_then_show`, and assert that each knows all that its user had liked."""
    until(lambda: len(examples(bootstrap)) == len(USERS_OF_HISTORIES), timeout_s=40, what="an example for each user")
    for example in examples(bootstrap).values():
        assert example.query.history_authors == tuple(f"a:{number}" for number in reversed(range(films)))


def test_a_user_state_that_lags_behind_the_label_window_costs_no_history(kafka: str, tmp_path: Path) -> None:
    """The window is half as long as the lag: examples were older than what a node would have known, and nothing said so."""
    know_candidates(kafka, 9)
    with running(kafka, tmp_path, lag_s=2 * WINDOW_S), Producer(kafka) as producer:
        producer.send(User("u:0", 5, 0, languages=("de",)))
        until(lambda: "u:0" in user_states(kafka), timeout_s=40, what="a user's state")
        like_then_show(producer, films=8)
        has_whole_histories(kafka, films=8)


def test_a_history_that_other_processes_fold_is_waited_for_too(kafka: str, tmp_path: Path) -> None:
    """A user's events and states go by two keys: with two processes half of both are the other one's, known by commits alone."""
    know_candidates(kafka, 9)
    with running(kafka, tmp_path, instance="a", lag_s=2 * WINDOW_S), Producer(kafka) as producer:
        producer.send(User("u:0", 5, 0, languages=("de",)))
        until(lambda: "u:0" in user_states(kafka), timeout_s=40, what="a user's state")
        admin = make_admin(kafka)

        def is_shared() -> bool:
            group = group_description(admin, LABEL.group)
            shares = [len(member.assignment.topic_partitions) for member in group.members if member.assignment]
            return group.state is ConsumerGroupState.STABLE and len(shares) == 2 and min(shares) > 0

        with running(kafka, tmp_path, instance="b", lag_s=2 * WINDOW_S):
            until(is_shared, timeout_s=60, what="both processes have partitions")
            like_then_show(producer, films=8)
            has_whole_histories(kafka, films=8)


def test_a_labeler_without_any_user_state_labels_what_it_can_and_says_so_once(
    kafka: str, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    """Labels are worth more than histories: after the longest wait they come as they did before any window waited."""
    know_candidates(kafka, 9)
    (tmp_path / "surfaces.toml").write_text(SURFACES)
    settings = LabelerSettings(bootstrap=kafka, surfaces=tmp_path / "surfaces.toml", session_timeout_s=6, user_states_wait_s=1.0)
    registry, stop = CollectorRegistry(), threading.Event()

    def label() -> None:
        with labeler_job(settings, LabelerMetrics(registry), schemas=None, folded=FoldedPositions()) as job:
            run_jobs(group_settings(settings, LABEL.group, wedged_after_s=60), [job], stop)

    thread = threading.Thread(target=label)
    thread.start()
    try:
        with Producer(kafka) as producer:
            shown = like_then_show(producer, films=8)
        until(lambda: len(examples(kafka)) == len(shown), timeout_s=60, what="an example for each user")
    finally:
        stop.set()
        thread.join()
    assert all(example.query == QueryFeatures() for example in examples(kafka).values())
    assert registry.get_sample_value("roost_user_states_given_up_total") == 1
    assert len([record for record in caplog.records if "user states have been behind" in record.getMessage()]) == 1


def test_what_the_labeler_decoded_is_let_go_of_in_time(kafka: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of few users the state of an erased one stayed in a cache of the newest thousand until the role was restarted."""
    producer = make_producer(kafka)
    producer.produce(USER_STATES, encode(UserState("u:erased", languages=("de",), profile_time_ms=1)), b"u:erased", 0)
    producer.flush(30)
    sight = TopicSight(kafka, PARTITIONS)
    assert sight.user_state("u:erased") is not None

    def held() -> bool:
        return any(type(one) is UserState and one.user_id == "u:erased" for one in gc.get_objects())

    producer.produce(USER_STATES, None, b"u:erased", 0)
    producer.flush(30)

    def erased() -> bool:
        sight.refresh()
        return sight.user_state("u:erased") is None

    until(erased, what="the labeler reads the null")
    assert held(), "the cache holds it, or this test shows nothing"
    monkeypatch.setattr(view, "DECODED_KEPT_S", 0.0)
    sight.refresh()
    assert not held()
    sight.close()
