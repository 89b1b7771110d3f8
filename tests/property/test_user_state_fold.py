"""Any order and repetition of one user's inputs gives one state."""

from collections.abc import Sequence

from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.records.users import User, UserEntry, UserEventKind, UserState
from streams.userstate.encoding import EncodedEntries
from streams.userstate.fold import fold_entries, fold_profile
from streams.userstate.withdrawn import withdrawn

times = st.integers(0, 6)
words = st.lists(st.sampled_from(["de", "en", "fr"]), max_size=2).map(tuple)
users = st.builds(
    User,
    user_id=st.just("u:1"),
    event_time_ms=times,
    sequence=st.integers(0, 2),
    deleted=st.booleans(),
    languages=words,
    region=st.sampled_from(["", "eu"]),
)
entries = st.builds(
    UserEntry,
    entry_id=st.sampled_from(list("abcdefgh")),
    kind=st.sampled_from([UserEventKind.FAVORITE, UserEventKind.UNFAVORITE, UserEventKind.IMPRESSION]),
    candidate_id=st.sampled_from(["t:1", "t:2"]),
    event_time_ms=times,
    author_id=st.sampled_from([None, "a:1", "a:2"]),
    language=st.sampled_from([None, "de"]),
    topics=words,
)
# an entry, or what stands in its place once its candidate is erased
entries = st.builds(lambda entry, erased: withdrawn(entry) if erased else entry, entries, st.sampled_from([False, False, True]))


def fold(inputs: Sequence[User | UserEntry], most: int) -> UserState:
    """Fold one at a time; a set of at most `most` entries shows in few steps what 200 would show in hundreds."""
    state = UserState("u:1")
    for item in inputs:
        state = fold_profile(state, item) if isinstance(item, User) else fold_entries(state, [item], most=most)
    return state


@settings(deadline=None, max_examples=300)
@given(st.data(), st.lists(st.one_of(users, entries), max_size=14), st.integers(1, 4))
def test_any_permutation_and_duplication_gives_one_state(data: st.DataObject, inputs: list[User | UserEntry], most: int) -> None:
    """Two topics are read in any interleaving, and both are redelivered after a crash."""
    once = fold(inputs, most)
    again = data.draw(st.lists(st.sampled_from(inputs), max_size=6)) if inputs else []
    shuffled = data.draw(st.permutations([*inputs, *again]))
    assert fold(shuffled, most) == once


@settings(deadline=None, max_examples=100)
@given(st.lists(entries, max_size=14), st.integers(0, 14), st.integers(1, 4))
def test_batches_do_not_matter(inputs: list[UserEntry], cut: int, most: int) -> None:
    """Where a batch ends is the runner's affair."""
    state = fold_entries(fold_entries(UserState("u:1"), inputs[:cut], most=most), inputs[cut:], most=most)
    assert state == fold(inputs, most)


@settings(deadline=None, max_examples=100)
@given(st.lists(st.lists(entries, max_size=5), max_size=5))
def test_the_bytes_do_not_depend_on_the_way_there(batches: list[list[UserEntry]]) -> None:
    """A state encoded piece by piece is the state encoded at once."""
    state, encoded = UserState("u:1"), EncodedEntries()
    for batch in batches:
        state = fold_entries(state, batch)
        data = encoded.encode(state)
        assert data == EncodedEntries().encode(state)
