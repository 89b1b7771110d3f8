"""The newest record of every key of a compacted topic, in memory, decoded when asked for. Follows the topic; writes nothing."""

import time
from collections.abc import Sequence
from functools import lru_cache

from schemas.codec import HEADER_BYTES, decode, frame_head
from schemas.plain import NotPlain, read_long
from schemas.records.candidates import Candidate
from schemas.records.users import UserState
from schemas.topics import CANDIDATES, USER_STATES
from schemas.wire.inbound import InboundRecord
from schemas.wire.tail import TailReader
from streams.labeler.features import forget_tokens

DECODED_KEPT_S = 60.0
"""What was decoded is wanted again within seconds; what is erased meanwhile must not stay."""


class NewestByKey:
    """A compacted topic as a mapping from key to value bytes. One thread at a time."""

    def __init__(self, bootstrap: str, topic: str, partitions: Sequence[int], *, read_committed: bool) -> None:
        """Begin at the topic's beginning; `catch_up` reads what is there."""
        self._reader = TailReader(bootstrap, topic, partitions, read_committed=read_committed)
        self._values: dict[bytes, bytes] = {}

    def catch_up(self) -> None:
        """Read to the present end; raises `BrokerUnavailable` where nothing comes for half a minute before it."""
        for record in self._reader.to_end():
            self._put(record)

    def refresh(self) -> None:
        """Take what has arrived; never waits."""
        while self._take(0.0):
            pass

    def get(self, key: str) -> bytes | None:
        """Return the newest value of a key, or None."""
        return self._values.get(key.encode())

    @property
    def next_offsets(self) -> dict[int, int]:
        """The next offset to read, by partition."""
        return self._reader.next_offsets

    def close(self) -> None:
        """Stop following."""
        self._reader.close()

    def _take(self, timeout_s: float) -> bool:
        records = self._reader.poll(10_000, timeout_s)
        for record in records:
            self._put(record)
        return bool(records)

    def _put(self, record: InboundRecord) -> None:
        key = record.key or b""
        if record.value is None:
            self._values.pop(key, None)
        else:
            self._values[key] = record.value


class TopicSight:
    """What the labeler sees: `candidates` and `user-states`, all partitions of both."""

    def __init__(self, bootstrap: str, partitions: int) -> None:
        """Read both topics to their present ends: no impression may be read before."""
        every = range(partitions)
        self._candidates = NewestByKey(bootstrap, CANDIDATES, every, read_committed=True)
        self._user_states = NewestByKey(bootstrap, USER_STATES, every, read_committed=False)
        self._candidates.catch_up()
        self._user_states.catch_up()
        self._forgot_s = time.monotonic()

    def refresh(self) -> None:
        """Take what has arrived since; now and then let go of all that was decoded."""
        self._candidates.refresh()
        self._user_states.refresh()
        if time.monotonic() - self._forgot_s >= DECODED_KEPT_S:
            self._forgot_s = time.monotonic()
            _candidate.cache_clear()
            _user_state.cache_clear()
            forget_tokens()

    def candidate(self, candidate_id: str) -> Candidate | None:
        """See `Sight.candidate`."""
        data = self._candidates.get(candidate_id)
        return _candidate(data) if data is not None else None

    def user_state(self, user_id: str) -> UserState | None:
        """See `Sight.user_state`."""
        data = self._user_states.get(user_id)
        return _user_state(data) if data is not None else None

    def erased_ms(self, user_id: str) -> int:
        """See `Sight.erased_ms`."""
        data = self._user_states.get(user_id)
        return erased_ms_in(data) if data is not None else -1

    @property
    def user_states_next(self) -> dict[int, int]:
        """The next offset of `user-states` to read, by partition."""
        return self._user_states.next_offsets

    def close(self) -> None:
        """Stop following both."""
        self._candidates.close()
        self._user_states.close()


# impressions of one answer share a user, and popular candidates come again within seconds
@lru_cache(maxsize=4096)
def _candidate(data: bytes) -> Candidate:
    return decode(Candidate, data)


@lru_cache(maxsize=1024)
def _user_state(data: bytes) -> UserState:
    return decode(UserState, data)


def erased_ms_in(state: bytes) -> int:
    """Return an encoded user state's `erased_ms`, read up to there: two hundred entries behind it take two milliseconds."""
    if state.startswith(frame_head(UserState.SUBJECT)):
        try:
            return _erased_ms(state)
        except (NotPlain, IndexError):
            # of another form, which the general reader knows
            pass
    return decode(UserState, state).erased_ms


def _erased_ms(state: bytes) -> int:
    at = _behind_text(state, HEADER_BYTES)
    _, at = read_long(state, at)
    _, at = read_long(state, at)
    at = _behind_texts(state, at)
    at = _behind_text(state, at)
    at = _behind_texts(state, _behind_texts(state, at))
    return read_long(state, at)[0]


def _behind_text(data: bytes, at: int) -> int:
    length, at = read_long(data, at)
    if length < 0:
        raise NotPlain("a negative length")
    return at + length


def _behind_texts(data: bytes, at: int) -> int:
    count, at = read_long(data, at)
    while count > 0:
        for _ in range(count):
            at = _behind_text(data, at)
        count, at = read_long(data, at)
    if count < 0:
        raise NotPlain("an array in blocks")
    return at
