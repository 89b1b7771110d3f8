"""The Faust runner and its traps, on a real broker: nothing is committed before it is durable, nothing fails in silence."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import pytest
from confluent_kafka import Consumer, TopicPartition

from roost.broker import Broker
from schemas.errors import BrokerUnavailable, DeliveryFailed
from schemas.positions import Place
from schemas.topics import Topic
from schemas.wire.admin import create_topics, delete_topics, topic_id, wait_for_broker
from schemas.wire.client import make_consumer, make_producer
from schemas.wire.committed import committed_offsets
from schemas.wire.inbound import InboundRecord
from schemas.wire.partition import partition_of
from streams.processor import Clock, Work
from streams.runner.changelog import restore
from streams.runner.faust_runner import run_jobs
from streams.runner.former import await_rebalance
from streams.runner.group import GroupSettings
from streams.runner.handed_out import HandedOut
from streams.runner.partitions import Job
from streams.runner.watchdog import Watchdog
from streams.state import OutboundRecord, StateStore
from tests.integration.conftest import RunningKafka
from tests.integration.waiting import until

PARTITIONS = 2


@dataclass(frozen=True)
class Names:
    """The topics and the group of one test."""

    bootstrap: str
    group: str

    @property
    def inputs(self) -> str:
        """The input topic."""
        return f"{self.group}-in"

    @property
    def changelog(self) -> str:
        """The state's topic."""
        return f"{self.group}-state"

    def create(self, **changelog_config: str) -> "Names":
        """Create both topics."""
        admin = wait_for_broker(self.bootstrap, timeout_s=20)
        config = {"cleanup.policy": "compact", **changelog_config}
        create_topics(admin, [Topic(self.inputs, "record", PARTITIONS), Topic(self.changelog, "record", PARTITIONS, config)])
        return self

    def send(self, *keys: str) -> None:
        """Write a record under each key."""
        producer = make_producer(self.bootstrap)
        for key in keys:
            producer.produce(self.inputs, b"1", key.encode())
        assert producer.flush(20) == 0

    def committed(self) -> int:
        """Return how many records the group has committed."""
        consumer = make_consumer(self.bootstrap, self.group)
        offsets = committed_offsets(consumer, [(self.inputs, partition) for partition in range(PARTITIONS)])
        consumer.close()
        return sum(offset or 0 for offset in offsets.values())

    def owners(self) -> int:
        """Return how many members of the group have a partition."""
        admin = wait_for_broker(self.bootstrap, timeout_s=20)
        described = admin.describe_consumer_groups([self.group])[self.group].result(10)
        return sum(bool(member.assignment.topic_partitions) for member in described.members)

    def counts(self) -> dict[str, int]:
        """Return the state in the log: records seen by key."""
        found: dict[str, int] = {}
        for partition in range(PARTITIONS):
            found |= {key: int(value) for key, value in restore(self.bootstrap, self.changelog, partition).items()}
        return found


class Counting:
    """Counts records by key, whatever comes twice included; raises on the key `poison`."""

    def __init__(self, store: StateStore) -> None:
        self._store = store

    def process(self, batch: Sequence[InboundRecord], clock: Clock) -> Work:
        """See `PartitionProcessor`."""
        for record in batch:
            key = (record.key or b"").decode()
            if key == "poison":
                raise RuntimeError("a processor's own failure")
            self._store.put(key, str(int(self._store.get(key) or 0) + 1).encode())
        return Work()


def counting_job(names: Names) -> Job:
    """Return the job that counts."""
    return Job("counting", (names.inputs,), names.changelog, lambda _, store: Counting(store), batch_within_s=0.05)


def group(names: Names, instance: str = "0", *, wedged_after_s: float = 60.0, stop_timeout_s: float = 15.0) -> GroupSettings:
    """Return the group's settings, fast enough for a test."""
    return GroupSettings(
        names.bootstrap,
        names.group,
        instance,
        session_timeout_s=6.0,
        commit_interval_s=0.3,
        flush_timeout_s=20.0,
        wedged_after_s=wedged_after_s,
        stop_timeout_s=stop_timeout_s,
    )


