"""What a skew audit compares, read from the topics: newest served examples, and all that is known of their users and candidates."""

from collections.abc import Mapping, Sequence
from typing import Generic, TypeVar

from schemas.records.base import Message
from schemas.records.candidates import Candidate
from schemas.records.feedback import Engagement, Example, Provenance
from schemas.records.users import UserState
from schemas.topics import CANDIDATES, ENGAGEMENTS, USER_STATES
from schemas.wire.inbound import InboundRecord
from trainer.data.skew import Evidence
from trainer.data.tail import TopicTail
from trainer.data.topics import ExampleTail, decoded

MessageT = TypeVar("MessageT", bound=Message)


def read_evidence(bootstrap: str, surface: str, *, sample: int) -> Evidence:
    """Read what an audit of a surface's newest `sample` served examples needs.

    Raises:
        BrokerUnavailable: no broker, or no such topic yet.
    """
    tail = ExampleTail(bootstrap, surface, max_examples=4 * sample)
    try:
        window = tail.window()
    finally:
        tail.close()
    served = [one for one in window.examples() if one.provenance is Provenance.SERVED]
    # examples first: what is read of the others then is newer than they
    newest = sorted(served, key=_event_time_ms)[-sample:]
    users, candidates = {one.user_id for one in newest}, {one.candidate_id for one in newest}
    return Evidence(
        newest,
        {key: found[-1] for key, found in _of_keys(bootstrap, USER_STATES, users, UserState, newest_only=True).items()},
        {key: found[-1] for key, found in _of_keys(bootstrap, CANDIDATES, candidates, Candidate, newest_only=True).items()},
        _of_keys(bootstrap, ENGAGEMENTS, candidates, Engagement, newest_only=False),
    )


def _event_time_ms(example: Example) -> int:
    return example.event_time_ms


def _of_keys(
    bootstrap: str, topic: str, keys: set[str], message: type[MessageT], *, newest_only: bool
) -> Mapping[str, Sequence[MessageT]]:
    tail = _KeysTail(bootstrap, topic, keys, message, newest_only=newest_only)
    try:
        return tail.read()
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

    def read(self) -> dict[str, list[MessageT]]:
        self._catch_up()
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
