"""The controller on a real broker, asked by the real client: races, refusals, kill -9, topics made and deleted, settings."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO

import pytest

from lab.history import judge, read_history
from roost import cli
from roost.broker import Broker
from schemas.aliases import move_alias
from schemas.codec import encode
from schemas.errors import CompareAndSetLost, ControllerUnavailable, Refused
from schemas.records.control import CommandKind, NodeStatus, Progress, Rollout, RolloutCommand, SourcePosition, Stage
from schemas.topics import NODE_STATUS, ROLLOUT_COMMANDS, ROLLOUTS, dlq, embeddings_topic_name, standard_topics
from schemas.wire.admin import create_topics, topic_id, wait_for_broker
from schemas.wire.client import make_producer
from schemas.wire.tail import TailReader
from streams.controller.client import RolloutClient
from streams.producer import Producer
from streams.settings import EmbedderSettings
from tests.bundles import publish_bundle
from tests.embedder_thread import running_embedder
from tests.integration.waiting import until
from tests.streams_kit import all_committed, candidates, embeddings, last_status

HOME = "home-timeline"
PARTITIONS = 4


class Machine:
    """A broker, a registry and controllers; heartbeats are told, not lived."""

    def __init__(self, bootstrap: str, folder: Path, stack: ExitStack) -> None:
        self.bootstrap = bootstrap
        self.registry = folder / "registry"
        self.admin = wait_for_broker(bootstrap, timeout_s=20)
        create_topics(self.admin, standard_topics(PARTITIONS))
        self._folder = folder
        self._stack = stack
        self._producer = make_producer(bootstrap)
        self._reported: tuple[str, ...] = ()
        self._refused = ""
        self._reporting = threading.Lock()
        self._ended = threading.Event()
        reporter = threading.Thread(target=self._report_on, daemon=True)
        reporter.start()
        stack.callback(reporter.join)
        stack.callback(self._ended.set)

    def start_controller(self, *crash_point: str) -> subprocess.Popen[bytes]:
        """Start a controller process, to die at a moment or not; it is killed at the end of the test."""
        log = self._log()
        words = [sys.executable, "-m", "tests.controller_process", *crash_point]
        process = subprocess.Popen(words, env=self._environment(), stdout=log, stderr=log)
        self._stack.callback(process.wait)
        self._stack.callback(process.kill)
        return process

    @contextmanager
    def dying_controllers(self) -> Iterator[list[str]]:
        """Run one controller after the other: one dies before its first record is written, the next after it, and so on.

        Yields what each died of, filled at the end.
        """
        died: list[str] = []
        words = [sys.executable, "-m", "tests.controller_process", "before-record", "after-record"]
        # a session of its own: the one that lives at the end goes with the others
        process = subprocess.Popen(
            words, env=self._environment(), stdout=subprocess.PIPE, stderr=self._log(), text=True, start_new_session=True
        )
        try:
            yield died
            assert process.poll() is None, "a controller ended by itself; see its log"
        finally:
            os.killpg(process.pid, signal.SIGKILL)
            died.extend(process.communicate()[0].split())

    def _environment(self) -> dict[str, str]:
        return {
            **os.environ,
            "KAFKA_BOOTSTRAP_SERVERS": self.bootstrap,
            "ROOST_REGISTRY": str(self.registry),
            "ROOST_LET_GO_S": "1",
            # longer than any wait below: who comes back under its name waits for no session to end
            "ROOST_SESSION_TIMEOUT_S": "60",
        }

    def _log(self) -> BinaryIO:
        return self._stack.enter_context((self._folder / "controller.log").open("ab"))

    def report_parity(self, *bundles: str) -> None:
        """Have an embedder and a node report full parity of `bundles` from now on: who falls silent does not count."""
        with self._reporting:
            self._reported = bundles
            self._report()

    def complain_of(self, bundle: str) -> None:
        """Have them say from now on that they cannot use a bundle."""
        with self._reporting:
            self._refused = bundle
            self._report()

    def _report_on(self) -> None:
        while not self._ended.wait(1.0):
            with self._reporting:
                self._report()

    def _report(self) -> None:
        if not (bundles := self._reported):
            return
        source = {"tweets": SourcePosition(1, time.time_ns() // 1_000_000)}
        whole = dict.fromkeys(bundles, 1.0)
        errors = (f"{self._refused}: is corrupt",) if self._refused else ()
        for instance in ("embedder:0", "node:a"):
            progress = tuple(
                Progress(HOME, bundle, partition, source, embeddings_end=3, applied=3, backfill_done=True)
                for bundle in bundles
                for partition in range(PARTITIONS)
            )
            status = NodeStatus(instance, 1, ready=True, progress=progress, coverage=whole, recall=whole, errors=errors)
            self.write(NODE_STATUS, instance, status)

    def write_all(self, topic: str, records: list[tuple[str, bytes]]) -> None:
        """Write records and wait for all acknowledgements."""
        for key, value in records:
            self._producer.produce(topic, value, key.encode())
            self._producer.poll(0)
        assert self._producer.flush(20) == 0

    def write(self, topic: str, key: str, message: NodeStatus | Rollout | bytes) -> None:
        """Write one record and wait for its acknowledgement."""
        value = message if isinstance(message, bytes) else encode(message)
        self._producer.produce(topic, value, key.encode())
        assert self._producer.flush(20) == 0

    def topics(self) -> set[str]:
        """Return the names of all topics."""
        return set(self.admin.list_topics(timeout=10).topics)


@pytest.fixture
def machine(fresh_broker: Broker, tmp_path: Path) -> Iterator[Machine]:
    """Yield a machine without a controller."""
    with ExitStack() as stack:
        yield Machine(fresh_broker.bootstrap, tmp_path, stack)


def command(
    kind: CommandKind, bundle: str | None = None, *, expected: int | None = None, automatic: bool = False
) -> RolloutCommand:
    """Return a command of its own id."""
    time_ms = time.time_ns() // 1_000_000
    return RolloutCommand(uuid.uuid4().hex, HOME, kind, "ada", time_ms, bundle, expected, automatic=automatic)


def stages(client: RolloutClient) -> dict[str, Stage]:
    """Return the stage of each bundle."""
    states = client.states()
    return {entry.bundle: entry.state for entry in states[HOME].bundles} if HOME in states else {}


def test_a_rollout_and_a_rollback_survive_kill_9_of_the_controller_at_each_stage(machine: Machine) -> None:
    """The log is all a controller knows; whoever comes after it goes on."""
    old, new = (publish_bundle(machine.registry, seed=seed) for seed in (1, 2))
    with RolloutClient(machine.bootstrap) as client:
        controller = machine.start_controller()
        started = client.send(command(CommandKind.START, old, automatic=True))
        assert (started.revision, started.bundles[0].state) == (1, Stage.REGISTERED)
        until(lambda: stages(client).get(old) is Stage.BUILDING, what="the first bundle building")
        assert embeddings_topic_name(old) in machine.topics()
        controller.kill()
        machine.report_parity(old)
        controller = machine.start_controller()
        until(lambda: stages(client).get(old) is Stage.LIVE, what="the first bundle live")

        again = command(CommandKind.START, new)
        first = client.send(again)
        controller.kill()
        controller = machine.start_controller()
        assert client.send(again) == first, "a repeated command id gets the first one's outcome"
        until(lambda: stages(client).get(new) is Stage.BUILDING, what="the second bundle building")
        machine.report_parity(old, new)
        until(lambda: stages(client).get(new) is Stage.READY, what="the second bundle ready")
        client.send(command(CommandKind.PROMOTE, new))
        assert stages(client) == {old: Stage.DRAINING, new: Stage.LIVE}
        client.send(command(CommandKind.ROLLBACK))
        assert stages(client) == {old: Stage.LIVE, new: Stage.DRAINING}

        client.send(command(CommandKind.RETIRE, new))
        machine.report_parity(old)
        until(lambda: embeddings_topic_name(new) not in machine.topics(), what="the retired bundle's topic gone")
        assert embeddings_topic_name(old) in machine.topics()
        controller.send_signal(signal.SIGTERM)
        assert controller.wait(20) == 0
        with pytest.raises(ControllerUnavailable, match="roost control"):
            client.send(command(CommandKind.FREEZE), timeout_s=1.0)


def test_controllers_that_die_before_and_after_every_record_answer_each_command_once(machine: Machine) -> None:
    """Nobody is there after a record, for the commit, the next share, the topic to be emptied or deleted: who comes next is."""
    oldest, old, new = (publish_bundle(machine.registry, seed=seed) for seed in (1, 2, 3))
    topic = embeddings_topic_name(new)
    records: list[str] = []

    def ask(kind: CommandKind, bundle: str | None = None, **more: Any) -> Rollout:
        records.append(kind)
        return client.send(replace(command(kind, bundle), **more), timeout_s=60)

    def start(stage: Stage) -> None:
        ask(CommandKind.START, new)
        until(lambda: stages(client).get(new) is stage, timeout_s=90, what=f"the bundle {stage}")
        records.extend((Stage.BUILDING, stage))

    def deleted(bundle: str) -> None:
        gone = embeddings_topic_name(bundle)
        until(lambda: gone not in machine.topics(), timeout_s=60, what="the topic of the ended bundle gone")

    with RolloutClient(machine.bootstrap) as client:
        controller = machine.start_controller()
        machine.report_parity(oldest, old)
        for bundle in (oldest, old):
            client.send(command(CommandKind.START, bundle, automatic=True))
            until(lambda bundle=bundle: stages(client).get(bundle) is Stage.LIVE, what="a bundle live")  # type: ignore[misc]
        controller.kill()
        controller.wait()
        before = client.states()[HOME].revision
        with machine.dying_controllers() as died:
            machine.report_parity(oldest, old, new)
            ask(CommandKind.CONFIGURE, refresh="every=30s")
            start(Stage.READY)
            first = topic_id(machine.admin, topic)
            ask(CommandKind.CANARY, new, share_bp=500, ramp_bp=(4_000,), ramp_hold_s=1)
            until(lambda: not client.states()[HOME].ramp_bp, timeout_s=60, what="the last share of the ramp")
            records.append("ramp")
            assert client.states()[HOME].in_stage(Stage.CANARY)[0].share_bp == 4_000
            ask(CommandKind.ABORT, new)
            ask(CommandKind.FREEZE)
            start(Stage.READY)
            assert topic_id(machine.admin, topic) != first, "no index is filled from what the aborted rollout left"
            promoted = ask(CommandKind.PROMOTE, new)
            assert stages(client) == {oldest: Stage.RETIRED, old: Stage.DRAINING, new: Stage.LIVE}
            machine.report_parity(old, new)
            deleted(oldest)
            assert client.states()[HOME] == promoted
            ask(CommandKind.ROLLBACK)
            assert stages(client) == {oldest: Stage.RETIRED, old: Stage.LIVE, new: Stage.DRAINING}
            ask(CommandKind.RETIRE, new)
            machine.report_parity(old)
            deleted(new)
            machine.complain_of(new)
            start(Stage.REJECTED)
            deleted(new)
            ended = client.states()[HOME]
            assert (ended.refresh, ended.frozen, ended.live) == ("every=30s", True, old)
    verdict = judge(read_history(machine.bootstrap, []))
    assert verdict.sound, verdict.sentence()
    asked = [record for record in records if record in list(CommandKind)]
    assert (verdict.revisions, verdict.commands) == (ended.revision, 2 + len(asked)) == (before + len(records), 12)
    assert died == ["before-record", "after-record"] * len(records)
    assert embeddings_topic_name(old) in machine.topics()


def test_an_automatic_start_that_waits_is_taken_up_by_the_controller_that_comes_next(machine: Machine) -> None:
    """Its trainer was told that it starts later; whoever promised that is gone by then."""
    bundle = publish_bundle(machine.registry, seed=1)
    with RolloutClient(machine.bootstrap) as client:
        controller = machine.start_controller()
        client.send(command(CommandKind.FREEZE))
        with pytest.raises(Refused, match="unfreeze"):
            client.send(command(CommandKind.START, bundle, automatic=True))
        controller.kill()
        machine.start_controller()
        client.send(command(CommandKind.UNFREEZE))
        until(lambda: stages(client).get(bundle) is Stage.BUILDING, what="the bundle that waited building")


def test_an_alias_is_resolved_before_the_command_is_sent(machine: Machine, capsys: pytest.CaptureFixture[str]) -> None:
    """The log of rollouts names ids: what an alias names afterwards changes nothing that was begun."""
    first, second = (publish_bundle(machine.registry, seed=seed) for seed in (1, 2))
    move_alias(machine.registry, HOME, "stable", first, expected=None, actor="ada", time_ms=1)
    machine.start_controller()
    words = ["--registry", str(machine.registry), "--bootstrap", machine.bootstrap, "--json"]
    assert cli.run(["rollout", "start", "stable", *words]) == 0
    assert [entry["bundle"] for entry in json.loads(capsys.readouterr().out)["bundles"]] == [first]
    move_alias(machine.registry, HOME, "stable", second, expected=first, actor="ada", time_ms=2)
    assert cli.run(["rollout", "abort", first, *words]) == 0
    with RolloutClient(machine.bootstrap) as client:
        assert second not in stages(client)


def test_a_start_waits_until_the_bundle_is_ready_and_says_what_it_lacks_when_it_waited_in_vain(
    machine: Machine, capsys: pytest.CaptureFixture[str]
) -> None:
    """A script that promotes on its next line must not come too early, nor hang where no node ever reports."""
    bundle = publish_bundle(machine.registry)
    machine.start_controller()
    words = ["--wait", "--registry", str(machine.registry), "--bootstrap", machine.bootstrap, "--json"]
    assert cli.run(["rollout", "start", bundle, "--timeout-s", "0", *words]) == 1
    said = capsys.readouterr()
    assert json.loads(said.out)["surface"] == HOME
    assert f"after 0 s {bundle} is " in said.err
    assert cli.run(["rollout", "abort", bundle, *words[1:]]) == 0
    machine.report_parity(bundle)
    capsys.readouterr()
    assert cli.run(["rollout", "start", bundle, *words]) == 0
    assert [entry["state"] for entry in json.loads(capsys.readouterr().out)["bundles"]] == [Stage.READY]


def test_of_two_operators_one_wins_and_bad_asks_are_refused_in_a_sentence(machine: Machine) -> None:
    """Exit codes 4 and 3 of the command line are these two errors."""
    bundles = [publish_bundle(machine.registry, seed=seed) for seed in (1, 2)]
    machine.start_controller()
    outcomes: list[Rollout | Exception] = []

    def operator(bundle: str) -> None:
        with RolloutClient(machine.bootstrap) as client:
            try:
                outcomes.append(client.send(command(CommandKind.START, bundle, expected=0)))
            except (CompareAndSetLost, Refused) as error:
                outcomes.append(error)

    operators = [threading.Thread(target=operator, args=(bundle,), daemon=True) for bundle in bundles]
    for thread in operators:
        thread.start()
    for thread in operators:
        thread.join()
    assert sorted(type(outcome).__name__ for outcome in outcomes) == ["CompareAndSetLost", "Rollout"]

    with RolloutClient(machine.bootstrap) as client:
        with pytest.raises(Refused, match="publish the bundle again"):
            client.send(command(CommandKind.START, "f" * 16))
        # bad bytes are set aside, and the controller goes on
        machine.write(ROLLOUT_COMMANDS, HOME, b"not a command")
        # a zombie's revisions, an old and a skipped one, are passed over by everybody's fold
        (winner,) = (outcome for outcome in outcomes if isinstance(outcome, Rollout))
        until(lambda: Stage.BUILDING in stages(client).values(), what="the winner building")
        before = client.states()[HOME]
        machine.write(ROLLOUTS, HOME, Rollout(HOME, before.revision, "zombie"))
        machine.write(ROLLOUTS, HOME, Rollout(HOME, before.revision + 7, "zombie"))
        machine.write(ROLLOUTS, HOME, b"\x00nonsense")
        assert client.states()[HOME] == before
        aborted = client.send(command(CommandKind.ABORT, winner.bundles[0].bundle, expected=before.revision))
        assert aborted.revision == before.revision + 1
    with TailReader(machine.bootstrap, dlq(ROLLOUT_COMMANDS), [0], once=True) as reader:
        assert len(reader.read_to_end()) == 1


def test_running_embedders_follow_a_configured_refresh_policy_through_kills_and_restarts(
    machine: Machine, capsys: pytest.CaptureFixture[str]
) -> None:
    """An operator changes it under load: a restart would embed the corpus on top, a forgotten change would bring the load back."""
    bootstrap, bundle = machine.bootstrap, publish_bundle(machine.registry, seed=1)
    settings = EmbedderSettings(bootstrap=bootstrap, registry=machine.registry, checkpoint_interval_s=0.2)
    controller = machine.start_controller()

    def configure(refresh: str, *words: str) -> int:
        return cli.run(["rollout", "configure", "--refresh", refresh, "--bootstrap", bootstrap, "--json", *words])

    def clicks_in_the_vector() -> int:
        embedding = embeddings(bootstrap, bundle).get("t:1")
        return -1 if embedding is None or embedding.features is None else embedding.features.counters.click

    def clicks_in_the_state() -> int:
        candidate = candidates(bootstrap).get("t:1")
        return -1 if candidate is None else candidate.counters.click

    def click(total: int, *, seen: int) -> None:
        producer.engagement("t:1", user_id="u", kind="click")
        producer.flush()
        until(lambda: clicks_in_the_state() == total, what=f"{total} clicks in the state")
        until(lambda: all_committed(bootstrap), what="the checkpoint that may embed them")
        until(lambda: clicks_in_the_vector() == seen, what=f"{seen} of {total} clicks in the vector")

    def followed(revision: int) -> bool:
        status = last_status(bootstrap, "embedder:0")
        return status is not None and status.ready and status.revisions.get(HOME) == revision

    with Producer(bootstrap) as producer, RolloutClient(bootstrap) as client:
        with running_embedder(settings):
            client.send(command(CommandKind.START, bundle, automatic=True))
            until(lambda: stages(client).get(bundle) is Stage.BUILDING, what="the bundle building")
            machine.report_parity(bundle)
            until(lambda: stages(client).get(bundle) is Stage.LIVE, what="the bundle live")
            # the embedder speaks for itself from here on
            machine.report_parity()
            live = client.states()[HOME].revision
            producer.tweet("t:1", author_id="a:1")
            click(1, seen=1)

            assert configure("every=9000s") == 0
            shown = json.loads(capsys.readouterr().out)
            assert (shown["revision"], shown["refresh"]) == (live + 1, "every=9000s")
            until(lambda: followed(live + 1), what="the embedder following the new policy")
            # a policy embeds at once what it has not heard of
            click(2, seen=2)
            click(3, seen=2)

            controller.kill()
            controller.wait()
            machine.start_controller()
            assert configure("default", "--revision", str(live)) == 4
            assert f"is at revision {live + 1}, not {live}" in capsys.readouterr().err
            assert clicks_in_the_vector() == 2
            assert configure("default", "--revision", str(live + 1)) == 0
            until(lambda: clicks_in_the_vector() == 3, what="what was held back, without an engagement more")
            assert configure("every=8000s") == 0
        with running_embedder(settings):
            until(lambda: followed(live + 3), what="another embedder")
            click(4, seen=4)
            click(5, seen=4)
            capsys.readouterr()
            assert cli.run(["rollout", "status", "--bootstrap", bootstrap]) == 0
            shown = capsys.readouterr().out
            assert "refresh every=8000s" in shown
            assert "still acts by" not in shown
            assert cli.run(["rollout", "status", "--surface", "nope", "--bootstrap", bootstrap]) == 1
            assert f"there is no surface 'nope', but {HOME}" in capsys.readouterr().err
    verdict = judge(read_history(bootstrap, []))
    assert verdict.sound, verdict.sentence()
    assert (verdict.revisions, verdict.commands) == (live + 3, 5)