class Wedged(Exception):
    """The watchdog would have ended the process."""


class Running:
    """`run_jobs` in a thread, and what it ended with; a bite of the watchdog ends it too."""

    def __init__(self, settings: GroupSettings, *jobs: Job) -> None:
        self.stop = threading.Event()
        self.error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, args=(settings, jobs), daemon=True)
        self._thread.start()

    def _run(self, settings: GroupSettings, jobs: Sequence[Job]) -> None:
        try:
            run_jobs(settings, jobs, self.stop, on_wedged=self._bitten)
        except BaseException as error:  # noqa: BLE001  the test looks at it
            self.error = self.error or error

    def _bitten(self, reason: str) -> None:
        self.error = Wedged(reason)
        self.stop.set()

    def ended(self, timeout_s: float = 30.0) -> bool:
        """Wait for the end and tell whether it came."""
        self._thread.join(timeout_s)
        return not self._thread.is_alive()


@contextmanager
def running(settings: GroupSettings, *jobs: Job) -> Iterator[Running]:
    """Run jobs, and stop them at the end."""
    run = Running(settings, *jobs)
    try:
        yield run
    finally:
        run.stop.set()
        assert run.ended()


@pytest.fixture
def names(broker: RunningKafka) -> Names:
    """Return names of this test's own."""
    return Names(broker.bootstrap, f"faust-{time.time_ns()}")


def test_a_stop_commits_what_is_durable_and_a_restart_counts_on(names: Names) -> None:
    """Clean restarts replay nothing and forget nothing."""
    names.create().send("a", "b", "a")
    with running(group(names), counting_job(names)):
        until(lambda: names.counts() == {"a": 2, "b": 1}, what="three counted")
    assert names.committed() == 3
    names.send("a")
    with running(group(names), counting_job(names)) as run:
        until(lambda: names.counts() == {"a": 3, "b": 1}, what="counted on")
    assert run.error is None
    assert names.committed() == 4


@pytest.mark.parametrize("codec", ["gzip", "lz4", "snappy", "zstd"])
def test_records_that_their_producer_compressed_are_read(names: Names, codec: str) -> None:
    """Kafka's clients compress as their owner likes: the embedder read such impressions' tweets, and the labeler none of them."""
    names.create()
    producer = make_producer(names.bootstrap, compression_type=codec, linger_ms=50)
    for _ in range(50):
        producer.produce(names.inputs, b"1" * 100, b"a")
    assert producer.flush(20) == 0
    with running(group(names), counting_job(names)) as run:
        until(lambda: names.counts() == {"a": 50} or run.error is not None, what="all counted")
    assert run.error is None


def test_a_processor_s_exception_ends_the_process_before_anything_is_committed(names: Names) -> None:
    """Faust acknowledges the events of a failed agent and restarts it: silent loss."""
    names.create().send("a", "poison")
    run = Running(group(names), counting_job(names))
    assert run.ended()
    assert isinstance(run.error, RuntimeError)
    assert str(run.error) == "a processor's own failure"
    # the other partition's batch may have been whole
    assert names.committed() <= 1
    again = Running(group(names), counting_job(names))
    assert again.ended(), "the same record comes again"
    assert isinstance(again.error, RuntimeError)


def test_a_change_that_its_log_refuses_ends_the_process_before_anything_is_committed(names: Names) -> None:
    """A Faust table committed 5 of 5 offsets here with 3 of 5 changes in the log, and went on as if nothing had happened."""
    names.create(**{"max.message.bytes": "120"}).send("k" * 200)
    run = Running(group(names), counting_job(names))
    assert run.ended()
    assert isinstance(run.error, DeliveryFailed)
    assert names.committed() == 0
    assert names.counts() == {}


