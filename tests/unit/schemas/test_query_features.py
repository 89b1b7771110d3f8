"""What a query tower reads of a user, on timelines worked by hand: the node that serves and the labeler must agree."""

from dataclasses import replace

import pytest

from schemas.features.query import in_force, query_features
from schemas.records.users import QueryFeatures, UserEntry, UserEventKind, UserState

K = UserEventKind


def entry(at_ms: int, kind: UserEventKind, candidate: str = "t:1", *, entry_id: str = "", author: str | None = "a:1") -> UserEntry:
    """Return an entry; its language and topic are named for the candidate."""
    return UserEntry(entry_id or f"e{at_ms:03}", kind, candidate, at_ms, author, f"l-{candidate}", (f"topic-{candidate}",))


TIMELINES: list[tuple[list[UserEntry], list[int]]] = [
    ([], []),
    ([entry(1, K.IMPRESSION)], []),
    ([entry(1, K.FAVORITE)], [1]),
    ([entry(1, K.FAVORITE), entry(2, K.REPLY)], [2, 1]),
    ([entry(1, K.FAVORITE), entry(2, K.UNFAVORITE)], []),
    ([entry(1, K.FAVORITE), entry(2, K.UNRETWEET)], [1]),
    ([entry(1, K.UNFAVORITE), entry(2, K.FAVORITE)], [2]),
    ([entry(1, K.FAVORITE), entry(2, K.UNFAVORITE), entry(3, K.FAVORITE)], [3]),
    ([entry(1, K.FAVORITE), entry(2, K.FAVORITE)], [2]),
    ([entry(1, K.FOLLOW), entry(2, K.UNFOLLOW, "t:2")], [1]),
    ([entry(1, K.FAVORITE), entry(2, K.SHOW_LESS)], []),
    ([entry(1, K.BLOCK), entry(2, K.FAVORITE)], []),
    ([entry(1, K.BLOCK), entry(2, K.FAVORITE, "t:2")], [2]),
    ([entry(1, K.UNKNOWN)], []),
    ([entry(5, K.FAVORITE, entry_id="b"), entry(5, K.UNFAVORITE, entry_id="a")], [5]),
    ([entry(5, K.FAVORITE, entry_id="a"), entry(5, K.UNFAVORITE, entry_id="b")], []),
]


@pytest.mark.parametrize(("entries", "standing"), TIMELINES, ids=range(len(TIMELINES)))
def test_what_is_in_force_follows_from_the_timeline(entries: list[UserEntry], standing: list[int]) -> None:
    """Undo cancels what came before it; a rejection cancels all; order of arrival plays no part."""
    assert [e.event_time_ms for e in in_force(entries)] == standing
    assert [e.event_time_ms for e in in_force(reversed(entries))] == standing


def test_a_user_never_seen_has_only_the_context() -> None:
    """The answer is marked and comes from the context alone."""
    assert query_features(None, context={"topic": "chess"}) == QueryFeatures(context={"topic": "chess"})
    assert query_features(None) == QueryFeatures()


STATE = UserState(
    "u:1",
    languages=("de", "en"),
    region="eu",
    follows=("a:9", "a:1"),
    interests=("chess",),
    entries=(
        entry(40, K.FOLLOW, "a:7", author="a:7"),
        entry(30, K.REPLY, "t:2", author="a:2"),
        entry(20, K.FAVORITE, "t:1"),
        entry(10, K.IMPRESSION, "t:3"),
    ),
)


def test_features_are_read_from_profile_and_entries_newest_first() -> None:
    """Worked by hand."""
    assert query_features(STATE, context={"topic": "x"}) == QueryFeatures(
        languages=("de", "en"),
        region="eu",
        interests=("chess",),
        follows=("a:7", "a:9", "a:1"),
        history_authors=("a:7", "a:2", "a:1"),
        history_topics=("topic-a:7", "topic-t:2", "topic-t:1"),
        history_languages=("l-a:7", "l-t:2", "l-t:1"),
        context={"topic": "x"},
    )


def test_features_as_of_an_impression_leave_out_what_came_at_or_after_it() -> None:
    """Otherwise the label would leak into the example: the favorite that is to be predicted."""
    features = query_features(STATE, before_ms=30)
    assert features.history_authors == ("a:1",)
    assert features.follows == ("a:9", "a:1")
    assert query_features(STATE, before_ms=31).history_authors == ("a:2", "a:1")


def test_an_undo_after_an_impression_does_not_reach_back_before_it() -> None:
    """As of serve time the favorite stood."""
    state = replace(STATE, entries=(entry(50, K.UNFAVORITE, "t:1"), *STATE.entries))
    assert "a:1" not in query_features(state).history_authors
    assert "a:1" in query_features(state, before_ms=50).history_authors


def test_a_candidate_counts_once_with_its_newest_entry() -> None:
    """An early entry may lack what was not yet known of the candidate."""
    entries = (entry(2, K.REPLY, "t:1", author="a:1"), entry(1, K.FAVORITE, "t:1", author=None))
    assert query_features(UserState("u:1", entries=entries)).history_authors == ("a:1",)


def test_sequences_are_cut_to_their_newest() -> None:
    """16 of the history, 16 follows with the followed in the product first, 4 languages, 16 interests."""
    entries = tuple(entry(at, K.FOLLOW, f"a:{at}", author=f"a:{at}") for at in range(1, 31))
    state = UserState("u:1", languages=("l",) * 9, interests=("i",) * 30, follows=("a:x",), entries=entries)
    features = query_features(state)
    newest = tuple(f"a:{at}" for at in range(30, 14, -1))
    assert features.history_authors == newest
    assert features.follows == newest
    assert len(features.languages) == 4
    assert len(features.interests) == 16
    features.check()
