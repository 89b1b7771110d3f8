"""What the node knows of users: states come and go, and whoever was never seen is marked."""

from schemas.codec import encode
from schemas.records.users import QueryFeatures, UserEntry, UserEventKind, UserState
from serving.api import InlineUser
from serving.query.users import UserStore, features_for_query

LIKED = UserEntry("e1", UserEventKind.FAVORITE, "t:1", 10, author_id="author-9", language="ja", topics=("sumo",))


def test_a_known_users_history_and_the_context_reach_the_tower() -> None:
    """The query tower must read what the labeler will reconstruct."""
    users = UserStore()
    users.put("u", encode(UserState("u", profile_time_ms=1, languages=("ja",), entries=(LIKED,))))
    for _ in range(2):  # the second time from features kept in the state's place
        features, cold = features_for_query(users, "u", None, {"topic": "news"})
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
    users = UserStore()
    users.put("erased", encode(UserState("erased", erased_ms=5)))
    users.put("garbled", b"\x00garbled")
    users.put("gone", encode(UserState("gone", profile_time_ms=1)))
    users.put("gone", None)
    for user_id in ("unseen", "erased", "garbled", "gone", "日本"):
        features, cold = features_for_query(users, user_id, InlineUser(languages=("en",), follows=("a",)), {})
        assert cold
        assert features == QueryFeatures(languages=("en",), follows=("a",))
    assert features_for_query(users, None, None, {"topic": "x"}) == (QueryFeatures(context={"topic": "x"}), True)
    assert users.undecodable == 1


def test_an_inline_profile_does_not_overrule_what_is_known() -> None:
    """Stale client data must not undo what the user did since."""
    users = UserStore()
    users.put("u", encode(UserState("u", profile_time_ms=1, languages=("ja",))))
    features, cold = features_for_query(users, "u", InlineUser(languages=("en",)), {})
    assert (features.languages, cold) == (("ja",), False)