class HeldUp:
    """Waits at its first record until it is let go; notes of every batch whether it was said to be the end of a topic's records."""

    def __init__(self, topic: str) -> None:
        self.begun, self.let_go = threading.Event(), threading.Event()
        self.seen: list[tuple[list[str], bool]] = []
        self._topic = topic

    def process(self, batch: Sequence[InboundRecord], clock: Clock) -> Work:
        """See `PartitionProcessor`."""
        self.seen.append(([record.topic for record in batch], self._topic in clock.quiet_ms))
        self.begun.set()
        assert self.let_go.wait(30)
        return Work()


def test_a_topic_whose_record_waits_behind_another_s_is_not_idle(names: Names, monkeypatch: pytest.MonkeyPatch) -> None:
    """It was taken for read to its end once it was fetched: label windows closed before the record that they waited for."""
    late = f"{names.group}-late"
    create_topics(wait_for_broker(names.bootstrap, timeout_s=20), [Topic(names.inputs, "record", 1), Topic(late, "record", 1)])
    names.send("a", "a", "a", "a", "a")
    fetched, hand_out = threading.Event(), HandedOut.hand_out

    def told(self: HandedOut, place: Place, offset: int) -> None:
        hand_out(self, place, offset)
        if place[0] == late:
            fetched.set()

    monkeypatch.setattr(HandedOut, "hand_out", told)
    held_up = HeldUp(late)
    job = Job("held up", (names.inputs, late), None, lambda *_: held_up, batch_records=1)
    with running(group(names), job):
        assert held_up.begun.wait(30)
        producer = make_producer(names.bootstrap)
        producer.produce(late, b"1")
        assert producer.flush(20) == 0
        assert fetched.wait(30)
        held_up.let_go.set()
        until(lambda: len(held_up.seen) == 6, what="all seen")
    assert [topics for topics, _ in held_up.seen] == [[names.inputs]] * 5 + [[late]]
    assert [is_idle for _, is_idle in held_up.seen[1:]] == [False] * 5


class Ticking:
    """Is at work for most of the time, though nothing comes."""

    def __init__(self) -> None:
        self.ticks = 0

    def process(self, batch: Sequence[InboundRecord], clock: Clock) -> Work:
        """See `PartitionProcessor`."""
        time.sleep(0.3)
        self.ticks += 1
        return Work()


def test_a_stop_in_the_middle_of_a_tick_is_no_failure(names: Names) -> None:
    """The labeler ended with exit code 1 on every third SIGTERM: its tick was cancelled at work, and taken for one that failed."""
    names.create()
    slow = Ticking()
    with running(group(names), Job("ticking", (names.inputs,), None, lambda *_: slow, tick_s=0.01)) as run:
        until(lambda: slow.ticks > 0, what="a first tick")
    assert run.error is None


class Slow:
    """Takes two milliseconds for every record."""

    def __init__(self) -> None:
        self.seen = 0

    def process(self, batch: Sequence[InboundRecord], clock: Clock) -> Work:
        """See `PartitionProcessor`."""
        time.sleep(len(batch) * 0.002)
        self.seen += len(batch)
        return Work()


def test_one_topic_s_backlog_keeps_no_other_topic_waiting(names: Names) -> None:
    """Faust hands out all it fetched before it fetches again: after a replay of 100,000 ratings, users stood still for a minute."""
    names.create()
    backlog, records = f"{names.group}-backlog", 15_000
    create_topics(wait_for_broker(names.bootstrap, timeout_s=20), [Topic(backlog, "record", 1)])
    producer = make_producer(names.bootstrap, linger_ms=50)
    for _ in range(records):
        producer.produce(backlog, b"1")
    assert producer.flush(20) == 0
    slow = Slow()
    with running(group(names), counting_job(names), Job("slow", (backlog,), None, lambda *_: slow, batch_records=500)):
        until(lambda: slow.seen > 0, what="the backlog has begun")
        names.send("a")
        until(lambda: names.counts() == {"a": 1}, what="the other topic's record was counted")
        assert slow.seen < records / 2


CHILD = """
import sys, threading
sys.path.insert(0, ".")
from tests.integration.test_faust_runner import Names, counting_job, group, run_jobs
names = Names(sys.argv[1], sys.argv[2])
run_jobs(group(names, "child"), [counting_job(names)], threading.Event())
"""


