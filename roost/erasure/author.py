"""An author's takedown: deletes of all the author published, and the author's name out of other users' states.

The embedder makes a delete of each candidate of it, which every node masks at once. A null is what is written: it beats every known
version, and no later copy of an old record brings the candidate back.
"""

import time
from collections.abc import Callable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from functools import partial

from roost.erasure.reading import partitions_of, records_of
from schemas.codec import decode, encode
from schemas.errors import InvalidInput, RoostError
from schemas.ids import check_candidate_id
from schemas.progress import OnProgress, untold
from schemas.records.candidates import Candidate, Publication
from schemas.records.users import User, UserEvent, UserState
from schemas.topics import CANDIDATES, PUBLICATIONS, USER_EVENTS, USER_STATES, USERS
from schemas.wire.tail import TailReader
from streams.outbox import Outbox, raise_for
from streams.userstate.withdrawn import withdrawn

# by the prefix of a candidate's id
_TOPIC_OF = {kind.PREFIX: topic for topic, kind in PUBLICATIONS.items()}


@dataclass(frozen=True, slots=True)
class Work:
    """What names an author: candidates to delete, and users whose profile or history to write anew without the name."""

    author_id: str
    candidate_ids: tuple[str, ...]
    states: tuple[UserState, ...]

    @property
    def followers(self) -> tuple[UserState, ...]:
        """Those who follow the author."""
        own = {self.author_id, account_of(self.author_id)}
        return tuple(state for state in self.states if not own.isdisjoint(state.follows))

    def is_without(self, state: bytes) -> bool:
        """Tell whether a user's state, as its record holds it, does not name the author."""
        return not names(decode(UserState, state), self.author_id)


def work_of(bootstrap: str, author_id: str, *, on_progress: OnProgress = untold) -> Work:
    """Return what of an author there is now, folded or not; raises `BrokerUnavailable` without a broker."""
    needle, account = author_id.encode(), account_of(author_id).encode()
    found: dict[bytes, None] = {}
    # what is published, folded or not: the newest record of each id counts
    for topic, kind in PUBLICATIONS.items():
        for record in records_of(bootstrap, topic, on_progress=on_progress):
            key, value = record.key or b"", record.value or b""
            found.pop(key, None)
            if value and (key == account or (needle in value and _publishes(kind, value, author_id))) and _is_candidate(key):
                found[key] = None
    for record in records_of(bootstrap, CANDIDATES, on_progress=on_progress):
        key, value = record.key or b"", record.value or b""
        if not value or (needle not in value and key not in found and key != account):
            continue
        candidate = decode(Candidate, value)
        # folded: what its topic holds, which may be the record from before the delete, counts no more
        found.pop(key, None)
        if candidate.attributes is not None and (key == account or candidate.attributes.author_id == author_id):
            found[key] = None
    states: dict[bytes, UserState] = {}
    for record in records_of(bootstrap, USER_STATES, on_progress=on_progress):
        key, value = record.key or b"", record.value or b""
        states.pop(key, None)
        if needle in value and names(state := decode(UserState, value), author_id):
            states[key] = state
    return Work(author_id, tuple(key.decode() for key in found), tuple(states.values()))


