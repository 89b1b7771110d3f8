"""Folds one partition of `users` and `user-events` into user states. Its store's changelog is the topic `user-states` itself."""

from collections import OrderedDict, defaultdict
from collections.abc import Sequence

from schemas.codec import SchemaLookup
from schemas.errors import InvalidInput
from schemas.ids import LAST_SEQUENCE, check_user_id
from schemas.records.users import User, UserEntry, UserEvent, UserState
from schemas.topics import STIR_KEY, USER_EVENTS, USER_STATES, USERS
from schemas.wire.inbound import InboundRecord
from streams.intake import read
from streams.processor import Clock, Work
from streams.state import StateStore, read_state
from streams.userstate.encoding import EncodedEntries
from streams.userstate.fold import fold_entries, fold_profile
from streams.userstate.markers import Markers
from streams.voiding import voiding

USER_STATE_TOPICS = (USERS, USER_EVENTS)
# decoding 200 entries costs milliseconds and 100 kB: the users of the last minutes stay decoded, per partition
_DECODED_USERS = 1_000


class UserStateProcessor:
    """One partition. A state changed many times in a batch is encoded and logged once."""

    def __init__(self, store: StateStore, *, lookup: SchemaLookup | None = None) -> None:
        self._store = store
        self._lookup = lookup
        self._decoded: OrderedDict[str, tuple[UserState, EncodedEntries]] = OrderedDict()
        self._markers = Markers(store)

    def process(self, batch: Sequence[InboundRecord], clock: Clock) -> Work:
        """See `PartitionProcessor.process`. The states go to the store.

        A user's delete is written to `examples` as a null under the user's id: what the user was shown until then is void.
        """
        profiles: defaultdict[str, list[User]] = defaultdict(list)
        entries: defaultdict[str, list[UserEntry]] = defaultdict(list)
        dead: list[tuple[InboundRecord, InvalidInput]] = []
        for user_id in self._markers.due(clock.now_ms):
            self._decoded.pop(user_id, None)
            self._store.delete(user_id)
        for record in batch:
            if record.key == STIR_KEY and record.value is None:
                continue
            try:
                if record.topic == USERS:
                    user = self._read_user(record)
                    profiles[user.user_id].append(user)
                else:
                    event = read(UserEvent, record, lambda event: event.user_id, lookup=self._lookup)
                    entries[event.user_id].append(event.entry())
            except InvalidInput as error:
                dead.append((record, error))
        for user_id in {**profiles, **entries}:
            state, encoded = self._decoded_state(user_id)
            folded = state
            for user in profiles.get(user_id, ()):
                folded = fold_profile(folded, user)
            folded = fold_entries(folded, entries.get(user_id, ()))
            if folded is not state:
                self._keep(folded, encoded)
                self._store.put(user_id, encoded.encode(folded))
                self._markers.note(folded, clock.now_ms)
        # again when the delete comes again: the one before may have been lost in the crash that brought it back
        void = [user_id for user_id, sent in profiles.items() if any(user.deleted for user in sent)]
        return Work(tuple(voiding(user_id, self._decoded_state(user_id)[0].erased_ms) for user_id in void), tuple(dead))

    def _read_user(self, record: InboundRecord) -> User:
        if record.value is not None:
            return read(User, record, lambda user: user.user_id, lookup=self._lookup)
        # a null on a compacted topic is how foreign producers delete; the append time is the only time it has
        user_id = (record.key or b"").decode("utf-8", "surrogateescape")
        check_user_id(user_id)
        return User(user_id, record.timestamp_ms, LAST_SEQUENCE, deleted=True)

    def _decoded_state(self, user_id: str) -> tuple[UserState, EncodedEntries]:
        known = self._decoded.get(user_id)
        if known is not None:
            return known
        data = self._store.get(user_id)
        state = read_state(UserState, USER_STATES, user_id, data) if data is not None else UserState(user_id)
        encoded = EncodedEntries()
        self._keep(state, encoded)
        return state, encoded

    def _keep(self, state: UserState, encoded: EncodedEntries) -> None:
        self._decoded[state.user_id] = (state, encoded)
        self._decoded.move_to_end(state.user_id)
        if len(self._decoded) > _DECODED_USERS:
            self._decoded.popitem(last=False)
