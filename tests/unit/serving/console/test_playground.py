"""Two answers side by side, and the form that asks for them."""

import pytest

from serving.console.views.playground import choices, compared, marked_gone, node_to_ask, side
from serving.console.web.play import request_of
from tests.console_fakes import HOME, LIVE, NEXT, URL, answer_of, moment, reading

FIRST = answer_of(LIVE, [("t:a", "ja", "雪"), ("t:b", "ar", "مرحبا"), ("t:c", "en", "hi")])
SECOND = answer_of(NEXT, [("t:b", "ar", "مرحبا"), ("t:c", "en", "hi"), ("t:d", "en", "new")])
FORM = dict.fromkeys(
    ("surface", "user", "languages", "interests", "region", "follows", "only", "max_age_min", "bundle", "against"), ""
) | {"k": "20"}


def test_what_changed_between_two_bundles_is_marked_on_both_sides() -> None:
    """Which candidates came, went and moved is what one compares for."""
    right = side(SECOND, "ready", against=FIRST)
    assert [(hit.candidate_id, hit.change, hit.moved) for hit in right.hits] == [
        ("t:b", "up", 1),
        ("t:c", "up", 1),
        ("t:d", "new", 0),
    ]
    left = marked_gone(side(FIRST, "live"), SECOND)
    assert [hit.change for hit in left.hits] == ["gone", "", ""]
    found = compared(FIRST, SECOND)
    assert found.sentence == "2 of 3 candidates in common"
    assert (found.both, found.only_left, found.only_right) == (2, 1, 1)
    assert (found.same_rank, found.up, found.down) == (0, 2, 0)
    back = compared(SECOND, FIRST)
    assert (back.only_left, back.only_right, back.up, back.down) == (1, 1, 0, 2)
    assert compared(FIRST, FIRST).sentence == "both sides are the same bundle"


def test_an_empty_answer_is_an_answer() -> None:
    """Filters may leave nothing."""
    nothing = answer_of(LIVE, [])
    assert side(nothing, "live").hits == ()
    assert compared(nothing, nothing).both == 0


def test_only_bundles_a_node_has_in_full_can_be_asked_and_the_live_one_is_first() -> None:
    """A pin on a half-filled index would be refused."""
    now = moment(nodes=[reading(bundles=((NEXT, "ready"), (LIVE, "live")))])
    assert [choice.bundle for choice in choices(now, HOME.name)] == [LIVE, NEXT]
    assert choices(None, HOME.name) == ()


def test_a_ready_node_is_asked_before_one_that_is_not_and_none_is_no_error() -> None:
    """A node that drains still answers, but not as well."""
    assert node_to_ask(moment(nodes=[reading(reasons=("leaving",))]), HOME.name) == URL
    assert node_to_ask(moment(), "other") is None
    assert node_to_ask(None, HOME.name) is None


def test_a_form_becomes_a_request_and_what_is_empty_is_left_out() -> None:
    """An inline profile of nothing would make a known user's answer no other, but say that it might."""
    request = request_of(FORM | {"user": " u:🦉 ", "only": "en, ja", "max_age_min": "2"}, pin="")
    assert (request.user_id, request.user, request.languages, request.max_age_s, request.pin) == (
        "u:🦉",
        None,
        ("en", "ja"),
        120,
        None,
    )
    inline = request_of(FORM | {"interests": "a b,c"}, pin=LIVE)
    assert inline.user is not None
    assert (inline.user.interests, inline.pin) == (("a", "b", "c"), LIVE)


@pytest.mark.parametrize(
    ("field", "value", "sentence"),
    [("k", "many", "must be numbers"), ("k", "0", "k: Input should be greater"), ("user", "x" * 65, "longer than 64 bytes")],
)
def test_a_field_over_its_limit_is_named(field: str, value: str, sentence: str) -> None:
    """People type anything."""
    with pytest.raises(ValueError, match=sentence):
        request_of(FORM | {field: value}, pin="")