def take_down(bootstrap: str, work: Work, *, wait_s: float, on_progress: OnProgress = untold) -> None:
    """Write the deletes and the rewritten states, and wait until they are folded.

    Args:
        on_progress: called with what is waited for, how many are folded, and of how many.

    Raises:
        DeliveryFailed: the broker did not take something; run it again.
        RoostError: something was not folded within `wait_s`; it is in the log and will be.
    """
    ends = {topic: _ends(bootstrap, topic) for topic in (CANDIDATES, USER_STATES)}
    outbox = Outbox(bootstrap)
    for candidate_id in work.candidate_ids:
        outbox.produce(_TOPIC_OF[candidate_id[:2]], None, candidate_id.encode())
    for state in work.states:
        user, events = without(state, work.author_id)
        if user is not None:
            outbox.produce(USERS, encode(user), user.user_id.encode())
        for event in events:
            outbox.produce(USER_EVENTS, encode(event), event.user_id.encode())
    outbox.flush_all(timeout_s=60)
    raise_for(outbox.take_failures())
    folded = {candidate_id.encode() for candidate_id in work.candidate_ids}
    left_of = partial(_left, bootstrap, wait_s=wait_s, on_progress=on_progress)
    if left := left_of(CANDIDATES, ends[CANDIDATES], folded, lambda value: decode(Candidate, value).deleted):
        raise RoostError(
            f"the deletes of {work.author_id} are in the log; {len(left)} of {len(folded)} are not folded within {wait_s:g} s, "
            f"such as {min(left).decode()}; is `roost embed` running?"
        )
    named = {state.user_id.encode() for state in work.states}
    if left := left_of(USER_STATES, ends[USER_STATES], named, work.is_without):
        raise RoostError(
            f"{work.author_id} is taken down; {len(left)} of {len(named)} users who follow it, or have it in their history, are "
            f"not rewritten within {wait_s:g} s, such as {min(left).decode()}; is `roost label` running?"
        )


def _ends(bootstrap: str, topic: str) -> dict[int, int]:
    with TailReader(bootstrap, topic, range(partitions_of(bootstrap, topic))) as reader:
        return reader.end_offsets()


def _left(
    bootstrap: str,
    topic: str,
    start: Mapping[int, int],
    keys: AbstractSet[bytes],
    is_done: Callable[[bytes], bool],
    *,
    wait_s: float,
    on_progress: OnProgress,
) -> set[bytes]:
    """Return the keys of which no record after `start` is done, or a null, within the time."""
    left, deadline_s = set(keys), time.monotonic() + wait_s
    with TailReader(bootstrap, topic, list(start), start=start) as reader:
        while left and time.monotonic() < deadline_s:
            for record in reader.poll(10_000, 0.5):
                if record.key in left and (record.value is None or is_done(record.value)):
                    left.discard(record.key)
            on_progress(f"{topic} folded", len(keys) - len(left), len(keys))
    return left


def account_of(author_id: str) -> str:
    """Return the candidate id of an author's account."""
    return author_id if author_id.startswith("a:") else f"a:{author_id}"


def names(state: UserState, author_id: str) -> bool:
    """Tell whether a user's state names an author, or the author's account."""
    own = {author_id, account_of(author_id)}
    return not own.isdisjoint(state.follows) or any(not own.isdisjoint((e.author_id, e.candidate_id)) for e in state.entries)


def without(state: UserState, author_id: str) -> tuple[User | None, list[UserEvent]]:
    """Return the profile (None when it need not change) and the events whose fold leaves the state without the author's name.

    Both win by the rules that every input follows, and lose to what the user really does later: the profile is the known one with
    the next sequence, an entry is the known one a millisecond later. What the user did with the author's account is withdrawn.
    """
    own = {author_id, account_of(author_id)}
    user = None
    if not own.isdisjoint(state.follows):
        user = User(
            state.user_id,
            state.profile_time_ms,
            state.profile_sequence + 1,
            languages=state.languages,
            region=state.region,
            follows=tuple(followed for followed in state.follows if followed not in own),
            interests=state.interests,
        )
    entries = [withdrawn(e) for e in state.entries if e.candidate_id in own]
    entries += [
        replace(e, event_time_ms=e.event_time_ms + 1, author_id=None)
        for e in state.entries
        if e.author_id in own and e.candidate_id not in own
    ]
    return user, [UserEvent.of(state.user_id, entry) for entry in entries]


def _publishes(kind: type[Publication], value: bytes, author_id: str) -> bool:
    try:
        return decode(kind, value).attributes().author_id == author_id
    except InvalidInput:
        return False


def _is_candidate(key: bytes) -> bool:
    try:
        check_candidate_id(key.decode())
    # no candidate's key: the embedder dead-letters it
    except (InvalidInput, UnicodeDecodeError):
        return False
    return True
