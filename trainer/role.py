"""The trainer's process: the schedules of its surfaces by turns until it is stopped. Decides neither when to train nor how."""

import logging
import threading
from collections.abc import Callable
from contextlib import ExitStack

from schemas.bundle import list_bundles, read_bundle
from schemas.errors import (
    BrokerUnavailable,
    BundleCorrupt,
    BundleError,
    BundleMismatch,
    BundlesUnavailable,
    CompareAndSetLost,
    ControllerUnavailable,
    DeliveryFailed,
    Refused,
)
from schemas.features.catalog import CATALOG
from schemas.registry.place import RegistryPlace
from schemas.surfaces import load_surfaces
from schemas.wire.admin import wait_for_broker
from trainer.data.topics import TopicSources
from trainer.export import export_graphs
from trainer.learning.towers import TowerConfig
from trainer.monitoring import TrainerMetrics
from trainer.options.settings import Options
from trainer.schedule import Plan, SurfaceSchedule
from trainer.settings import TrainerSettings

log = logging.getLogger(__name__)

OnBundle = Callable[[str, str], None]


def run_schedule(
    settings: TrainerSettings,
    options: Options,
    *,
    on_bundle: OnBundle,
    stop: threading.Event,
    metrics: TrainerMetrics | None = None,
) -> None:
    """Train every surface of `settings.train` on schedule until `stop` is set.

    Args:
        on_bundle: called with surface and bundle id of each published bundle; the caller asks for its rollout, and raises
            `Refused` or `CompareAndSetLost` when it is not taken. Where nobody answers it is called again.

    Raises:
        BrokerUnavailable: none answered within `settings.broker_wait_s`.
        ValueError: `settings.train` names a surface that does not exist.
    """
    surfaces = load_surfaces(settings.surfaces)
    if unknown := set(settings.train) - surfaces.keys():
        raise ValueError(f"no surface {sorted(unknown)}; there are {sorted(surfaces)}")
    metrics, plan = metrics or TrainerMetrics(), Plan.of(settings, options)
    wait_for_broker(settings.bootstrap, timeout_s=settings.broker_wait_s, should_stop=stop.is_set)
    with ExitStack() as stack:
        schedules: dict[str, SurfaceSchedule] = {}
        for name in settings.train:
            surface = surfaces[name]
            # while there is nothing to train on yet: the exporter's first run takes seconds
            shape = TowerConfig(dim=surface.dim) if plan.ensemble is None else plan.ensemble.shape(surface.dim)
            export_graphs(CATALOG[surface.feature_spec], shape)
            sources = stack.enter_context(TopicSources(settings.bootstrap, surface, surfaces, max_examples=settings.max_examples))
            schedules[name] = SurfaceSchedule(surface, sources, plan, registry=settings.registry, metrics=metrics)
        unknown_newest, untold = set(schedules), dict[str, str]()
        while not stop.wait(settings.poll_s):
            for name, schedule in schedules.items():
                if name in unknown_newest and note_newest(settings.registry, name, metrics):
                    unknown_newest.remove(name)
                step(name, schedule, on_bundle, untold, metrics)
                metrics.went_round()


def note_newest(registry: RegistryPlace, surface: str, metrics: TrainerMetrics) -> bool:
    """Tell the metrics of the newest bundle that can be read; False where the registry does not answer, and must be asked again."""
    try:
        for bundle in reversed(list_bundles(registry, surface)):
            try:
                metrics.newest(read_bundle(registry, surface, bundle).manifest)
            except (BundleCorrupt, BundleMismatch) as error:
                log.warning("%s: %s", surface, error)
            else:
                break
    except BundlesUnavailable as error:
        log.warning("%s: %s; trying again", surface, error)
        return False
    return True


def step(surface: str, schedule: SurfaceSchedule, on_bundle: OnBundle, untold: dict[str, str], metrics: TrainerMetrics) -> None:
    """Let a surface train if it is time, and hand over what is untold; its trouble must not keep the others from being trained."""
    try:
        bundle = schedule.step()
        if bundle is not None:
            untold[surface] = bundle
        if surface in untold:
            _hand_over(surface, untold, on_bundle, metrics)
    except (Refused, CompareAndSetLost) as refusal:
        log.warning("%s: %s", surface, refusal, extra={"surface": surface})
    except BundleError as error:
        log.error("%s: %s", surface, error)  # noqa: TRY400  the sentence says it all
    except OSError as error:
        if error.filename is None:
            raise
        # a full disk, or a read-only one: the next training may find room
        log.error(  # noqa: TRY400  the sentence says it all
            "%s: %s: %s; make room there, or name another folder", surface, error.filename, error.strerror
        )
    except (BrokerUnavailable, ControllerUnavailable, DeliveryFailed) as error:
        log.warning("%s: %s; trying again", surface, error)


def _hand_over(surface: str, untold: dict[str, str], on_bundle: OnBundle, metrics: TrainerMetrics) -> None:
    try:
        on_bundle(surface, untold[surface])
    except (Refused, CompareAndSetLost):
        # somebody decided against this bundle; a later training that is refused says nothing of it
        del untold[surface]
        metrics.rollout_refused(surface)
        raise
    del untold[surface]
