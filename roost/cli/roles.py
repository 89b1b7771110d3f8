"""`roost embed`, `label`, `control` and `serve`: one role in this process, as the containers run it. Wires settings to roles."""

import logging
import signal
import threading
from collections.abc import Callable
from types import FrameType

from roost.cli.output import set_up_logging

log = logging.getLogger(__name__)


def embed() -> None:
    """Embed candidates as they change, for every bundle in use.

    Example: KAFKA_BOOTSTRAP_SERVERS=localhost:9092 ROOST_REGISTRY=./bundles roost embed
    """
    from streams.embedder.role import run_embedder  # noqa: PLC0415 - each role loads only what its extra installs
    from streams.settings import EmbedderSettings  # noqa: PLC0415 - as above

    _run("embedder", lambda stop: run_embedder(EmbedderSettings(), stop))


def label() -> None:
    """Join impressions with engagements into examples, and fold user states.

    Example: KAFKA_BOOTSTRAP_SERVERS=localhost:9092 roost label
    """
    from streams.label_role import run_label_roles  # noqa: PLC0415 - as above
    from streams.settings import LabelerSettings, UserStateSettings  # noqa: PLC0415 - as above

    _run("labeler", lambda stop: run_label_roles(LabelerSettings(), UserStateSettings(), stop))


def control() -> None:
    """Answer rollout commands and take bundles through their stages.

    Example: KAFKA_BOOTSTRAP_SERVERS=localhost:9092 ROOST_REGISTRY=./bundles roost control
    """
    from streams.controller.role import run_controller  # noqa: PLC0415 - as above
    from streams.settings import ControllerSettings  # noqa: PLC0415 - as above

    _run("controller", lambda stop: run_controller(ControllerSettings(), stop))


def serve() -> None:
    """Keep a live index per bundle and answer queries over HTTP.

    Example: KAFKA_BOOTSTRAP_SERVERS=localhost:9092 ROOST_REGISTRY=./bundles ROOST_HTTP_PORT=8470 roost serve
    """
    from serving.node.role import run_node  # noqa: PLC0415 - as above
    from serving.settings import NodeSettings  # noqa: PLC0415 - as above

    _run("node", lambda stop: run_node(NodeSettings(), stop))


def stop_on_signals() -> threading.Event:
    """Return an event that SIGTERM and SIGINT set: roles then drain, flush, commit and end."""
    stop = threading.Event()

    def ask_to_stop(signum: int, _frame: FrameType | None) -> None:
        log.info("%s: stopping", signal.Signals(signum).name)
        stop.set()

    signal.signal(signal.SIGTERM, ask_to_stop)
    signal.signal(signal.SIGINT, ask_to_stop)
    return stop


def _run(name: str, role: Callable[[threading.Event], None]) -> None:
    set_up_logging()
    log.info("%s starting", name)
    role(stop_on_signals())
    log.info("%s stopped", name)
