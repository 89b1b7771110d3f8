"""`roost train schedule`: trains again and again, and has each bundle rolled out. Parses words; `trainer` does the work."""

import logging
import time
import uuid
from collections.abc import Callable
from typing import Annotated, Literal

import typer

from roost.cli.checked import settings_of, surfaces_of
from roost.cli.roles import JsonLines, announce, run_until_stopped
from schemas.errors import RoostError
from schemas.ids import actor_of_process
from schemas.records.control import CommandKind, RolloutCommand
from streams.controller.client import RolloutClient

log = logging.getLogger(__name__)


def schedule(
    *,
    rollout: Annotated[
        Literal["auto", "ask"],
        typer.Option(help="auto: a bundle that passes its gates starts a rollout; ask: it is only published."),
    ] = "auto",
    json_lines: JsonLines = False,
) -> None:
    """Train surfaces on fresh examples, again and again; settings from the environment, as for every role.

    ROOST_TRAIN names the surfaces, separated by commas; home-timeline by default. ROOST_TRAIN_RECIPE=ensemble trains ensembles in
    place of fine-tunes.

    Example: KAFKA_BOOTSTRAP_SERVERS=localhost:9092 ROOST_REGISTRY=./bundles roost train schedule --rollout ask
    """
    from streams.metrics import metrics_served  # noqa: PLC0415 - only an extra brings Prometheus' client
    from trainer.data.cache import require_writable  # noqa: PLC0415 - as above
    from trainer.monitoring import TrainerMetrics  # noqa: PLC0415 - as above
    from trainer.options.settings import (  # noqa: PLC0415 - as above
        EnsembleOptions,
        FinetuneOptions,
        GateOptions,
        Options,
        PretrainOptions,
    )
    from trainer.role import run_schedule  # noqa: PLC0415 - torch takes seconds to load
    from trainer.settings import TrainerSettings  # noqa: PLC0415 - as above

    settings = settings_of(TrainerSettings)
    options = Options(
        settings_of(PretrainOptions),
        settings_of(FinetuneOptions),
        settings_of(EnsembleOptions),
        settings_of(GateOptions).limits,
    )
    announce("trainer", settings, json_lines=json_lines)
    if unknown := set(settings.train) - surfaces_of(settings.surfaces).keys():
        raise RoostError(f"ROOST_TRAIN names no surface: {', '.join(sorted(unknown))}")
    if settings.train_cache is not None:
        for name in settings.train:
            require_writable(settings.train_cache, name)
    hand_over = _starting_rollouts(settings.bootstrap) if rollout == "auto" else _asking
    with metrics_served(settings) as registry:
        metrics = TrainerMetrics(registry)
        run_until_stopped("trainer", lambda stop: run_schedule(settings, options, on_bundle=hand_over, stop=stop, metrics=metrics))


def _starting_rollouts(bootstrap: str) -> Callable[[str, str], None]:
    def start(surface: str, bundle: str) -> None:
        now_ms = time.time_ns() // 1_000_000
        # the same whenever the bundle is handed over: what nobody answered in time is in the log, and is to be answered once
        name = uuid.uuid5(uuid.NAMESPACE_OID, f"{surface}/{bundle}").hex
        command = RolloutCommand(
            name, surface, CommandKind.START, actor=actor_of_process(), time_ms=now_ms, bundle=bundle, automatic=True
        )
        # refused while one is under way, or the surface is frozen: the controller starts it then, or a newer one
        with RolloutClient(bootstrap) as client:
            client.send(command, timeout_s=30.0)

    return start


def _asking(surface: str, bundle: str) -> None:
    log.info("%s is published; `roost rollout start %s --surface %s` rolls it out", bundle, bundle, surface)
