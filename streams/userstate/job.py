"""User state's job, from its settings. Holds no rule of the fold."""

from schemas.topics import USER_STATES, USERS
from schemas.wire.registry import RegistrySchemas
from streams.runner.folded import FoldedPositions
from streams.runner.partitions import Job
from streams.settings import UserStateSettings
from streams.userstate.processor import USER_STATE_TOPICS, UserStateProcessor

# markers of deleted users end by the day; what was read to its end is told within seconds
_TICK_S = 1.0


def user_state_job(settings: UserStateSettings, *, schemas: RegistrySchemas | None, folded: FoldedPositions) -> Job:
    """Return user state's job, which tells `folded` how far it is. Its changelog is `user-states`: output and state are one."""
    return Job(
        "user-state",
        USER_STATE_TOPICS,
        USER_STATES,
        lambda _, store: UserStateProcessor(store, lookup=schemas),
        batch_records=settings.batch_records,
        batch_within_s=settings.batch_within_s,
        answered=schemas.answered if schemas else None,
        tick_s=_TICK_S,
        folded=folded.note,
        stirs=(USERS,),
    )
