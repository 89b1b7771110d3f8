"""`roost up`, `down` and `status`: everything on this machine. The work is done in `roost.machine`."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Annotated, Any

import httpx
import typer

from roost.cli.checked import settings_of, surfaces_of
from roost.cli.output import emit, say, set_up_logging, table, tell
from roost.cli.phases_bar import phases_bar
from roost.cli.target import DEFAULT_DATA_DIR, AsJson, DataDir
from roost.machine.deployment import Deployment, make_folder
from roost.machine.machine import ROLES, Machine, MachinePlan
from roost.settings import LauncherSettings
from schemas.errors import BrokerUnavailable, RoostError

DEFAULT_HTTP_PORT = 8470
DEFAULT_CONSOLE_PORT = 8780
DEFAULT_BROKER_PORT = 9092
_SILENT = "not answering"
_BROKER_S = 3.0


def up(
    *,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    surfaces: Annotated[Path | None, typer.Option(help="Surfaces file (TOML); the shipped one by default.")] = None,
    http_port: Annotated[
        int,
        typer.Option(
            envvar="ROOST_HTTP_PORT", help="Port of the serving node, on 127.0.0.1; 0 takes a free one.", min=0, max=65_535
        ),
    ] = DEFAULT_HTTP_PORT,
    console_port: Annotated[
        int,
        typer.Option(envvar="ROOST_CONSOLE_PORT", help="Port of the console, on 127.0.0.1; 0 takes a free one.", min=0, max=65_535),
    ] = DEFAULT_CONSOLE_PORT,
    broker_port: Annotated[
        int,
        typer.Option(envvar="ROOST_BROKER_PORT", help="Port of the broker, on 127.0.0.1; 0 takes a free one.", min=0, max=65_535),
    ] = DEFAULT_BROKER_PORT,
    role: Annotated[list[str] | None, typer.Option(help=f"Only these roles, out of {', '.join(ROLES)}.")] = None,
    detach: Annotated[bool, typer.Option("--detach", "-d", help="Return once everything runs.")] = False,
    as_json: AsJson = False,
) -> None:
    """Start all roles on this machine, on a real broker.

    KAFKA_BOOTSTRAP_SERVERS names your own broker; ROOST_TRAIN the surfaces that are trained on schedule, separated by commas.

    Example: roost up --detach
    """
    if unknown := set(role or ()) - ROLES.keys():
        raise typer.BadParameter(f"--role {min(unknown)!r} is none of {', '.join(ROLES)}")
    settings = settings_of(LauncherSettings)
    surfaces_of(surfaces)
    if detach:
        _detach(data_dir, as_json=as_json)
        return
    set_up_logging()
    plan = MachinePlan(
        data_dir.resolve(),
        surfaces.resolve() if surfaces else None,
        tuple(role or ROLES),
        http_port,
        console_port,
        broker_port,
        lasting=True,
    )
    with Machine(plan, settings, say=_say_or_lose) as machine:
        emit(
            _address(Deployment.require(data_dir.resolve())),
            as_json=as_json,
            show=lambda: say("up; Ctrl-C or `roost down` stops it"),
        )
        while True:
            machine.watch()
            time.sleep(1.0)


def down(
    *,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    timeout_s: Annotated[float, typer.Option(help="Seconds to wait.")] = 90.0,
    as_json: AsJson = False,
) -> None:
    """Stop what `roost up` started: every role flushed and committed.

    Example: roost down
    """
    deployment = Deployment.require(data_dir.resolve())
    # it may have ended by itself this moment
    with contextlib.suppress(ProcessLookupError):
        os.kill(deployment.pid, signal.SIGTERM)
    deadline_s = time.monotonic() + timeout_s
    with phases_bar(transient=True) as progress:
        while Deployment.find(data_dir.resolve()) is not None:
            if time.monotonic() > deadline_s:
                raise RoostError(f"pid {deployment.pid} still runs after {timeout_s:g} s; see the logs in {data_dir / 'logs'}")
            progress("roles stopped", sum(not _lives(pid) for pid in deployment.roles.values()), len(deployment.roles))
            time.sleep(0.1)
    emit(_address(deployment), as_json=as_json, show=lambda: say("down"))


def status(*, data_dir: DataDir = DEFAULT_DATA_DIR, as_json: AsJson = False) -> None:
    """Say what runs, where, whether the node is ready, and what embedders say is wrong.

    Example: roost status --json
    """
    deployment = Deployment.require(data_dir.resolve())
    node = _node_state(deployment.node_url) if "serve" in deployment.roles else "not started"
    errors = _embedder_errors(deployment.bootstrap)
    data = {
        **_address(deployment),
        "broker": _SILENT if errors is None else "answering",
        "node": node,
        "restarts": deployment.restarts,
        "embedder_errors": list(errors or ()),
    }

    def show() -> None:
        tell(f"broker    {deployment.bootstrap} ({data['broker']})\nnode      {deployment.node_url} ({node})")
        tell(f"bundles   {deployment.registry}")
        tell(f"console   {deployment.console_url or 'not started'}")
        restarts = deployment.restarts
        table(
            ["role", "pid #", "restarts #"],
            ((name, pid or "starting again", restarts.get(name, 0)) for name, pid in deployment.roles.items()),
        )
        for error in errors or ():
            tell(error)

    emit(data, as_json=as_json, show=show)


def _address(deployment: Deployment) -> dict[str, Any]:
    return {
        "pid": deployment.pid,
        "bootstrap": deployment.bootstrap,
        "node_url": deployment.node_url,
        "console_url": deployment.console_url,
        "registry": deployment.registry,
        "roles": deployment.roles,
    }


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    # 0 stands for one that is down
    return pid > 0


def _say_or_lose(sentence: str) -> None:
    # the launcher's log may lie on a disk that is full: what runs goes on without it
    with contextlib.suppress(OSError):
        say(sentence)


def _detach(data_dir: Path, *, as_json: bool) -> None:
    make_folder(data_dir)
    log_path = data_dir / "up.log"
    words = [word for word in sys.argv[1:] if word not in ("--detach", "-d", "--json")]
    with log_path.open("ab") as log:
        began_byte = log.tell()
        launcher = subprocess.Popen(
            [sys.executable, "-m", "roost", *words], stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
        )
    with phases_bar(transient=True) as progress:
        while (deployment := Deployment.find(data_dir.resolve())) is None or deployment.pid != launcher.pid:
            _check_launcher(launcher, log_path, began_byte)
            progress("broker and topics", 0, 0)
            time.sleep(0.1)
        while "serve" in deployment.roles and _node_state(deployment.node_url) == _SILENT:
            _check_launcher(launcher, log_path, began_byte)
            progress("node", 0, 0)
            time.sleep(0.1)
    console = f", console {deployment.console_url}" if deployment.console_url else ""
    emit(
        _address(deployment),
        as_json=as_json,
        show=lambda: say(f"up: broker {deployment.bootstrap}, node {deployment.node_url}{console}; `roost down` stops it"),
    )


def _check_launcher(launcher: subprocess.Popen[bytes], log_path: Path, began_byte: int) -> None:
    if launcher.poll() is not None:
        said = log_path.read_bytes()[began_byte:].decode(errors="replace").strip().splitlines()
        reason = said[-1].removeprefix("roost: ") if said else f"it ended with {launcher.returncode}"
        raise RoostError(f"`roost up` could not start: {reason} (log: {log_path})")


def _embedder_errors(bootstrap: str) -> tuple[str, ...] | None:
    """Return what embedders say is wrong; None when no broker answers."""
    from roost.embedder_errors import read_embedder_errors  # noqa: PLC0415 - needs Kafka, `--help` does not
    from schemas.wire.admin import wait_for_broker  # noqa: PLC0415 - as above

    try:
        wait_for_broker(bootstrap, timeout_s=_BROKER_S)
        return read_embedder_errors(bootstrap)
    except BrokerUnavailable:
        return None


def _node_state(url: str) -> str:
    try:
        answer = httpx.get(f"{url}/readyz", timeout=2.0)
        return "ready" if answer.is_success else f"not ready: {'; '.join(answer.json()['reasons'])}"
    except httpx.HTTPError:
        return _SILENT
    # a node that failed on the question, or something that is none
    except (ValueError, KeyError, TypeError):
        return f"answers {answer.status_code}, and not what a node says of itself; see its log"
