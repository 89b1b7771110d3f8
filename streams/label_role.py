"""Labeler and user state in one process: one Faust application, one consumer group, half the memory of two."""

import threading

from schemas.groups import LABEL
from schemas.wire.registry import registry_schemas
from streams.labeler.role import labeler_job
from streams.metrics import LabelerMetrics, RunnerMetrics, metrics_served
from streams.runner.faust_runner import group_settings, run_jobs
from streams.runner.start import ready_broker
from streams.settings import LabelerSettings, UserStateSettings
from streams.userstate.role import user_state_job


def run_label_roles(labeler: LabelerSettings, user_state: UserStateSettings, stop: threading.Event) -> None:
    """Run both until `stop` is set. Broker, schema registry, partitions and timing of the group are the labeler's settings.

    Switching between this and the roles apart is safe, with the other stopped: joins remember the offsets they folded, and a
    user's state is a set. Raises as `streams.labeler.role.run_labeler`.
    """
    group = group_settings(labeler, LABEL.group, wedged_after_s=labeler.wedged_after_s)
    with metrics_served(labeler) as registry:
        metrics = RunnerMetrics(registry)
        ready_broker(labeler, stop.is_set)
        with (
            registry_schemas(labeler.schema_registry_url) as schemas,
            labeler_job(labeler, LabelerMetrics(registry), schemas=schemas) as job,
        ):
            run_jobs(group, [job, user_state_job(user_state, schemas=schemas)], stop, metrics=metrics)
