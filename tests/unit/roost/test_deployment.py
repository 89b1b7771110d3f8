"""One deployment a folder: who holds it, who finds it, and what a second launcher is told. Starts no broker and no role."""

import errno
import json
import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import ExitStack
from importlib.resources import files
from pathlib import Path
from types import SimpleNamespace

import httpx
import pytest

from roost import cli
from roost.cli import machine as cli_machine
from roost.cli.machine import _say_or_lose
from roost.cli.output import Unwound, say, unwind_on_signals
from roost.machine import deployment, machine, role_process
from roost.machine.deployment import Deployment, claimed
from roost.machine.log_bounds import MOST_BYTES
from roost.machine.machine import ROLES, Machine, MachinePlan
from roost.machine.role_process import RoleProcess
from roost.settings import LauncherSettings
from schemas.errors import RoostError
from tests.told_progress import ToldBar


def _written(folder: Path) -> Deployment:
    # a process that lives: after a reboot, a number in an old file is somebody else's
    written = Deployment(os.getpid(), "127.0.0.1:1", "http://127.0.0.1:2", "registry", None, {})
    written.write(folder)
    return written


def test_a_deployment_is_found_for_as_long_as_its_launcher_lives(tmp_path: Path) -> None:
    """Kill -9 leaves the file behind; `roost down` must not send SIGTERM to whoever has the process id now."""
    with claimed(tmp_path):
        written = _written(tmp_path)
        assert Deployment.find(tmp_path) == written
    assert Deployment.find(tmp_path) is None
    _written(tmp_path)
    assert Deployment.find(tmp_path) is None


