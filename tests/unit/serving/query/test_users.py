"""What the node knows of users: states come and go, and whoever was never seen is marked."""

from schemas.codec import encode
from schemas.records.users import QueryFeatures, UserEntry, UserEventKind, UserState
from serving.api import InlineUser
from serving.query.users import KnownUser, UserStore, features_for_query

LIKED = UserEntry("e1", UserEventKind.FAVORITE, "t:1", 10, author_id="author-9", language="ja", topics=("sumo",))


def test_a_known_users_history_and_the_context_reach_the_tower() -> None:
    """The query tower must read what the labeler will reconstruct."""
    users = UserStore()
    users.put("u", encode(UserState("u", profile_time_ms=1, languages=("ja",), entries=(LIKED,))))
    for _ in range(2):  # the second time from features kept in the state's place
        features, cold = features_for_query(users.known("u"), None, {"topic": "news"})
        assert not cold
        assert features == QueryFeatures(
            languages=("ja",),
            history_authors=("author-9",),
            history_topics=("sumo",),
            history_languages=("ja",),
            context={"topic": "news"},
        )


def test_a_newer_state_replaces_features_already_made() -> None:
    """A user who just switched language must not be served from the old one until a restart."""
    users = UserStore()
    users.put("u", encode(UserState("u", profile_time_ms=1, languages=("ja",))))
    users.features("u")
    users.put("u", encode(UserState("u", profile_time_ms=2, languages=("pt",))))
    features = users.features("u")
    assert features is not None
    assert features.languages == ("pt",)


def test_the_unseen_the_erased_and_the_unreadable_are_cold() -> None:
    """Each gets a sensible answer that says it knew nothing; none gets an error."""
    skipped: list[str] = []
    users = UserStore(skipped=lambda: skipped.append("garbled"))
    users.put("erased", encode(UserState("erased", profile_time_ms=5, profile_sequence=9, erased_ms=5)))
    users.put("garbled", b"\x00garbled")
    users.put("gone", encode(UserState("gone", profile_time_ms=1)))
    users.put("gone", None)
    for user_id in ("unseen", "erased", "garbled", "gone", "日本"):
        features, cold = features_for_query(users.known(user_id), InlineUser(languages=("en",), follows=("a",)), {})
        assert cold
        assert features == QueryFeatures(languages=("en",), follows=("a",))
    assert features_for_query(users.known(None), None, {"topic": "x"}) == (QueryFeatures(context={"topic": "x"}), True)
    assert skipped == ["garbled"]


def test_an_inline_profile_does_not_overrule_what_is_known() -> None:
    """Stale client data must not undo what the user did since."""
    users = UserStore()
    users.put("u", encode(UserState("u", profile_time_ms=1, languages=("ja",))))
    features, cold = features_for_query(users.known("u"), InlineUser(languages=("en",)), {})
    assert (features.languages, cold) == (("ja",), False)


def liked(at_ms: int, *, then_seen_ms: int | None = None) -> bytes:
    """Return the state of a user who liked something, and maybe was shown something later."""
    seen = () if then_seen_ms is None else (UserEntry("r/t:2", UserEventKind.IMPRESSION, "t:2", then_seen_ms),)
    like = UserEntry(f"e{at_ms}", UserEventKind.FAVORITE, "t:1", at_ms, author_id="author-9")
    return encode(UserState("u", profile_time_ms=1, entries=(*seen, like)))


def reflects(users: UserStore) -> KnownUser | None:
    """Answer the user; return the state when this is the first answer that reflects its newest engagement."""
    known = users.known("u")
    assert known is not None
    return known if users.first_to_reflect("u", known) else None


def test_each_engagement_is_reflected_first_by_one_answer() -> None:
    """Counted at every answer, a user who asks often would make the system look slow."""
    users = UserStore()
    users.live_from(1_000)
    users.put("u", liked(1_500), came_ms=1_700)
    known = reflects(users)
    assert known is not None
    assert (known.engaged_ms, known.held_from_ms) == (1_500, 1_700)
    assert reflects(users) is None
    users.put("u", liked(1_500, then_seen_ms=1_900), came_ms=2_000)
    assert reflects(users) is None, "an impression is not an engagement"
    users.put("u", liked(2_100), came_ms=2_200)
    assert reflects(users) is not None


def test_what_a_user_did_before_the_node_followed_along_is_not_measured() -> None:
    """A node that starts reads states that are days old; its first answers are not days late."""
    users = UserStore()
    users.put("u", liked(500), came_ms=1_100)
    assert reflects(users) is None, "still replaying"
    users.live_from(1_000)
    assert reflects(users) is None
    users.put("u", liked(500, then_seen_ms=1_200), came_ms=1_300)
    assert reflects(users) is None


def test_a_state_that_came_for_something_later_says_nothing_of_when_the_engagement_was_held() -> None:
    """The state before it, which nobody read, may have held the engagement for minutes."""
    users = UserStore()
    users.live_from(1_000)
    users.put("u", liked(1_500, then_seen_ms=9_000), came_ms=9_100)
    known = reflects(users)
    assert known is not None
    assert known.held_from_ms is None


def test_a_user_who_was_forgotten_leaves_no_trace_in_what_was_measured() -> None:
    """An erased user's id must not live on in a table of times."""
    users = UserStore()
    users.live_from(1_000)
    users.put("u", liked(1_500), came_ms=1_700)
    known = reflects(users)
    users.put("u", None)
    assert known is not None
    assert not users.first_to_reflect("u", known)
    users.live_from(3_000)
    users.put("u", liked(1_500), came_ms=3_100)
    users.live_from(1_000)
    assert reflects(users) is not None, "as for a user who was never here"


def test_states_that_are_read_anew_hold_until_they_have_been_and_what_did_not_come_again_is_forgotten() -> None:
    """An erased user's null may have been in the topic that is gone; nobody else is to be a stranger meanwhile."""
    users = UserStore()
    for user_id in ("again", "changed", "gone"):
        users.put(user_id, encode(UserState(user_id, profile_time_ms=1, languages=("ja",))))
    users.live_from(1_000)
    assert len(users) == 3
    users.start_over()
    users.put("again", encode(UserState("again", profile_time_ms=1, languages=("ja",))))
    users.put("changed", encode(UserState("changed", profile_time_ms=2, languages=("pt",))))
    gone = users.features("gone")
    assert gone is not None
    assert gone.languages == ("ja",), "half read, the topic says nothing of who is not in it"
    users.live_from(2_000)
    assert users.known("gone") is None
    assert [found and found.languages for found in map(users.features, ("again", "changed"))] == [("ja",), ("pt",)]
    users.live_from(3_000)
    assert len(users) == 2
