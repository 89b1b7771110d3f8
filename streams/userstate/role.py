"""User state as a process: settings to a running job. Holds no rule of the fold."""

import threading

from schemas.topics import USER_STATES, USERS
from schemas.wire.registry import RegistrySchemas, registry_schemas
from streams.metrics import RunnerMetrics, metrics_served
from streams.runner.faust_runner import group_settings, run_jobs
from streams.runner.partitions import Job
from streams.runner.start import ready_broker
from streams.settings import UserStateSettings
from streams.userstate.processor import USER_STATE_TOPICS, UserStateProcessor

# markers of deleted users end by the day
_TICK_S = 60.0


def user_state_job(settings: UserStateSettings, *, schemas: RegistrySchemas | None = None) -> Job:
    """Return user state's job. Its changelog is `user-states`: the output and the state are one."""
    return Job(
        "user-state",
        USER_STATE_TOPICS,
        USER_STATES,
        lambda _, store: UserStateProcessor(store, lookup=schemas),
        batch_records=settings.batch_records,
        batch_within_s=settings.batch_within_s,
        answered=schemas.answered if schemas else None,
        tick_s=_TICK_S,
        stirs=(USERS,),
    )


def run_user_state(settings: UserStateSettings, stop: threading.Event) -> None:
    """Fold until `stop` is set. Waits for a broker first; raises as `streams.labeler.role.run_labeler`."""
    group = group_settings(settings, settings.group, wedged_after_s=settings.wedged_after_s)
    with metrics_served(settings) as registry:
        metrics = RunnerMetrics(registry)
        ready_broker(settings, stop.is_set)
        with registry_schemas(settings.schema_registry_url) as schemas:
            run_jobs(group, [user_state_job(settings, schemas=schemas)], stop, metrics=metrics)