def test_a_killed_process_s_partitions_are_taken_over_with_their_state(names: Names) -> None:
    """Within the session timeout, not Faust's 60 s; and what the survivor counted before must not be counted from memory twice."""
    keys = [f"key-{number}" for number in range(20)]
    assert len({partition_of(key.encode(), PARTITIONS) for key in keys}) == PARTITIONS
    names.create().send(*keys)
    with running(group(names, "survivor"), counting_job(names)) as survivor:
        until(lambda: names.committed() == 20, what="all counted once")
        environment = {**os.environ, "PYTHONPATH": "."}
        child = subprocess.Popen([sys.executable, "-c", CHILD, names.bootstrap, names.group], env=environment)
        try:
            until(lambda: names.owners() == 2, what="both at work")
            names.send(*keys)
            until(lambda: names.committed() == 40, what="all counted twice")
        finally:
            child.send_signal(signal.SIGKILL)
            child.wait(10)
        names.send(*keys)
        until(lambda: names.committed() == 60, what="all counted three times")
        assert names.counts() == dict.fromkeys(keys, 3)
    assert survivor.error is None


def test_a_broker_that_comes_back_finds_the_runner_at_work_or_ended_never_wedged(fresh_broker: Broker) -> None:
    """After a broker loss Faust's offsets may stop without an error: the one thing nobody would notice."""
    names = Names(fresh_broker.bootstrap, "loss").create()
    names.send("a")
    with running(group(names, wedged_after_s=15.0), counting_job(names)) as run:
        until(lambda: names.committed() == 1, what="the first counted")
        fresh_broker.kill()
        time.sleep(3.0)
        fresh_broker.start()
        names.send("b")
        until(
            lambda: run.error is not None or names.counts().get("b") == 1,
            what="the second counted, or the process ended",
            timeout_s=60,
        )
    with running(group(names), counting_job(names)):
        until(lambda: names.counts().get("b", 0) >= 1, what="the second counted after a restart")


def test_a_stop_without_a_broker_is_given_up_and_nothing_outlives_it(fresh_broker: Broker) -> None:
    """Faust's consumer asks for its coordinator for ever, in a thread that the interpreter used to wait for at its end."""
    names = Names(fresh_broker.bootstrap, "gone").create()
    names.send("a")
    with running(group(names, stop_timeout_s=5.0), counting_job(names)) as run:
        until(lambda: names.committed() == 1, what="the first counted")
        fresh_broker.kill()
    assert run.error is None or isinstance(run.error, BrokerUnavailable)
    assert not [thread for thread in threading.enumerate() if "Faust" in repr(thread) and not thread.daemon]


class Beating:
    """Writes a record whenever time passes."""

    def __init__(self, topic: str) -> None:
        self._topic = topic

    def process(self, batch: Sequence[InboundRecord], clock: Clock) -> Work:
        """See `PartitionProcessor`."""
        return Work((OutboundRecord(self._topic, b"beat", b"1"),))


def test_a_stop_that_is_given_up_waits_for_no_record_either(fresh_broker: Broker) -> None:
    """The interpreter waits for the thread of the batch under way: `roost control` ended 40 s after it had said so."""
    names = Names(fresh_broker.bootstrap, "gone").create()
    job = Job("beating", (names.inputs,), None, lambda *_: Beating(names.changelog), tick_s=0.1)
    with running(group(names, stop_timeout_s=3.0), job) as run:
        until(lambda: "beat" in names.counts(), what="a first record")
        fresh_broker.kill()
        # a record is under way
        time.sleep(1)
    assert isinstance(run.error, BrokerUnavailable)
    working = [thread for thread in threading.enumerate() if thread.name.startswith("beating")]
    until(lambda: not any(thread.is_alive() for thread in working), what="the thread ended", timeout_s=3)


