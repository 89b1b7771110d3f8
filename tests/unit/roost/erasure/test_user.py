"""When a user counts as deleted; with a broker and roles: tests/integration/test_erasure.py."""

from types import SimpleNamespace
from typing import Any

import pytest

from roost.erasure import user as user_module
from roost.erasure.user import UserErasure, delete_user
from schemas.codec import encode
from schemas.records.users import UserState
from schemas.topics import USER_STATES
from schemas.wire.inbound import InboundRecord
from tests.fake_tail import FakeTail

APPENDED_MS = 5_000


class Acknowledged:
    """An outbox whose record the broker appends at once."""

    def __init__(self, _: str) -> None:
        pass

    def produce(self, *_: object, on_delivery: Any = lambda *_: None) -> None:
        """Report it."""
        on_delivery(None, SimpleNamespace(timestamp=lambda: (2, APPENDED_MS)))

    def flush_all(self, *, timeout_s: float) -> None:
        """Do nothing more."""

    def take_failures(self) -> list[Any]:
        """Return none."""
        return []


@pytest.mark.parametrize("came_back_ms", [-1, 900])
def test_a_delete_is_not_taken_for_one_of_before(came_back_ms: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A user who came back still acts while deleted again: the state of the first delete was taken for the second's, or blamed."""
    before = UserState("u:1", profile_time_ms=came_back_ms, languages=("en",), erased_ms=700)
    states = [before, UserState("u:1", profile_time_ms=APPENDED_MS, erased_ms=APPENDED_MS)]
    batches = [[InboundRecord(USER_STATES, 0, 0, APPENDED_MS, b"u:1", encode(state))] for state in states]
    monkeypatch.setattr(user_module, "partitions_of", lambda *_: 1)
    monkeypatch.setattr(user_module, "Outbox", Acknowledged)
    monkeypatch.setattr(user_module, "TailReader", lambda *_, **__: FakeTail(batches))
    told: list[tuple[str, int, int]] = []
    erased = delete_user("127.0.0.1:1", "u:1", wait_s=30.0, on_progress=lambda *how_far: told.append(how_far))
    assert erased == UserErasure("u:1", APPENDED_MS)
    assert told == [("user state folds the delete", 0, 0)] * 2
