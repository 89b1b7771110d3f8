"""The labeler as a process: settings to a running job. Holds no rule of the join."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from schemas.surfaces import load_surfaces
from schemas.topics import LABELER_STATE
from schemas.wire.registry import RegistrySchemas, registry_schemas
from streams.labeler.processor import LABELER_TOPICS, LabelProcessor
from streams.labeler.view import TopicSight
from streams.metrics import LabelerMetrics, RunnerMetrics, metrics_served
from streams.runner.faust_runner import group_settings, run_jobs
from streams.runner.partitions import Job
from streams.runner.start import ready_broker
from streams.settings import LabelerSettings


@contextmanager
def labeler_job(
    settings: LabelerSettings, metrics: LabelerMetrics | None = None, *, schemas: RegistrySchemas | None = None
) -> Iterator[Job]:
    """Yield the labeler's job; it follows `candidates` and `user-states` until the context ends."""
    surfaces = load_surfaces(settings.surfaces)
    metrics = metrics or LabelerMetrics()
    sight = TopicSight(settings.bootstrap, settings.partitions)
    try:
        yield Job(
            "labeler",
            LABELER_TOPICS,
            LABELER_STATE,
            lambda partition, store: LabelProcessor(
                partition, store, surfaces=surfaces, sight=sight, lookup=schemas, metrics=metrics
            ),
            before_batch=sight.refresh,
            batch_records=settings.batch_records,
            batch_within_s=settings.batch_within_s,
            tick_s=settings.tick_s,
            dropped=metrics.dropped,
            answered=schemas.answered if schemas else None,
        )
    finally:
        sight.close()


def run_labeler(settings: LabelerSettings, stop: threading.Event) -> None:
    """Join until `stop` is set. Waits for a broker first.

    Raises:
        BrokerUnavailable: none answered in time.
        TopicMismatch: a topic differs from the contracts.
        DeliveryFailed: an output was not acknowledged; nothing is committed, a restart goes on.
    """
    group = group_settings(settings, settings.group, wedged_after_s=settings.wedged_after_s)
    with metrics_served(settings) as registry:
        metrics = RunnerMetrics(registry)
        ready_broker(settings, stop.is_set)
        with (
            registry_schemas(settings.schema_registry_url) as schemas,
            labeler_job(settings, LabelerMetrics(registry), schemas=schemas) as job,
        ):
            run_jobs(group, [job], stop, metrics=metrics)
