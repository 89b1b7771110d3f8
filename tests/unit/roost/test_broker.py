"""What can be known of the launcher's broker without starting one."""

import errno
import os
from pathlib import Path

import pytest

from roost.broker import Broker, KafkaInstall
from roost.broker.config import free_port, port_of, server_properties
from schemas.errors import BrokerUnavailable


def test_missing_jars_are_named_with_the_command_that_fetches_them(tmp_path: Path) -> None:
    """The commonest first failure is a clone without set-up; a stack trace of Java would not say so."""
    broker = Broker(tmp_path / "kafka", install=KafkaInstall(tmp_path))
    with pytest.raises(BrokerUnavailable, match="make setup"):
        broker.start()


def test_a_broker_that_is_to_run_for_long_is_compiled_for_it(tmp_path: Path) -> None:
    """The second compiler pays in hours; in a demo or a test it is a third of what the broker costs."""
    install = KafkaInstall(tmp_path)
    flags = [" ".join(Broker(tmp_path, install=install, lasting=lasting)._server_flags()) for lasting in (False, True)]
    assert ["TieredStopAtLevel" in each for each in flags] == [True, False]


def test_a_missing_java_is_named_with_what_to_install(tmp_path: Path) -> None:
    """`FileNotFoundError: java` leaves a newcomer guessing the version."""
    (tmp_path / "libs").mkdir()
    (tmp_path / "libs" / "kafka.jar").touch()
    broker = Broker(tmp_path / "kafka", install=KafkaInstall(tmp_path, java=str(tmp_path / "no-java")))
    with pytest.raises(BrokerUnavailable, match="Java 17"):
        broker.start()


def test_every_listener_is_bound_to_the_loopback_address(tmp_path: Path) -> None:
    """A development broker has no passwords: it must not be reachable from another machine."""
    lines = server_properties(tmp_path, port=20_001, controller_port=20_002).splitlines()
    listeners = [line for line in lines if "://" in line]
    assert listeners
    for line in listeners:
        for address in line.partition("=")[2].split(","):
            assert address.partition("://")[2].startswith("127.0.0.1:")


def test_a_written_configuration_gives_its_client_port_back(tmp_path: Path) -> None:
    """A restart in another process takes the same port from the folder."""
    written = tmp_path / "server.properties"
    assert port_of(written) is None
    written.write_text(server_properties(tmp_path, port=20_001, controller_port=20_002))
    assert port_of(written) == 20_001


def test_a_disk_that_is_full_leaves_a_broker_its_port(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Cut off, the configuration named none, and with room again the broker took another port, which no running role knows."""
    (tmp_path / "server.properties").write_text(server_properties(tmp_path, port=20_001, controller_port=20_002))

    def cut_off(path: Path, *_: str) -> int:
        path.open("w").close()
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "write_text", cut_off)
    with pytest.raises(OSError, match="No space left") as raised:
        Broker(tmp_path, install=KafkaInstall(tmp_path)).start()
    assert raised.value.filename == str(tmp_path / "server.properties"), "which disk is full"
    assert not (tmp_path / ".server.properties").exists()
    assert port_of(tmp_path / "server.properties") == 20_001


class _DyingKafka(KafkaInstall):
    """Ends at once, without a word."""

    def command(self, main_class: str, *flags: str) -> list[str]:
        return ["false"]


def test_a_broker_that_could_not_write_why_it_died_is_told_with_the_room_on_its_disk(tmp_path: Path) -> None:
    """On a full disk its log ends before the reason: "died while starting", and nothing below it."""
    (tmp_path / "segments").mkdir()
    (tmp_path / "segments" / "meta.properties").touch()
    with pytest.raises(BrokerUnavailable, match=rf"died while starting; [\d,]+ MiB are free in {tmp_path}, and its log .* ends:"):
        Broker(tmp_path, install=_DyingKafka(tmp_path)).start()


def test_free_ports_lie_below_those_of_outgoing_connections() -> None:
    """An outgoing connection must not take a broker's port while it restarts."""
    assert all(free_port() < 32_768 for _ in range(20))
    only_one_left = free_port()
    assert free_port(but_not=only_one_left) != only_one_left


def test_asking_a_broker_that_was_never_started_is_an_error(tmp_path: Path) -> None:
    """An empty bootstrap string would make clients fail far away from the cause."""
    broker = Broker(tmp_path, install=KafkaInstall(tmp_path))
    with pytest.raises(BrokerUnavailable, match="start it first"):
        _ = broker.bootstrap
    with pytest.raises(BrokerUnavailable, match="not running"):
        _ = broker.pid
    broker.stop()
    broker.kill()
    assert broker.log_tail() == ""
