"""When a user was deleted, as read out of the state's bytes."""

import pytest

from schemas.codec import encode
from schemas.errors import InvalidInput
from schemas.records.users import UserEntry, UserEventKind, UserState
from streams.labeler.view import erased_ms_in

ENTRY = UserEntry("e", UserEventKind.CLICK, "t:1", 7, "a:1", "en", ("chess",))


@pytest.mark.parametrize(
    "state",
    [
        UserState("u:1"),
        UserState("u:1", erased_ms=1_700_000_000_000),
        UserState("ü" * 32, 10**13, 2**62, ("de", "en"), "eu", ("a:1", "a:2") * 200, ("chess",), 5, (ENTRY,) * 200),
    ],
)
def test_when_a_user_was_deleted_is_read_without_the_entries(state: UserState) -> None:
    """It is asked of each example: as the whole state says it, in a hundredth of the time."""
    assert erased_ms_in(encode(state)) == state.erased_ms


@pytest.mark.parametrize("data", [b"", b"garbage", encode(UserState("u:1"))[:9]])
def test_a_state_that_nobody_can_read_says_so(data: bytes) -> None:
    """A user who was deleted must not pass for one who never was."""
    with pytest.raises(InvalidInput):
        erased_ms_in(data)
