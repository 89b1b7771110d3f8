"""User state from one partition of profiles and user events, by hand."""

import pytest

from schemas.codec import decode, encode
from schemas.errors import RoostError
from schemas.records.base import Message
from schemas.records.users import User, UserEntry, UserEvent, UserEventKind, UserState
from schemas.topics import EXAMPLES, IMPRESSIONS, STIR_KEY, USER_EVENTS, USERS, standard_topics
from schemas.voided import erased_header
from schemas.wire.inbound import InboundRecord
from streams.processor import Clock
from streams.runner.changelog import ChangelogStore
from streams.state import OutboundRecord
from streams.userstate.encoding import EncodedEntries
from streams.userstate.fold import fold_entries, fold_profile
from streams.userstate.markers import KEPT_MS, is_marker
from streams.userstate.processor import UserStateProcessor
from streams.voiding import voiding

NOW_MS = 1_700_000_000_000


def record(topic: str, message: Message | bytes | None, *, key: bytes = b"u:1", offset: int = 0) -> InboundRecord:
    """Return a record appended now."""
    value = encode(message) if isinstance(message, Message) else message
    return InboundRecord(topic, 0, offset, NOW_MS, key, value)


def event(entry_id: str, at: int, *, kind: UserEventKind = UserEventKind.CLICK, author: str | None = None) -> UserEvent:
    """Return a user event of u:1."""
    return UserEvent("u:1", entry_id, kind, "t:1", at, author)


def state_of(store: ChangelogStore, user_id: str = "u:1") -> UserState:
    """Return what the store, and so the topic, holds."""
    data = store.get(user_id)
    assert data is not None
    return decode(UserState, data)


def fold(*records: InboundRecord, store: ChangelogStore | None = None) -> UserState:
    """Return the state after one batch."""
    store = store if store is not None else ChangelogStore()
    UserStateProcessor(store).process(records, Clock(NOW_MS))
    return state_of(store)


def test_a_profile_and_events_make_one_state_newest_first() -> None:
    """Nodes read the newest entries from the front."""
    state = fold(
        record(USERS, User("u:1", 5, 1, languages=("de",), region="eu", follows=("a:1",), interests=("chess",))),
        record(USER_EVENTS, event("a", 10)),
        record(USER_EVENTS, event("c", 20)),
        record(USER_EVENTS, event("b", 20)),
    )
    assert (state.languages, state.region, state.follows, state.interests) == (("de",), "eu", ("a:1",), ("chess",))
    assert [entry.entry_id for entry in state.entries] == ["c", "b", "a"]


@pytest.mark.parametrize("stray", [b"garbage", b"\x00" * 200])
def test_a_state_that_cannot_be_read_is_named(stray: bytes) -> None:
    """Every start would end of it: whoever reads the log must learn which record to remove."""
    with pytest.raises(RoostError, match=r"the state of 'u:1' in user-states cannot be read"):
        fold(record(USERS, User("u:1", 5, 1)), store=ChangelogStore({"u:1": stray}))


def test_an_older_profile_never_overwrites_a_newer_one() -> None:
    """Kafka redelivers; replay must be harmless."""
    new, old = User("u:1", 5, 2, languages=("de",)), User("u:1", 5, 1, languages=("en",))
    assert fold(record(USERS, new), record(USERS, old)).languages == ("de",)


def test_only_the_newest_200_entries_are_kept() -> None:
    """A state must fit a message, whoever the user is."""
    state = fold(*(record(USER_EVENTS, event(f"e{at:03}", at)) for at in range(250)))
    assert [entry.event_time_ms for entry in state.entries] == list(range(249, 49, -1))


def test_an_undo_is_an_entry() -> None:
    """Removing what it undoes would make the order of arrival matter."""
    state = fold(
        record(USER_EVENTS, event("un", 2, kind=UserEventKind.UNFAVORITE)),
        record(USER_EVENTS, event("fav", 1, kind=UserEventKind.FAVORITE)),
    )
    assert [entry.entry_id for entry in state.entries] == ["un", "fav"]


def test_a_deleted_user_keeps_only_a_marker_and_what_comes_after() -> None:
    """Late events of before the delete must not bring the user back."""
    state = fold(
        record(USER_EVENTS, event("before", 9)),
        record(USER_EVENTS, event("after", 11)),
        record(USERS, User("u:1", 10, 0, deleted=True)),
        record(USER_EVENTS, event("late", 10)),
        record(USERS, User("u:1", 9, 0, languages=("de",))),
    )
    assert (state.erased_ms, state.languages, [entry.entry_id for entry in state.entries]) == (10, (), ["after"])


