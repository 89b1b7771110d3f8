"""The one-machine launcher on a real broker. Its roles are tested where they are written."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from roost.explain.timeline import read_timeline
from roost.machine import others
from roost.machine.machine import ROLES, Machine, MachinePlan
from roost.machine.role_process import RoleProcess
from roost.settings import LauncherSettings
from schemas.errors import RoostError, TopicMismatch
from schemas.surfaces import load_surfaces
from schemas.topics import CANDIDATES, NODE_STATUS, TWEETS, USER_STATES, standard_topics
from schemas.wire.admin import Setting, TopicFault, alter_topics, make_admin, partition_counts, topic_configs, wait_for_broker
from schemas.wire.tail import TailReader
from streams.producer import Producer
from tests.integration.waiting import until


def test_a_broker_that_died_is_started_again_with_what_it_held(launcher_settings: LauncherSettings, tmp_path: Path) -> None:
    """Out of memory, or a disk that was full: the roles waited for ever for a broker that nobody started again."""
    own = launcher_settings.model_copy(update={"kafka_bootstrap_servers": None})
    said: list[str] = []
    with Machine(MachinePlan(tmp_path, roles=()), own, say=said.append) as machine:
        assert machine.broker is not None
        os.kill(machine.broker.pid, signal.SIGKILL)
        deadline_s = time.monotonic() + 10.0
        while machine.broker.running and time.monotonic() < deadline_s:
            time.sleep(0.05)
        machine.watch()
        assert said[-2].startswith("the broker ended; it starts again")
        assert "tweets" in wait_for_broker(machine.bootstrap, timeout_s=5.0).list_topics(timeout=5.0).topics
        before = list(said)
        machine.watch()
        assert said == before, "nothing to say of a broker that runs"


def test_topics_of_another_release_are_altered_at_the_start(launcher_settings: LauncherSettings, tmp_path: Path) -> None:
    """A start that is refused stops the broker again: nobody could ever alter them."""
    own = launcher_settings.model_copy(update={"kafka_bootstrap_servers": None})
    said: list[str] = []
    wanted = next(topic.config["segment.bytes"] for topic in standard_topics() if topic.name == USER_STATES)
    with Machine(MachinePlan(tmp_path, roles=()), own, say=said.append) as machine:
        old = TopicFault(USER_STATES, "", setting=Setting("segment.bytes", wanted, "1073741824"))
        alter_topics(wait_for_broker(machine.bootstrap, timeout_s=5.0), [old])
    with Machine(MachinePlan(tmp_path, roles=()), own, say=said.append) as machine:
        found = topic_configs(wait_for_broker(machine.bootstrap, timeout_s=5.0), [USER_STATES])
    assert found[USER_STATES]["segment.bytes"] == wanted
    assert [line for line in said if USER_STATES in line] == [f"topic {USER_STATES}: segment.bytes is {wanted} now, not 1073741824"]


def test_somebody_elses_broker_is_not_altered(launcher_settings: LauncherSettings, tmp_path: Path) -> None:
    """Its operator decides, and has `roost topics alter` for it: a start says what differs, and ends."""
    own = launcher_settings.model_copy(update={"kafka_bootstrap_servers": None})
    with Machine(MachinePlan(tmp_path / "own", roles=()), own) as machine:
        admin = wait_for_broker(machine.bootstrap, timeout_s=5.0)
        alter_topics(admin, [TopicFault(USER_STATES, "", setting=Setting("segment.bytes", "", "1073741824"))])
        others = own.model_copy(update={"kafka_bootstrap_servers": machine.bootstrap})
        guest = Machine(MachinePlan(tmp_path / "guest", roles=()), others)
        with pytest.raises(TopicMismatch, match="roost topics alter"), guest:
            pass
        assert topic_configs(admin, [USER_STATES])[USER_STATES]["segment.bytes"] == "1073741824"


def test_a_second_deployment_on_one_broker_is_refused_while_the_first_runs(
    launcher_settings: LauncherSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Their embedders, labelers and controllers pushed each other out of their groups, and were started again, for ever."""
    # the first was not killed: nothing is ending
    monkeypatch.setattr(others, "_ENDING_S", 1.0)
    own = launcher_settings.model_copy(update={"kafka_bootstrap_servers": None})
    with Machine(MachinePlan(tmp_path / "first", roles=("label",)), own) as first:
        guest = own.model_copy(update={"kafka_bootstrap_servers": first.bootstrap})
        second = Machine(MachinePlan(tmp_path / "second", roles=("control", "label")), guest)
        with pytest.raises(RoostError, match=rf"process {os.getpid()} on .* has claimed labeler:0 on .*KAFKA_BOOTSTRAP"), second:
            pass
        assert not second.roles, "it was refused before it started anything"
        elsewhere = guest.model_copy(update={"instance": "1"})
        with Machine(MachinePlan(tmp_path / "third", roles=("label",)), elsewhere) as third:
            assert third.role("label").pid is not None, "labelers of two instances share the partitions"
        assert first.role("label").restarts == 0