def test_what_ends_by_itself_while_it_is_stopped_is_down(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody pressed Ctrl-C beside it: the second to stop it got a traceback."""
    with ExitStack() as launcher:
        launcher.enter_context(claimed(tmp_path))
        _written(tmp_path)

        def ended(*_: object) -> None:
            launcher.close()
            raise ProcessLookupError

        monkeypatch.setattr(os, "kill", ended)
        assert cli.run(["down", "--data-dir", str(tmp_path)]) == 0


def test_starting_in_the_background_says_what_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A broker takes ten seconds, a node with a corpus longer; what the launcher says of it goes to its log."""
    bar = ToldBar()
    monkeypatch.setattr(cli_machine, "phases_bar", bar.open)
    launcher = SimpleNamespace(pid=7, poll=lambda: None)
    monkeypatch.setattr(subprocess, "Popen", lambda *_, **__: launcher)
    started = Deployment(7, "127.0.0.1:1", "http://127.0.0.1:2", "registry", None, {"serve": 8})
    found, answers = iter([None, started]), iter([cli_machine._SILENT, "ready"])
    monkeypatch.setattr(Deployment, "find", lambda _: next(found))
    monkeypatch.setattr(cli_machine, "_node_state", lambda _: next(answers))
    assert cli.run(["up", "--detach", "--data-dir", str(tmp_path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["pid"] == 7
    assert bar.told == [("broker and topics", 0, 0), ("node", 0, 0)]


def test_stopping_says_how_many_roles_have_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each is flushed and committed before the next is asked: up to a minute and a half without a word."""
    bar = ToldBar()
    monkeypatch.setattr(cli_machine, "phases_bar", bar.open)
    with ExitStack() as launcher:
        launcher.enter_context(claimed(tmp_path))
        Deployment(os.getpid(), "127.0.0.1:1", "http://127.0.0.1:2", "registry", None, {"serve": 7, "embed": 8, "label": 0}).write(
            tmp_path
        )

        def kill(pid: int, signum: int) -> None:
            if pid == 8:
                launcher.close()
                raise ProcessLookupError

        monkeypatch.setattr(os, "kill", kill)
        assert cli.run(["down", "--data-dir", str(tmp_path)]) == 0
    assert bar.told == [("roles stopped", 2, 3)], "and one was down already"


def test_a_node_that_fails_on_the_question_is_told_as_such(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """When something is wrong is when somebody asks: the answer was a traceback of ours."""
    monkeypatch.setattr(httpx, "get", lambda *_, **__: httpx.Response(500, text="Internal Server Error"))
    monkeypatch.setattr(cli_machine, "_embedder_errors", lambda _: ())
    with claimed(tmp_path):
        Deployment(os.getpid(), "127.0.0.1:1", "http://127.0.0.1:2", "registry", None, {"serve": 1}).write(tmp_path)
        assert cli.run(["status", "--data-dir", str(tmp_path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["node"] == "answers 500, and not what a node says of itself; see its log"


@pytest.mark.parametrize("words", ["train skew", "train evaluate 3f9a0c11d2e4b567", "train pretrain --kept nowhere"])
def test_a_training_reads_the_surfaces_of_the_deployment_it_reads_topics_of(
    words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With the shipped file a surface of one's own was unknown, and one that is shipped otherwise was trained wrongly."""
    monkeypatch.delenv("ROOST_SURFACES", raising=False)
    shipped = files("schemas").joinpath("surfaces.toml").read_text(encoding="utf-8")
    surfaces = tmp_path / "surfaces.toml"
    surfaces.write_text(shipped.replace("[home-timeline]", "[films]"))
    with claimed(tmp_path):
        Deployment(os.getpid(), "127.0.0.1:1", "http://127.0.0.1:2", "registry", str(surfaces), {}).write(tmp_path)
        assert cli.run([*words.split(), "--data-dir", str(tmp_path)]) == 1
    assert "surface 'home-timeline' is not configured, but films" in capsys.readouterr().err


def test_a_second_launcher_is_refused_and_the_first_is_still_found(tmp_path: Path) -> None:
    """Refused, it used to take the running deployment's file with it: nothing could find or stop that one any more."""
    settings = LauncherSettings()
    with claimed(tmp_path):
        written = _written(tmp_path)
        with (
            pytest.raises(RoostError, match=f"already runs on .*pid {os.getpid()}.*roost down"),
            Machine(MachinePlan(tmp_path), settings),
        ):
            pass
        assert Deployment.find(tmp_path) == written


def test_a_deployment_that_is_starting_is_not_called_stopped(tmp_path: Path) -> None:
    """`nothing runs; start it with roost up` would have somebody start a second one."""
    with claimed(tmp_path), pytest.raises(RoostError, match="still starting"):
        Deployment.require(tmp_path)
    with pytest.raises(RoostError, match="nothing runs"):
        Deployment.require(tmp_path)


@pytest.mark.parametrize("role", ["serve", "console"])
def test_a_port_that_is_taken_is_refused_before_anything_starts(role: str, tmp_path: Path) -> None:
    """Of two deployments on one port the second called itself up, and its queries were answered by the first's node."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        plan = MachinePlan(tmp_path, roles=(role,), http_port=port, console_port=port)
        with (
            pytest.raises(RoostError, match=rf"{role} cannot have port {port} .*choose one with --"),
            Machine(plan, LauncherSettings()),
        ):
            pass
    assert not (tmp_path / "kafka").exists()
    assert Deployment.find(tmp_path) is None


def test_a_broker_s_port_that_is_taken_is_refused_before_anything_starts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Programs that publish to the port of the documentation must reach this broker, or nobody."""
    monkeypatch.setattr(machine, "_KILLED_BEFORE_S", 0.0)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with (
            pytest.raises(RoostError, match=f"broker cannot have port {port} .*--broker-port, or name the broker"),
            Machine(MachinePlan(tmp_path, broker_port=port), LauncherSettings()),
        ):
            pass
    assert not (tmp_path / "kafka").exists()


def test_a_folder_that_cannot_be_made_is_a_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A file in its place, or no right to write there: both say what to do."""
    (tmp_path / "file").write_text("")
    for options in ([], ["--detach"]):
        assert cli.run(["up", "--data-dir", str(tmp_path / "file" / "folder"), *options]) == 1
        assert "name another with --data-dir" in capsys.readouterr().err


def test_a_full_disk_is_told_before_a_broker_is_started_on_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The broker ended at once, and the log that says why could not be written."""
    monkeypatch.setattr(deployment, "LEAST_FREE_BYTES", 2**60)
    for options in ([], ["--detach"]):
        assert cli.run(["up", "--data-dir", str(tmp_path), *options]) == 1
        assert "make room there" in capsys.readouterr().err
    assert not (tmp_path / "kafka").exists()


class _DyingRole(RoleProcess):
    """Dies and is there again whenever it is looked at; no process."""

    def revive(self) -> str:
        self.restarts += 1
        return "control started again"


def test_a_launcher_keeps_the_logs_of_its_roles_within_bounds(tmp_path: Path) -> None:
    """A deployment that runs for months filled its disk with what nobody reads."""
    machine = Machine(MachinePlan(tmp_path, roles=("control",)), LauncherSettings())
    machine._roles.append(RoleProcess("control", (), environment={}, log_dir=tmp_path))
    log = tmp_path / "control.log"
    log.touch()
    os.truncate(log, MOST_BYTES + 1)
    machine.watch()
    assert (log.stat().st_size, (tmp_path / "control.log.1").stat().st_size) == (0, MOST_BYTES + 1)


def test_a_role_that_dies_on_a_full_disk_does_not_take_the_launcher_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is told of the new process could not be written: the launcher ended, and stopped the roles that still answered."""
    machine = Machine(MachinePlan(tmp_path, roles=("control",)), LauncherSettings())
    with claimed(tmp_path):
        machine._roles.append(_DyingRole("control", (), environment={}, log_dir=tmp_path))
        with monkeypatch.context() as full:
            full.setattr(Deployment, "write", _no_space)
            machine.watch()
        assert Deployment.find(tmp_path) is None
        monkeypatch.setattr(_DyingRole, "revive", lambda _self: None)
        machine.watch()
        found = Deployment.find(tmp_path)
        assert found is not None
        assert found.restarts == {"control": 1}


def test_a_role_that_a_machine_out_of_memory_cannot_start_again_is_tried_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kernel ended it for want of memory, and there was none for its successor: the launcher ended, and all that ran."""
    starts = iter((None, OSError(errno.ENOMEM, os.strerror(errno.ENOMEM)), None))

    def spawned(*_: object, **__: object) -> SimpleNamespace:
        if (error := next(starts)) is not None:
            raise error
        return SimpleNamespace(pid=1, returncode=-9, poll=lambda: -9)

    monkeypatch.setattr(role_process, "spawn", spawned)
    monkeypatch.setattr(role_process, "_BACKOFF_S", (0.0,))
    role = RoleProcess("embed", (), environment={}, log_dir=tmp_path)
    role.start()
    said = [role.revive() for _ in range(3)]
    assert said == [
        f"embed ended with -9; it starts again in 0 s (log: {role.log_path})",
        f"embed does not start, and is tried again in 0 s: [Errno 12] {os.strerror(errno.ENOMEM)}",
        "embed started again",
    ]
    assert role.restarts == 1


class _SlowRole(RoleProcess):
    """Waits for its broker for some time once it is asked to stop; no process."""

    asked_s: float | None = None
    takes_s = 0.3

    def ask_to_stop(self) -> None:
        self.asked_s = self.asked_s or time.monotonic()

    def await_stop(self, *, timeout_s: float) -> bool:
        left_s = (self.asked_s or 0.0) + self.takes_s - time.monotonic()
        time.sleep(max(0.0, min(left_s, timeout_s)))
        return left_s <= timeout_s


def test_roles_whose_broker_is_away_wait_for_it_together(tmp_path: Path) -> None:
    """One after the other they took 69 s: each waits for acknowledgements, and for its group, until it gives up."""
    machine = Machine(MachinePlan(tmp_path, roles=()), LauncherSettings())
    machine.bootstrap = "127.0.0.1:1"
    machine._roles += [_SlowRole(name, (), environment={}, log_dir=tmp_path) for name in ROLES]
    began_s = time.monotonic()
    machine.stop()
    assert time.monotonic() - began_s < 0.3 * (len(ROLES) - 1)


def test_what_waits_longer_for_a_broker_that_is_away_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its time counts from when all were asked: after an embedder's 30 s a controller had 30 s of its own."""
    monkeypatch.setattr(machine, "_STOP_S", 0.2)
    said: list[str] = []
    away = Machine(MachinePlan(tmp_path, roles=()), LauncherSettings(), say=said.append)
    away.bootstrap = "127.0.0.1:1"
    away._roles += [_SlowRole(name, (), environment={}, log_dir=tmp_path) for name in ROLES]
    began_s = time.monotonic()
    away.stop()
    assert time.monotonic() - began_s < 0.4
    assert len(said) == len(ROLES)


class _ImpatientlyStopped(_SlowRole):
    """Is sent another SIGTERM, as by a second `roost down`, while it stops."""

    takes_s = 0.0

    def await_stop(self, *, timeout_s: float) -> bool:
        signal.raise_signal(signal.SIGTERM)
        return super().await_stop(timeout_s=timeout_s)


def test_a_second_signal_does_not_cut_short_how_a_deployment_stops(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The launcher ended at once, and the broker with it, before the roles had flushed and committed to it."""
    before = {signum: signal.getsignal(signum) for signum in (signal.SIGINT, signal.SIGTERM)}
    monkeypatch.setattr(machine, "_listens", lambda _: True)
    stopping = Machine(MachinePlan(tmp_path, roles=()), LauncherSettings())
    roles = [_ImpatientlyStopped(name, (), environment={}, log_dir=tmp_path) for name in ROLES]
    stopping._roles += roles
    closed: list[bool] = []
    stopping._stack.callback(closed.append, True)
    unwind_on_signals()
    try:
        with pytest.raises(Unwound, match="SIGTERM"):
            stopping.stop()
    finally:
        for signum, handler in before.items():
            signal.signal(signum, handler)
    assert all(role.asked_s is not None for role in roles)
    assert closed == [True]


def _no_space(*_: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_launcher_whose_log_cannot_be_written_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """`roost up --detach` logs to the folder of the deployment: on a full disk a sentence about the broker ended everything."""
    with Path("/dev/full").open("w", buffering=1) as full:
        monkeypatch.setattr(sys, "stderr", full)
        with pytest.raises(OSError, match="No space left"):
            say("the broker ended")
        _say_or_lose("the broker ended")
        # what is kept for another try would be written at the close
        os.dup2(os.open(os.devnull, os.O_WRONLY), full.fileno())


def test_a_role_that_there_is_not_is_a_usage_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Found before a broker is started for it."""
    assert cli.run(["up", "--role", "index", "--data-dir", str(tmp_path)]) == 2
    assert "control, embed, label" in capsys.readouterr().err
