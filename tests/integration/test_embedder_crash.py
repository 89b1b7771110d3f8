"""A real embedder process, killed with SIGKILL where it hurts most, while events stream: nothing lost, nothing counted twice."""

import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from roost.broker import Broker
from schemas.bundle import read_bundle
from schemas.codec import decode
from schemas.records.control import Stage
from schemas.topics import ENGAGEMENTS, TWEETS, dlq
from schemas.towers import Towers
from schemas.wire.dlq import DeadLetter
from streams.outbox import Outbox
from streams.producer import Producer
from tests.bundles import publish_bundle
from tests.reference_fold import comparable, reference_fold
from tests.streams_kit import all_committed, candidates, embeddings, prepare, read_all, set_rollout, wait_until

# a process is killed at each in turn, the first while the state is still empty
CRASHES = (
    ("after-produce-before-flush", 2),
    ("mid-restore", 1),
    ("after-flush-before-commit", 2),
    ("after-produce-before-flush", 1),
    # a restore may come in one batch, so that there is no second moment of it
    ("mid-restore", 1),
    ("after-flush-before-commit", 4),
)
_IDS = 150
_KINDS = ("favorite", "unfavorite", "retweet", "unretweet", "reply", "click", "follow", "unfollow", "show_less", "block")


class Traffic(threading.Thread):
    """Events of every sort, at about 500 a second, until told to stop."""

    def __init__(self, bootstrap: str) -> None:
        super().__init__(name="traffic")
        self.stop = threading.Event()
        self.error: BaseException | None = None
        self._servers = bootstrap
        self._random = random.Random(7)

    def run(self) -> None:
        """See the class."""
        try:
            raw = Outbox(self._servers)
            with Producer(self._servers) as producer:
                number = 0
                while not self.stop.wait(0.02):
                    for _ in range(10):
                        number += 1
                        self._send_one(producer, raw, number)
            raw.flush_all(timeout_s=30)
        except BaseException as error:
            self.error = error
            raise

    def _send_one(self, producer: Producer, raw: Outbox, number: int) -> None:
        candidate_id = f"t:{self._random.randrange(_IDS)}"
        dice = self._random.random()
        if dice < 0.2:
            producer.tweet(candidate_id, author_id=f"a:{number % 9}", language="en", text=f"version {number}", topics=["x"])
        elif dice < 0.23:
            producer.delete(candidate_id)
        elif dice < 0.235:
            raw.produce(TWEETS, None, candidate_id.encode())
        elif dice < 0.24:
            raw.produce(TWEETS, f"bad {number}".encode(), candidate_id.encode())
            raw.produce(ENGAGEMENTS, b"\x00\x00", candidate_id.encode())
        else:
            # some ids come twice, and some candidates are never created
            event_id = f"event-{number // 2 if dice < 0.3 else number}"
            engaged = f"t:stub-{number % 20}" if dice > 0.95 else candidate_id
            producer.engagement(engaged, user_id="u", kind=self._random.choice(_KINDS), event_id=event_id)


def _start(bootstrap: str, registry: Path, log: Path, *crash: str) -> subprocess.Popen[bytes]:
    with log.open("ab") as output:
        command = [sys.executable, "-m", "tests.embedder_process", bootstrap, str(registry), *crash]
        return subprocess.Popen(command, stderr=output, stdout=output)


def _ended(process: subprocess.Popen[bytes], log: Path) -> int:
    try:
        return process.wait(120)
    except subprocess.TimeoutExpired:
        pytest.fail(f"it still runs:\n{log.read_text()}")


def _leave_some_state(bootstrap: str, registry: Path, log: Path) -> None:
    """Run an embedder until its changelog holds a candidate: of an empty one nothing is restored, and no crash comes in it."""
    with _start(bootstrap, registry, log) as process:
        try:
            wait_until(lambda: bool(candidates(bootstrap)), timeout_s=60, what="the first state")
        finally:
            process.kill()


