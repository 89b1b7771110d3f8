"""The labeler's job, from its settings. Holds no rule of the join."""

from collections.abc import Iterator
from contextlib import contextmanager

from schemas.surfaces import load_surfaces
from schemas.topics import LABELER_STATE
from schemas.wire.admin import make_admin
from schemas.wire.ends import log_ends
from schemas.wire.registry import RegistrySchemas
from streams.labeler.processor import LABELER_TOPICS, LabelProcessor
from streams.labeler.view import TopicSight
from streams.metrics import LabelerMetrics
from streams.runner.partitions import Job
from streams.settings import LabelerSettings


@contextmanager
def labeler_job(settings: LabelerSettings, metrics: LabelerMetrics, *, schemas: RegistrySchemas | None) -> Iterator[Job]:
    """Yield the labeler's job; it follows `candidates` and `user-states` until the context ends."""
    surfaces = load_surfaces(settings.surfaces)
    sight = TopicSight(settings.bootstrap, settings.partitions)
    admin = make_admin(settings.bootstrap)

    def ends(partition: int) -> dict[str, int]:
        return {topic: end for (topic, _), end in log_ends(admin, [(topic, partition) for topic in LABELER_TOPICS]).items()}

    try:
        yield Job(
            "labeler",
            LABELER_TOPICS,
            LABELER_STATE,
            lambda partition, store: LabelProcessor(
                partition, store, ends=ends(partition), surfaces=surfaces, sight=sight, lookup=schemas, metrics=metrics
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
