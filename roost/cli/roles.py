"""`roost embed`, `label`, `control` and `serve`: one role in this process, as the containers run it. Wires settings to roles."""

import logging
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Annotated, Literal, Protocol, TypeVar

import typer

from roost.allocator import hold_little
from roost.cli.checked import settings_of, surfaces_of
from roost.cli.output import set_up_logging
from roost.collector import keep_pauses_short
from roost.logs import log_json_lines
from schemas.errors import BrokerUnavailable

log = logging.getLogger(__name__)


class RoleSettings(Protocol):
    """What every role's settings have."""

    @property
    def bootstrap(self) -> str:
        """host:port of the brokers."""
        ...

    @property
    def surfaces(self) -> Path | None:
        """The surfaces file, or None for the shipped one."""
        ...

    @property
    def log_format(self) -> Literal["text", "json"]:
        """How log lines are written."""
        ...

    @property
    def model_fields_set(self) -> set[str]:
        """The fields that the environment gave."""
        ...


SettingsT = TypeVar("SettingsT", bound=RoleSettings)
JsonLines = Annotated[
    bool,
    typer.Option("--json", help="Write the log as JSON, one object a line, as ROOST_LOG_FORMAT=json does; a role has no answer."),
]


def embed(*, json_lines: JsonLines = False) -> None:
    """Embed candidates as they change, for every bundle in use.

    Example: KAFKA_BOOTSTRAP_SERVERS=localhost:9092 ROOST_REGISTRY=./bundles roost embed
    """
    from streams.embedder.role import run_embedder  # noqa: PLC0415 - each role loads only what its extra installs
    from streams.settings import EmbedderSettings  # noqa: PLC0415 - as above

    _run("embedder", settings_of(EmbedderSettings), run_embedder, json_lines=json_lines, old_die_by_count=True)


def label(*, json_lines: JsonLines = False) -> None:
    """Join impressions with engagements into examples, and fold user states.

    Example: KAFKA_BOOTSTRAP_SERVERS=localhost:9092 roost label
    """
    from streams.label_role import run_label_roles  # noqa: PLC0415 - as above
    from streams.settings import LabelerSettings, UserStateSettings  # noqa: PLC0415 - as above

    user_state = settings_of(UserStateSettings)
    _run(
        "labeler",
        settings_of(LabelerSettings),
        lambda settings, stop: run_label_roles(settings, user_state, stop),
        json_lines=json_lines,
    )


def control(*, json_lines: JsonLines = False) -> None:
    """Answer rollout commands and take bundles through their stages.

    Example: KAFKA_BOOTSTRAP_SERVERS=localhost:9092 ROOST_REGISTRY=./bundles roost control
    """
    from streams.controller.role import run_controller  # noqa: PLC0415 - as above
    from streams.settings import ControllerSettings  # noqa: PLC0415 - as above

    _run("controller", settings_of(ControllerSettings), run_controller, json_lines=json_lines)


def serve(*, json_lines: JsonLines = False) -> None:
    """Keep a live index per bundle and answer queries over HTTP.

    Example: KAFKA_BOOTSTRAP_SERVERS=localhost:9092 ROOST_REGISTRY=./bundles ROOST_HTTP_PORT=8470 roost serve
    """
    from serving.node.role import run_node  # noqa: PLC0415 - as above
    from serving.settings import NodeSettings  # noqa: PLC0415 - as above

    _run("node", settings_of(NodeSettings), run_node, json_lines=json_lines)


def stop_on_signals() -> threading.Event:
    """Return an event that SIGTERM and SIGINT set: roles then drain, flush, commit and end."""
    stop = threading.Event()

    def ask_to_stop(signum: int, _frame: FrameType | None) -> None:
        log.info("%s: stopping", signal.Signals(signum).name)
        stop.set()

    signal.signal(signal.SIGTERM, ask_to_stop)
    signal.signal(signal.SIGINT, ask_to_stop)
    return stop


def announce(name: str, settings: RoleSettings, *, json_lines: bool) -> None:
    """Set logging up and say what starts; raises `RoostError` when the surfaces file is wrong."""
    set_up_logging()
    if json_lines or settings.log_format == "json":
        log_json_lines()
    surfaces_of(settings.surfaces)
    given = "bootstrap" in settings.model_fields_set
    log.info(
        "%s starting on the broker at %s%s", name, settings.bootstrap, "" if given else " (KAFKA_BOOTSTRAP_SERVERS is not set)"
    )


def run_until_stopped(name: str, role: Callable[[threading.Event], None]) -> None:
    """Run a role until SIGTERM or SIGINT; a broker that was away when the signal came is no failure."""
    stop = stop_on_signals()
    try:
        role(stop)
    except BrokerUnavailable:
        if not stop.is_set():
            raise
    log.info("%s stopped", name)


def _run(
    name: str,
    settings: SettingsT,
    role: Callable[[SettingsT, threading.Event], None],
    *,
    json_lines: bool,
    old_die_by_count: bool = False,
) -> None:
    announce(name, settings, json_lines=json_lines)
    hold_little()
    keep_pauses_short(old_die_by_count=old_die_by_count)
    run_until_stopped(name, lambda stop: role(settings, stop))