def test_a_role_that_no_launcher_started_is_heard_of_by_its_heartbeats(
    launcher_settings: LauncherSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Containers run roles one by one, and a release without claims writes none."""
    monkeypatch.setattr(others, "_ENDING_S", 1.0)
    own = launcher_settings.model_copy(update={"kafka_bootstrap_servers": None})
    with Machine(MachinePlan(tmp_path / "first", roles=()), own) as first:
        environment = {"KAFKA_BOOTSTRAP_SERVERS": first.bootstrap, "ROOST_REGISTRY": str(first.registry)}
        alone = RoleProcess("control", ROLES["control"], environment=environment, log_dir=tmp_path)
        alone.start()
        try:
            with TailReader(first.bootstrap, NODE_STATUS, [0]) as reader:
                until(lambda: bool(reader.poll(10, 0.1)), what="the controller reports")
            guest = own.model_copy(update={"kafka_bootstrap_servers": first.bootstrap})
            second = Machine(MachinePlan(tmp_path / "second", roles=("control",)), guest)
            with (
                pytest.raises(RoostError, match=r"controller:0 of another deployment reports on .*KAFKA_BOOTSTRAP_SERVERS"),
                second,
            ):
                pass
        finally:
            alone.kill()
        with second:
            assert second.role("control").pid is not None


def test_a_deployment_has_as_many_partitions_as_its_roles_are_told(
    launcher_settings: LauncherSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`roost up` made 4 whatever it was told, which its roles refused; `roost explain` looked in one of 4 whatever there was."""
    monkeypatch.setenv("ROOST_PARTITIONS", "8")
    own = LauncherSettings(kafka_jars_dir=launcher_settings.kafka_jars_dir, kafka_bootstrap_servers=None)
    with Machine(MachinePlan(tmp_path, roles=()), own) as machine:
        counts = partition_counts(make_admin(machine.bootstrap))
        assert counts[TWEETS] == counts[CANDIDATES] == 8
        with Producer(machine.bootstrap) as producer:
            for n in range(12):
                producer.tweet(f"t:{n}", author_id="a:1")
            producer.flush()
        home = load_surfaces()["home-timeline"]
        ways = [read_timeline(machine.bootstrap, home, f"t:{n}", []).steps for n in range(12)]
        assert [[step.what for step in way] for way in ways] == [["published"]] * 12
        assert len({way[0].partition for way in ways}) > 4


def test_up_and_down_say_in_json_where_everything_is(tmp_path: Path) -> None:
    """A script that starts a deployment needs its addresses, and ports are chosen by the launcher."""

    def answer(*words: str) -> object:
        command = [sys.executable, "-m", "roost", *words, "--data-dir", str(tmp_path), "--json"]
        return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)

    up = answer("up", "--detach", "--role", "control", "--broker-port", "0")
    assert isinstance(up, dict)
    assert TWEETS in wait_for_broker(up["bootstrap"], timeout_s=5.0).list_topics(timeout=5.0).topics
    assert answer("down") == up
