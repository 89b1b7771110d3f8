"""Labeler and user state in one process: one Faust application, one consumer group, half the memory of two."""

import threading

from schemas.groups import LABEL
from schemas.wire.registry import registry_schemas
from streams.labeler.job import labeler_job
from streams.metrics import LabelerMetrics, RunnerMetrics, metrics_served
from streams.runner.faust_runner import run_jobs
from streams.runner.folded import FoldedPositions
from streams.runner.group import group_settings
from streams.runner.start import ready_broker
from streams.settings import LabelerSettings, UserStateSettings
from streams.userstate.job import user_state_job


def run_label_roles(labeler: LabelerSettings, user_state: UserStateSettings, stop: threading.Event) -> None:
    """Run both until `stop` is set. Waits for a broker first; what both share, from broker to metrics, are the labeler's settings.

    Raises:
        BrokerUnavailable: none answered in time.
        TopicMismatch: a topic differs from the contracts.
        DeliveryFailed: an output was not acknowledged; nothing is committed, a restart goes on.
    """
    group = group_settings(labeler, LABEL.group, wedged_after_s=labeler.wedged_after_s)
    with metrics_served(labeler) as registry:
        metrics = RunnerMetrics(registry)
        ready_broker(labeler, stop.is_set)
        # each tells here how far it is: the labeler's windows wait for user state
        folded = FoldedPositions()
        with (
            registry_schemas(labeler.schema_registry_url) as schemas,
            labeler_job(labeler, LabelerMetrics(registry), schemas=schemas, folded=folded) as job,
        ):
            run_jobs(group, [job, user_state_job(user_state, schemas=schemas, folded=folded)], stop, metrics=metrics)