def test_a_null_from_a_foreign_producer_deletes_as_of_its_append_time() -> None:
    """On a compacted topic a null is the usual way to delete."""
    state = fold(record(USERS, User("u:1", NOW_MS, 7, languages=("de",))), record(USERS, None))
    assert (state.erased_ms, state.languages) == (NOW_MS, ())


def test_a_delete_voids_the_users_examples_by_a_null_under_the_same_key() -> None:
    """The trainer reads that log alone: what it holds of the user must be void there, however late it was written."""
    store = ChangelogStore()
    deleted, profile = User("u:1", 10, 0, deleted=True), User("u:3", 10, 0)
    batch = [record(USERS, deleted), record(USERS, None, key=b"u:2"), record(USERS, profile, key=b"u:3")]
    work = UserStateProcessor(store).process(batch, Clock(NOW_MS))
    assert work.outputs == (voiding("u:1", 10), voiding("u:2", NOW_MS))
    assert work.outputs[0] == OutboundRecord(EXAMPLES, b"u:1", None, (erased_header(10),))
    # the one before may have been lost in the crash that brought the delete back
    assert UserStateProcessor(store).process(batch[:1], Clock(NOW_MS)).outputs == (voiding("u:1", 10),)


def test_a_marker_ends_once_nothing_of_before_the_delete_can_be_redelivered() -> None:
    """It is the last thing that names the user; ended earlier, a replay of a month would bring the history back."""
    store = ChangelogStore()
    processor = UserStateProcessor(store)
    processor.process([record(USERS, None), record(USER_EVENTS, event("before", NOW_MS - 5))], Clock(NOW_MS))
    processor.process([], Clock(NOW_MS + KEPT_MS - 1))
    assert is_marker(state_of(store))
    retained_ms = [int(topic.config["retention.ms"]) for topic in standard_topics() if topic.name in (IMPRESSIONS, USER_EVENTS)]
    assert max(retained_ms) < KEPT_MS
    processor.process([], Clock(NOW_MS + KEPT_MS))
    assert store.get("u:1") is None
    processor.process([record(USER_EVENTS, event("new", NOW_MS))], Clock(NOW_MS + KEPT_MS))
    assert state_of(store).erased_ms == -1, "nothing of it stays decoded either"


def test_a_marker_ends_after_a_restart_too() -> None:
    """A process rarely lives for a month."""
    store = ChangelogStore()
    UserStateProcessor(store).process([record(USERS, None)], Clock(NOW_MS))
    UserStateProcessor(store).process([], Clock(NOW_MS + KEPT_MS))
    assert store.get("u:1") is None


def test_a_delete_of_long_ago_keeps_out_what_came_before_it_and_is_read_later() -> None:
    """Old data is brought in topic by topic: a marker that ended by the delete's own time let the history back in for good."""
    long_ago_ms = NOW_MS - 2 * KEPT_MS
    store = ChangelogStore()
    processor = UserStateProcessor(store)
    processor.process([record(USERS, User("u:1", long_ago_ms, 0, deleted=True))], Clock(NOW_MS))
    processor.process([], Clock(NOW_MS + 1_000))
    processor.process([record(USER_EVENTS, event("before", long_ago_ms - 1))], Clock(NOW_MS + 2_000))
    assert is_marker(state_of(store))
    processor.process([], Clock(NOW_MS + KEPT_MS))
    assert store.get("u:1") is None


@pytest.mark.parametrize(
    "later", [record(USERS, User("u:1", NOW_MS + 1, 0, languages=("de",))), record(USER_EVENTS, event("e", NOW_MS + 1))]
)
def test_who_came_back_keeps_the_state(later: InboundRecord) -> None:
    """The marker is part of it then: what came before the delete stays out."""
    store = ChangelogStore()
    processor = UserStateProcessor(store)
    processor.process([record(USERS, None), later], Clock(NOW_MS))
    processor.process([], Clock(NOW_MS + 2 * KEPT_MS))
    assert state_of(store).erased_ms == NOW_MS


