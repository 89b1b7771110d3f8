"""The broker that Roost starts on one machine: real, restartable, and honest about why it failed."""

import os
import signal
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from roost.broker import Broker, KafkaInstall, kafka_for
from roost.settings import LauncherSettings
from schemas.errors import BrokerUnavailable
from tests.integration.conftest import RunningKafka

_VALUES = [f"tweet {n} \N{BIRD}".encode() for n in range(500)]


def _write(bootstrap: str, topic: str, values: list[bytes]) -> None:
    admin = AdminClient({"bootstrap.servers": bootstrap})
    admin.create_topics([NewTopic(topic, 1, 1)])[topic].result(timeout=10)
    errors: list[object] = []
    producer = Producer({"bootstrap.servers": bootstrap, "acks": "all"})
    for value in values:
        producer.produce(topic, value, on_delivery=lambda error, _: errors.append(error) if error else None)
    assert producer.flush(20) == 0
    assert errors == []


def _read(bootstrap: str, topic: str, count: int) -> list[bytes | None]:
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "read-back", "enable.auto.commit": False})
    consumer.assign([TopicPartition(topic, 0, 0)])
    messages = consumer.consume(count, timeout=15)
    consumer.close()
    return [message.value() for message in messages]


def test_the_shared_broker_keeps_what_it_acknowledged(broker: RunningKafka) -> None:
    """Every other integration test stands on this one."""
    topic = f"kept-{time.time_ns()}"
    _write(broker.bootstrap, topic, _VALUES)
    assert _read(broker.bootstrap, topic, len(_VALUES)) == _VALUES