def test_kill_9_at_any_moment_loses_nothing_and_doubles_nothing(fresh_broker: Broker, tmp_path: Path) -> None:
    """The promise of the write path: after any crash the state and the vectors are those of a run without one."""
    bootstrap, registry, log = fresh_broker.bootstrap, tmp_path / "registry", tmp_path / "embedder.log"
    live, building = publish_bundle(registry, seed=1), publish_bundle(registry, seed=2, dim=32)
    prepare(bootstrap, live, building)
    set_rollout(bootstrap, 1, {live: Stage.LIVE})
    traffic = Traffic(bootstrap)
    traffic.start()
    try:
        for number, (name, nth) in enumerate(CRASHES):
            if number == 2:
                set_rollout(bootstrap, 2, {live: Stage.LIVE, building: Stage.BUILDING})
            with _start(bootstrap, registry, log, name, str(nth)) as process:
                try:
                    assert _ended(process, log) == -signal.SIGKILL, log.read_text()
                finally:
                    process.kill()
            if number == 0:
                _leave_some_state(bootstrap, registry, log)
        survivor = _start(bootstrap, registry, log)
        time.sleep(1)
    finally:
        traffic.stop.set()
        traffic.join(30)
    with survivor:
        try:
            assert traffic.error is None
            wait_until(lambda: all_committed(bootstrap), timeout_s=60, what="all input committed")
        finally:
            survivor.terminate()
        assert survivor.wait(30) == 0, log.read_text()

    tweets, engagements = read_all(bootstrap, TWEETS), read_all(bootstrap, ENGAGEMENTS)
    expected = reference_fold(tweets, engagements)
    state = candidates(bootstrap)
    assert {i: comparable(c) for i, c in state.items()} == {i: comparable(c) for i, c in expected.items()}
    assert sum(c.is_stub for c in expected.values()) >= 10
    assert sum(c.deleted for c in expected.values()) >= 5
    for bundle, dim in ((live, 64), (building, 32)):
        newest = embeddings(bootstrap, bundle, dim)
        assert {i for i, e in newest.items() if not e.deleted} == {i for i, c in expected.items() if c.attributes is not None}
        towers = Towers(read_bundle(registry, "home-timeline", bundle))
        for candidate_id, embedding in newest.items():
            candidate = expected[candidate_id]
            assert (embedding.version, embedding.deleted) == (candidate.version, candidate.deleted)
            assert embedding.features == candidate.features()
            if embedding.features is not None:
                vector = np.frombuffer(embedding.vector, "<f4")
                assert np.allclose(vector, towers.embed_candidates([embedding.features])[0], atol=1e-6)
    bad = {(r.partition, r.offset): r.value for r in tweets if r.value is not None and r.value.startswith(b"bad ")}
    letters = [decode(DeadLetter, record.value or b"") for record in read_all(bootstrap, dlq(TWEETS), 1)]
    assert len(bad) >= 5
    assert {(letter.partition, letter.offset): letter.value for letter in letters} == bad


def test_of_two_processes_under_one_name_the_first_ends_and_says_why(fresh_broker: Broker, tmp_path: Path) -> None:
    """It stayed, read nothing any more, and looked like one that runs."""
    bootstrap, registry = fresh_broker.bootstrap, tmp_path / "registry"
    registry.mkdir()
    prepare(bootstrap)
    logs = [tmp_path / "first.log", tmp_path / "second.log"]

    def reads(log: Path) -> bool:
        return "took over partitions" in log.read_text()

    with _start(bootstrap, registry, logs[0]) as first:
        try:
            wait_until(lambda: reads(logs[0]), timeout_s=30, what="the first to read")
            with _start(bootstrap, registry, logs[1]) as second:
                try:
                    assert first.wait(30) == 1
                    assert "give each its own (ROOST_INSTANCE)" in logs[0].read_text()
                    wait_until(lambda: reads(logs[1]), timeout_s=30, what="the second to read")
                finally:
                    second.terminate()
                assert second.wait(30) == 0, logs[1].read_text()
        finally:
            first.kill()
