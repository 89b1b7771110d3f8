"""Deleting one user: the null on `users`, and the proof that user state has folded it. Knows no authors."""

import time
from dataclasses import dataclass

from confluent_kafka import KafkaError, Message

from roost.erasure.reading import partitions_of, records_of
from schemas.codec import decode
from schemas.errors import RoostError
from schemas.progress import OnProgress, untold
from schemas.records.users import UserState
from schemas.topics import USER_STATES, USERS
from schemas.wire.partition import partition_of
from schemas.wire.tail import TailReader
from streams.outbox import Outbox, raise_for


@dataclass(frozen=True, slots=True)
class UserErasure:
    """A delete that user state has folded: what came before `erased_ms` (Unix milliseconds) counts no more, anywhere."""

    user_id: str
    erased_ms: int


def newest_state(bootstrap: str, user_id: str, *, on_progress: OnProgress = untold) -> UserState | None:
    """Return a user's state now, or None; raises `BrokerUnavailable` without a broker or the topic."""
    newest: bytes | None = None
    partition = _partition(bootstrap, user_id)
    for record in records_of(bootstrap, USER_STATES, partitions=[partition], on_progress=on_progress):
        if record.key == user_id.encode():
            newest = record.value
    return None if newest is None else decode(UserState, newest)


def delete_user(bootstrap: str, user_id: str, *, wait_s: float, on_progress: OnProgress = untold) -> UserErasure:
    """Write the delete and wait until user state has folded it.

    Args:
        on_progress: told that it is waited for.

    Raises:
        DeliveryFailed: the broker did not take it.
        RoostError: it was not folded within `wait_s`; it is in the log and will be.
    """
    partition = _partition(bootstrap, user_id)
    with TailReader(bootstrap, USER_STATES, [partition]) as reader:
        end = reader.end_offsets()[partition]
    outbox = Outbox(bootstrap)
    appended_ms: list[int] = []

    def note(error: KafkaError | None, message: Message) -> None:
        if error is None:
            appended_ms.append(message.timestamp()[1])

    # a null, not a record: compaction removes a null with its key, and would keep a record under its key for ever
    outbox.produce(USERS, None, user_id.encode(), on_delivery=note)
    outbox.flush_all(timeout_s=30)
    raise_for(outbox.take_failures())
    deadline_s = time.monotonic() + wait_s
    with TailReader(bootstrap, USER_STATES, [partition], start={partition: end}) as reader:
        while time.monotonic() < deadline_s:
            on_progress("user state folds the delete", 0, 0)
            for record in reader.poll(10_000, 0.5):
                if record.key != user_id.encode() or record.value is None:
                    continue
                state = decode(UserState, record.value)
                # what the user does meanwhile is folded into a state that may know of an earlier delete
                if state.erased_ms < max(appended_ms):
                    continue
                if state.profile_time_ms > state.erased_ms:
                    ahead_s = (state.profile_time_ms - state.erased_ms) / 1000
                    raise RoostError(
                        f"{user_id} has a profile of {ahead_s:.0f} s after the delete: a producer still writes, or its clock is "
                        "fast; stop it and delete again"
                    )
                return UserErasure(user_id, state.erased_ms)
    raise RoostError(
        f"the delete of {user_id} is in the log, and user state has not folded it within {wait_s:g} s; is `roost label` running?"
    )


def _partition(bootstrap: str, user_id: str) -> int:
    return partition_of(user_id.encode(), partitions_of(bootstrap, USER_STATES))
