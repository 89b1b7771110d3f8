"""What a skew audit compares: served examples, and what the topics say of their users and of what was done to their candidates."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Generic, TypeVar

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


def evidence_of(bootstrap: str, served: Sequence[Example], candidates: Mapping[str, Candidate]) -> Evidence:
    """Read the states of the examples' users, and what was done to their candidates.

    Args:
        served: read before this, so that what is read here is newer.
        candidates: their newest states, by id; one that is missing is not compared.

    Raises:
        BrokerUnavailable: no broker, or no such topic yet.
    """
    states = _of_keys(bootstrap, USER_STATES, {one.user_id for one in served}, UserState, newest_only=True)
    created_ms = [one.attributes.created_ms for one in candidates.values() if one.attributes is not None]
    engagements = _engagements(bootstrap, set(candidates), since_ms=min(created_ms)) if created_ms else {}
    return Evidence(served, {user: found[-1] for user, found in states.items()}, candidates, engagements)


def _engagements(bootstrap: str, candidates: set[str], *, since_ms: int) -> Mapping[str, Sequence[Engagement]]:
    """Read what was done to candidates, of which the oldest was made at `since_ms`: nothing of it was appended before."""
    partitions = partitions_of(bootstrap, ENGAGEMENTS)
    start = offsets_since(make_admin(bootstrap), ENGAGEMENTS, partitions, max(since_ms - _CLOCKS_APART_MS, 0))
    return _of_keys(bootstrap, ENGAGEMENTS, candidates, Engagement, newest_only=False, start=start)


def _event_time_ms(example: Example) -> int:
    return example.event_time_ms


def _of_keys(
    bootstrap: str,
    topic: str,
    keys: set[str],
    message: type[MessageT],
    *,
    newest_only: bool,
    start: Mapping[int, int] | None = None,
) -> Mapping[str, Sequence[MessageT]]:
    tail = _KeysTail(bootstrap, topic, keys, message, newest_only=newest_only)
    try:
        return tail.read(start)
    finally:
        tail.close()


class _KeysTail(TopicTail, Generic[MessageT]):
    """The records of some keys; a null takes back what came before it."""

    def __init__(self, bootstrap: str, topic: str, keys: set[str], message: type[MessageT], *, newest_only: bool) -> None:
        super().__init__(bootstrap, topic)
        self._keys = keys
        self._message = message
        self._newest_only = newest_only
        self._begin((), {})

    def read(self, start: Mapping[int, int] | None) -> dict[str, list[MessageT]]:
        self._catch_up(start)
        return self._found

    def _begin(self, partitions: Sequence[int], start: Mapping[int, int]) -> None:
        self._found: dict[str, list[MessageT]] = {}

    def _take(self, record: InboundRecord) -> None:
        key = (record.key or b"").decode("utf-8", "replace")
        if key not in self._keys:
            return
        if record.value is None or self._newest_only:
            self._found.pop(key, None)
        message = decoded(self._message, record)
        if message is not None:
            self._found.setdefault(key, []).append(message)
