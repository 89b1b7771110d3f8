"""The labeler's job, from its settings. Holds no rule of the join."""

from collections.abc import Iterator
from contextlib import closing, contextmanager

from schemas.surfaces import load_surfaces
from schemas.topics import LABELER_STATE
from schemas.wire.admin import make_admin
from schemas.wire.ends import log_ends
from schemas.wire.registry import RegistrySchemas
from streams.labeler.barriers import Barriers
from streams.labeler.held import OUT_OF_ORDER_MS, NothingAwaited
from streams.labeler.processor import LABELER_TOPICS, LabelProcessor, latest_ms
from streams.labeler.reach import BrokerLogs, UserStatesReach
from streams.labeler.view import TopicSight
from streams.metrics import LabelerMetrics
from streams.runner.folded import FoldedPositions
from streams.runner.partitions import Job
from streams.settings import LabelerSettings


@contextmanager
def _reach(
    settings: LabelerSettings, metrics: LabelerMetrics, folded: FoldedPositions, lateness_ms: int
) -> Iterator[UserStatesReach | NothingAwaited]:
    if not settings.user_states_wait_s:
        yield NothingAwaited()
        return
    logs = BrokerLogs(settings.bootstrap, settings.partitions)
    with UserStatesReach(
        Barriers(logs, folded, lateness_ms=max(lateness_ms, OUT_OF_ORDER_MS)),
        longest_s=settings.user_states_wait_s,
        on_given_up=metrics.states_given_up,
        on_end=logs.close,
    ) as reach:
        yield reach


@contextmanager
def labeler_job(
    settings: LabelerSettings, metrics: LabelerMetrics, *, schemas: RegistrySchemas | None, folded: FoldedPositions
) -> Iterator[Job]:
    """Yield the labeler's job; it follows `candidates` and `user-states` until the context ends.

    Args:
        folded: what the jobs of this process have folded, its own included.
    """
    surfaces = load_surfaces(settings.surfaces)
    sight = TopicSight(settings.bootstrap, settings.partitions)
    admin = make_admin(settings.bootstrap)

    def ends(partition: int) -> dict[str, int]:
        return {topic: end for (topic, _), end in log_ends(admin, [(topic, partition) for topic in LABELER_TOPICS]).items()}

    with closing(sight), _reach(settings, metrics, folded, latest_ms(surfaces)) as reach:

        def refresh() -> None:
            sight.refresh()
            reach.see(sight.user_states_next)

        yield Job(
            "labeler",
            LABELER_TOPICS,
            LABELER_STATE,
            lambda partition, store: LabelProcessor(
                partition,
                store,
                ends=ends(partition),
                surfaces=surfaces,
                sight=sight,
                reach=reach,
                states_wait_ms=round(settings.user_states_wait_s * 1000),
                lookup=schemas,
                metrics=metrics,
            ),
            before_batch=refresh,
            batch_records=settings.batch_records,
            batch_within_s=settings.batch_within_s,
            tick_s=settings.tick_s,
            dropped=metrics.dropped,
            answered=schemas.answered if schemas else None,
            folded=folded.note,
        )