def test_the_null_that_keeps_a_partition_moving_is_nobodys_delete() -> None:
    """The role writes it to `users` itself, twice a day."""
    store = ChangelogStore()
    work = UserStateProcessor(store).process([record(USERS, None, key=STIR_KEY)], Clock(NOW_MS))
    assert (work.outputs, work.dead, len(store)) == ((), (), 0)


def test_a_user_may_come_back() -> None:
    """A delete is a version like any other."""
    state = fold(record(USERS, User("u:1", 10, 0, deleted=True)), record(USERS, User("u:1", 11, 0, languages=("de",))))
    assert (state.languages, state.erased_ms) == (("de",), 10)


def test_of_one_entry_id_the_one_that_knows_the_candidate_stays() -> None:
    """A redelivered event may have been re-keyed again, before or after the candidate was known."""
    bare, known = event("e", 5), event("e", 5, author="a:1")
    for order in ((bare, known), (known, bare)):
        (entry,) = fold(*(record(USER_EVENTS, item) for item in order)).entries
        assert entry.author_id == "a:1"


def test_many_changes_of_one_user_in_a_batch_are_one_write() -> None:
    """A user who reads a page makes twenty events within a second."""
    store = ChangelogStore()
    UserStateProcessor(store).process([record(USER_EVENTS, event(f"e{n}", n)) for n in range(20)], Clock(NOW_MS))
    assert len(store.take_changes()) == 1


def test_a_repeated_batch_writes_nothing() -> None:
    """A replay must not fill the topic with what it already holds."""
    store, batch = ChangelogStore(), [record(USER_EVENTS, event("e", 1)), record(USERS, User("u:1", 1, 0, region="x"))]
    UserStateProcessor(store).process(batch, Clock(NOW_MS))
    store.take_changes()
    UserStateProcessor(store).process(batch, Clock(NOW_MS))
    assert store.take_changes() == []


@pytest.mark.parametrize(
    ("bad", "kind"),
    [
        (record(USERS, b"x"), "UndecodableRecord"),
        (record(USER_EVENTS, None), "UndecodableRecord"),
        (record(USERS, User("u:1", NOW_MS + 301_000, 0)), "InvalidRecord"),
        (record(USERS, User("u:2", 1, 0)), "InvalidRecord"),
        (record(USERS, None, key=b"\xff\xfe"), "InvalidRecord"),
        (record(USERS, None, key=b""), "InvalidRecord"),
    ],
)
def test_a_bad_record_is_dead_lettered_and_the_rest_goes_on(bad: InboundRecord, kind: str) -> None:
    """Bad bytes of one producer must not stop the fold."""
    store = ChangelogStore()
    work = UserStateProcessor(store).process([bad, record(USER_EVENTS, event("e", 1))], Clock(NOW_MS))
    assert [type(error).__name__ for _, error in work.dead] == [kind]
    assert len(state_of(store).entries) == 1


def test_a_state_forgotten_in_memory_comes_back_from_the_store() -> None:
    """Only the users of the last minutes stay decoded."""
    store, processor = ChangelogStore(), None
    processor = UserStateProcessor(store)
    for n in range(1_100):
        processor.process(
            [record(USER_EVENTS, UserEvent(f"u:{n}", "e", UserEventKind.CLICK, "t:1", 1), key=f"u:{n}".encode())], Clock(0)
        )
    processor.process([record(USER_EVENTS, UserEvent("u:0", "f", UserEventKind.CLICK, "t:1", 2), key=b"u:0")], Clock(0))
    assert [entry.entry_id for entry in state_of(store, "u:0").entries] == ["f", "e"]


@pytest.mark.parametrize("count", [0, 1, 63, 64, 200])
def test_the_fast_encoding_is_the_codec_s_byte_for_byte(count: int) -> None:
    """Everybody else reads user states with the codec."""
    state = fold_profile(UserState("u:ü"), User("u:ü", 5, 6, languages=("de",), follows=("a:1", "a:2")))
    state = fold_entries(state, [UserEntry(f"e{n}", UserEventKind.CLICK, "t:1", n, None, "de", ("音楽",)) for n in range(count)])
    encoded = EncodedEntries()
    assert encoded.encode(state) == encode(state)
    more = fold_entries(state, [UserEntry("new", UserEventKind.REPLY, "t:2", 1000)])
    assert encoded.encode(more) == encode(more)
