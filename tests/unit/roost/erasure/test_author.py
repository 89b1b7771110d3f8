"""What takes an author's name out of a user's state, by the fold that user state really runs."""

import random

from roost.erasure.author import account_of, names, without
from roost.erasure.mention import Mention
from schemas.codec import encode
from schemas.features.query import query_features
from schemas.records.users import User, UserEntry, UserEventKind, UserState
from streams.userstate.fold import fold_entries, fold_profile

PROFILE = User("u:1", 10, 3, languages=("de",), region="eu", follows=("a:1", "a:gone", "a:2"), interests=("chess",))
ENTRIES = tuple(
    UserEntry(f"e{at}", UserEventKind.CLICK, f"t:{at}", at, "a:gone" if at % 2 else "a:1", "de", ("chess",)) for at in range(6)
)


def test_the_name_leaves_follows_and_history_and_nothing_else_changes() -> None:
    """The user did what the user did; only whose tweets they were is forgotten."""
    state = fold_entries(fold_profile(UserState("u:1"), PROFILE), ENTRIES)
    assert names(state, "a:gone")
    profile, events = without(state, "a:gone")
    assert profile is not None
    after = fold_entries(fold_profile(state, profile), [event.entry() for event in events])
    assert not names(after, "a:gone")
    assert (after.follows, after.languages, after.region, after.interests) == (("a:1", "a:2"), ("de",), "eu", ("chess",))
    assert [(e.entry_id, e.candidate_id, e.topics) for e in after.entries] == [
        (e.entry_id, e.candidate_id, e.topics) for e in state.entries
    ]
    assert [entry.author_id for entry in after.entries] == ["a:1" if entry.author_id == "a:1" else None for entry in state.entries]
    assert without(after, "a:gone") == (None, []), "done twice, it changes nothing"


def test_the_account_leaves_the_history_of_those_it_was_shown_to() -> None:
    """It is a candidate as well, and an impression's id holds the candidate's; the log brings the old entries again for a week."""
    shown = UserEntry("r-1/a:gone", UserEventKind.IMPRESSION, "a:gone", 20, "a:gone", "de", ("chess",))
    followed = UserEntry("e-9", UserEventKind.FOLLOW, "a:gone", 21)
    other = UserEntry("r-1/a:1", UserEventKind.IMPRESSION, "a:1", 20, "a:1")
    old = (shown, followed, other)
    state = fold_entries(UserState("u:1"), old)
    for name in ("a:gone", "gone"):
        assert names(state, name)
        _, events = without(state, name)
        for event in events:
            event.check(append_time_ms=30)
            assert not Mention(name).in_record(encode(event)), "what is written says nothing of it either"
        steps = [*old, *(event.entry() for event in events)]
        for seed in range(20):
            random.Random(seed).shuffle(steps)
            after = fold_entries(state, steps)
            assert not Mention(name).in_record(encode(after))
            assert other in after.entries
            assert [entry.event_time_ms for entry in after.entries] == [22, 21, 20]
            assert query_features(after) == query_features(fold_entries(UserState("u:1"), [other]))
            assert not names(after, name)
            assert fold_entries(after, steps) == after


def test_a_redelivery_in_any_order_does_not_bring_the_name_back() -> None:
    """The log still holds the old records for a week, and a restart reads them again."""
    state = fold_entries(fold_profile(UserState("u:1"), PROFILE), ENTRIES)
    profile, events = without(state, "a:gone")
    assert profile is not None
    steps: list[User | UserEntry] = [PROFILE, profile, *ENTRIES, *(event.entry() for event in events)]
    for seed in range(20):
        random.Random(seed).shuffle(steps)
        folded = UserState("u:1")
        for step in steps:
            folded = fold_profile(folded, step) if isinstance(step, User) else fold_entries(folded, [step])
        assert not names(folded, "a:gone"), steps


def test_what_the_user_does_later_counts_as_ever() -> None:
    """A profile sent after the takedown wins, whatever it says."""
    state = fold_profile(UserState("u:1"), PROFILE)
    profile, _ = without(state, "a:gone")
    assert profile is not None
    later = User("u:1", 11, 0, follows=("a:3",))
    for order in ((profile, later), (later, profile)):
        folded = state
        for step in order:
            folded = fold_profile(folded, step)
        assert folded.follows == ("a:3",)


def test_an_account_is_the_candidate_of_its_author() -> None:
    """An author's id may or may not carry the prefix already."""
    assert (account_of("a:7"), account_of("ada")) == ("a:7", "a:ada")