def test_a_cluster_id_that_begins_with_a_dash_is_an_id_like_any_other(
    start_broker: Callable[[str], Broker], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One random id in 64 does; Kafka's tool took it for an option, and nothing started."""
    monkeypatch.setattr("roost.broker.process.uuid.uuid4", lambda: uuid.UUID(bytes=b"\xfb" * 16))
    admin = AdminClient({"bootstrap.servers": start_broker("dashed").bootstrap})
    assert (admin.list_topics(timeout=10).cluster_id or "").startswith("-")


def test_an_acknowledged_record_survives_kill_9_and_a_restart_on_the_same_port(start_broker: Callable[[str], Broker]) -> None:
    """Crash tests of every role restart the broker and go on with the same bootstrap servers."""
    own = start_broker("kafka")
    before, pid = own.bootstrap, own.pid
    _write(before, "tweets", _VALUES)
    own.kill()
    assert not own.running
    own.start()
    assert own.bootstrap == before
    assert own.pid != pid
    assert _read(own.bootstrap, "tweets", len(_VALUES)) == _VALUES


def test_two_brokers_run_side_by_side(start_broker: Callable[[str], Broker]) -> None:
    """Two checkouts on one machine run their tests at the same time; neither may see the other's topics."""
    with ThreadPoolExecutor(2) as pool:
        one, two = pool.map(start_broker, ["one", "two"])
    assert one.bootstrap != two.bootstrap
    _write(one.bootstrap, "only-in-one", [b"x"])
    assert "only-in-one" not in AdminClient({"bootstrap.servers": two.bootstrap}).list_topics(timeout=10).topics


@pytest.mark.skipif(not Path("/proc/self/comm").exists(), reason="no /proc: Java's threads keep the priority that it gives them")
def test_what_a_broker_does_beside_its_clients_comes_after_them(start_broker: Callable[[str], Broker]) -> None:
    """What Java compiled for a cleaner at work held up every client for a tenth of a second and more."""
    tasks = list(Path(f"/proc/{start_broker('yielding').pid}/task").iterdir())
    niceness = {(task / "comm").read_text().strip(): os.getpriority(os.PRIO_PROCESS, int(task.name)) for task in tasks}
    assert niceness["C1 CompilerThre"] == niceness["kafka-log-clean"] == 10
    assert sum(nice == 0 for nice in niceness.values()) > 10


def test_a_typo_in_a_topic_name_makes_no_topic(broker: RunningKafka) -> None:
    """Topics have contracts (partitions, compaction); one made by accident would have none of them."""
    admin = AdminClient({"bootstrap.servers": broker.bootstrap})
    admin.list_topics("tweeets", timeout=10)
    assert "tweeets" not in admin.list_topics(timeout=10).topics


def test_a_data_folder_in_use_is_refused_and_afterwards_served_again_with_its_data_on_its_port(
    start_broker: Callable[[str], Broker], kafka_install: KafkaInstall, tmp_path: Path
) -> None:
    """Two brokers on one folder corrupt it; and `roost up` after a crash is another process, so state must be in the folder."""
    first = start_broker("kafka")
    _write(first.bootstrap, "tweets", _VALUES)
    second = Broker(tmp_path / "kafka", install=kafka_install)
    with pytest.raises(BrokerUnavailable, match="is running on"):
        second.start()
    assert not second.running
    assert _read(first.bootstrap, "tweets", len(_VALUES)) == _VALUES
    first.kill()
    with second:
        assert second.bootstrap == first.bootstrap
        assert _read(second.bootstrap, "tweets", len(_VALUES)) == _VALUES


def test_a_taken_port_that_was_asked_for_is_an_error(kafka_install: KafkaInstall, tmp_path: Path) -> None:
    """A fixed port is somebody's decision: moving to another one would leave its clients without a broker."""
    with socket.socket() as occupant:
        occupant.bind(("127.0.0.1", 0))
        occupant.listen()
        port = occupant.getsockname()[1]
        wanted = Broker(tmp_path / "kafka", install=kafka_install, port=port)
        with pytest.raises(BrokerUnavailable, match=str(port)) as failure:
            wanted.start()
    # Kafka's own words, so that nobody has to open a log file
    assert "Address already in use" in str(failure.value)
    assert not wanted.running


def test_the_broker_dies_with_a_launcher_that_was_killed(tmp_path: Path) -> None:
    """A killed test run or demo must not leave a Java machine and its ports behind."""
    script = (
        "import sys, time; from pathlib import Path\n"
        "from roost.broker import Broker, KafkaInstall; from roost.settings import LauncherSettings\n"
        "settings = LauncherSettings()\n"
        "broker = Broker(Path(sys.argv[1]), install=KafkaInstall(settings.kafka_jars_dir, settings.java))\n"
        "broker.start(); print(broker.pid, flush=True); time.sleep(60)\n"
    )
    with subprocess.Popen([sys.executable, "-c", script, str(tmp_path)], stdout=subprocess.PIPE, text=True) as launcher:
        assert launcher.stdout is not None
        broker_pid = int(launcher.stdout.readline())
        launcher.kill()
    deadline_s = time.monotonic() + 20
    while _exists(broker_pid):
        if time.monotonic() > deadline_s:
            os.kill(broker_pid, signal.SIGKILL)
            pytest.fail("the broker outlived its launcher")
        time.sleep(0.05)


def test_a_corrupt_class_archive_slows_the_start_and_breaks_nothing(kafka_install: KafkaInstall, tmp_path: Path) -> None:
    """The archive is an optimisation: after a Java update or a half-written file a broker must still start."""
    jars_dir = tmp_path / "jars"
    jars_dir.mkdir()
    (jars_dir / "libs").symlink_to(kafka_install.jars_dir / "libs")
    (jars_dir / "kafka.jsa").write_bytes(b"not an archive")
    with Broker(tmp_path / "kafka", install=KafkaInstall(jars_dir, kafka_install.java)) as broker:
        assert broker.running


def test_a_named_kafka_is_used_and_none_is_started(tmp_path: Path) -> None:
    """KAFKA_BOOTSTRAP_SERVERS set means that cluster, and nothing beside it."""
    settings = LauncherSettings(kafka_bootstrap_servers="kafka-1:9092,kafka-2:9092")
    with kafka_for(settings, data_dir=tmp_path / "kafka") as bootstrap:
        assert bootstrap == "kafka-1:9092,kafka-2:9092"
    assert not (tmp_path / "kafka").exists()


def _exists(pid: int) -> bool:
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return False
    # a zombie is dead: only its parent has not looked yet
    return status.rpartition(")")[2].split()[0] != "Z"