def test_a_member_handed_out_without_a_topic_is_waited_for(names: Names) -> None:
    """Whoever comes back under its name is given what it had: what nobody was given then, nobody would ever read."""
    names.create()
    admin = wait_for_broker(names.bootstrap, timeout_s=20)

    def wait_for(topics: list[str], instance: str = "0") -> float:
        begun_s = time.monotonic()
        await_rebalance(admin, names.group, instance, topics, threading.Event(), patience_s=60)
        return time.monotonic() - begun_s

    member = make_consumer(names.bootstrap, names.group, group_instance_id="0", session_timeout_ms=6000)
    member.subscribe([names.inputs])
    until(lambda: member.poll(0.1) is None and len(member.assignment()) == PARTITIONS, what="its partitions")
    until(lambda: names.owners() == 1, what="the broker's word on it")
    # a static one does not leave
    member.close()
    assert wait_for([names.inputs]) < 2
    assert wait_for([names.inputs, names.changelog], instance="1") < 2
    assert wait_for([names.inputs, names.changelog]) > 2
    assert names.owners() == 0, "given up"


@contextmanager
def watched(names: Names, *, wedged_after_s: float) -> Iterator[list[str]]:
    """Watch a process that never joins the group, and so consumes nothing; yields the reasons to end it, as they come."""
    reasons: list[str] = []
    places = [(names.inputs, partition) for partition in range(PARTITIONS)]
    dog = Watchdog(
        names.bootstrap,
        names.group,
        "0",
        lambda: places,
        topics=[names.inputs],
        wedged_after_s=wedged_after_s,
        on_wedged=reasons.append,
    )
    dog.start()
    try:
        yield reasons
    finally:
        dog.stop()


def test_the_watchdog_ends_a_group_that_stands_still_with_records_to_read(names: Names) -> None:
    """Nobody consumes here, which is what a wedged client looks like from outside."""
    names.create().send("a")
    with watched(names, wedged_after_s=1.2) as bites:
        until(lambda: any(names.inputs in bite and "without a commit" in bite for bite in bites), what="a bite")


def test_the_watchdog_ends_a_process_that_its_group_does_not_know(names: Names) -> None:
    """A client that never finds its coordinator again owns nothing, so that nothing it owns stands still."""
    names.create()
    with watched(names, wedged_after_s=0.6) as bites:
        until(lambda: any("no member 0" in bite for bite in bites), what="a bite")


def test_the_watchdog_ends_a_process_whose_topic_is_another(names: Names) -> None:
    """Its offsets went with the old one, so that the group stands nowhere, and may own nothing of the new one for ever."""
    names.create()
    with watched(names, wedged_after_s=3.6) as bites:
        admin = wait_for_broker(names.bootstrap, timeout_s=20)
        known = topic_id(admin, names.inputs)
        time.sleep(1.0)
        assert not any("anew" in bite for bite in bites)
        delete_topics(admin, [names.inputs])
        create_topics(admin, [Topic(names.inputs, "record", PARTITIONS)])
        assert topic_id(admin, names.inputs) != known
        until(lambda: any(f"{names.inputs} was deleted and created anew" in bite for bite in bites), what="a bite")


def test_transaction_markers_and_what_was_given_up_are_no_reason_to_bite(names: Names) -> None:
    """They take offsets that no reader can ever commit past."""
    names.create()
    producer = make_producer(names.bootstrap, transactional_id=names.group)
    producer.init_transactions(20)
    producer.begin_transaction()
    for partition in range(PARTITIONS):
        producer.produce(names.inputs, b"1", b"a", partition)
    producer.commit_transaction(20)
    producer.begin_transaction()
    for partition in range(PARTITIONS):
        producer.produce(names.inputs, b"1", b"a", partition)
    # in the log, all the same
    producer.flush(20)
    producer.abort_transaction(20)
    consumer = Consumer({"bootstrap.servers": names.bootstrap, "group.id": names.group, "enable.auto.commit": False})
    consumer.commit(offsets=[TopicPartition(names.inputs, partition, 1) for partition in range(PARTITIONS)], asynchronous=False)
    consumer.close()
    with watched(names, wedged_after_s=0.6) as bites:
        time.sleep(3.0)
    assert not any("without a commit" in bite for bite in bites)
