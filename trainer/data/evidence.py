"""What a skew audit compares: served examples, and what the topics say of their users and of what was done to their candidates."""

import sys
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from typing import Generic, TypeVar

from schemas.progress import OnProgress, untold
from schemas.records.base import Message
from schemas.records.candidates import Candidate
from schemas.records.feedback import Engagement, Example, Provenance
from schemas.records.users import UserState
from schemas.topics import ENGAGEMENTS, USER_STATES
from schemas.wire.admin import make_admin, offsets_since
from schemas.wire.inbound import InboundRecord
from trainer.data.skew import Evidence
from trainer.data.tail import TopicTail, decoded, partitions_of

MessageT = TypeVar("MessageT", bound=Message)

# a tweet says when it was made by its producer's clock, a record when it was appended by the broker's
_CLOCKS_APART_MS = 300_000


def newest_served(examples: Iterable[Example], sample: int) -> list[Example]:
    """Return the newest `sample` examples that were joined to what was served, by event time."""
    return sorted((one for one in examples if one.provenance is Provenance.SERVED), key=_event_time_ms)[-sample:]


def evidence_of(
    bootstrap: str, served: Sequence[Example], candidates: Mapping[str, Candidate], *, on_progress: OnProgress = untold
) -> Evidence:
    """Read the states of the examples' users, and what was done to their candidates.

    Args:
        served: read before this, so that what is read here is newer.
        candidates: their newest states, by id; one that is missing is not compared.
        on_progress: as of `TopicTail`.

    Raises:
        BrokerUnavailable: no broker, or no such topic yet.
    """
    users = {one.user_id for one in served}
    with closing(_KeysTail(bootstrap, USER_STATES, users, UserState, newest_only=True, on_progress=on_progress)) as tail:
        states = tail.read()
    created_ms = [one.attributes.created_ms for one in candidates.values() if one.attributes is not None]
    engagements, counted_from_ms = (
        _engagements(bootstrap, set(candidates), since_ms=min(created_ms), on_progress=on_progress) if created_ms else ({}, 0)
    )
    return Evidence(served, {user: found[-1] for user, found in states.items()}, candidates, engagements, counted_from_ms)


def _engagements(
    bootstrap: str, candidates: set[str], *, since_ms: int, on_progress: OnProgress
) -> tuple[Mapping[str, Sequence[Engagement]], int]:
    """Read what was done to candidates, of which the oldest was made at `since_ms`: nothing of it was appended before.

    Returns:
        It, and from when on, Unix ms, candidates were made of whose engagements retention has taken none.
    """
    partitions, admin = partitions_of(bootstrap, ENGAGEMENTS), make_admin(bootstrap)
    start = offsets_since(admin, ENGAGEMENTS, partitions, max(since_ms - _CLOCKS_APART_MS, 0))
    with closing(_KeysTail(bootstrap, ENGAGEMENTS, candidates, Engagement, newest_only=False, on_progress=on_progress)) as tail:
        found, first_ms = tail.read(start), tail.first_ms
    # asked last: what retention takes while it is read was read, or is known to be gone
    oldest = offsets_since(admin, ENGAGEMENTS, partitions, 0)
    cut = [partition for partition in partitions if oldest[partition] and start[partition] <= oldest[partition]]
    return found, max((first_ms.get(partition, sys.maxsize) + _CLOCKS_APART_MS for partition in cut), default=0)


def _event_time_ms(example: Example) -> int:
    return example.event_time_ms


class _KeysTail(TopicTail, Generic[MessageT]):
    """The records of some keys; a null takes back what came before it. `first_ms` is the append time of each partition's first."""

    def __init__(
        self,
        bootstrap: str,
        topic: str,
        keys: set[str],
        message: type[MessageT],
        *,
        newest_only: bool,
        on_progress: OnProgress,
    ) -> None:
        super().__init__(bootstrap, topic, on_progress=on_progress)
        self._keys = keys
        self._message = message
        self._newest_only = newest_only
        self._begin((), {})

    def read(self, start: Mapping[int, int] | None = None) -> dict[str, list[MessageT]]:
        self._catch_up(start)
        return self._found

    def _begin(self, partitions: Sequence[int], start: Mapping[int, int]) -> None:
        self._found: dict[str, list[MessageT]] = {}
        self.first_ms: dict[int, int] = {}

    def _take(self, record: InboundRecord) -> None:
        self.first_ms.setdefault(record.partition, record.timestamp_ms)
        key = (record.key or b"").decode("utf-8", "replace")
        if key not in self._keys:
            return
        if record.value is None or self._newest_only:
            self._found.pop(key, None)
        message = decoded(self._message, record)
        if message is not None:
            self._found.setdefault(key, []).append(message)
