"""Asking for offsets where nobody answers."""

import pytest

from schemas.errors import BrokerUnavailable
from schemas.wire.admin import make_admin, offsets_since
from schemas.wire.ends import log_ends


def test_a_broker_that_does_not_answer_is_said_to_be_away() -> None:
    """Callers wait for a broker that is away; a bare time-out, which came as often, ended them without a reason."""
    admin = make_admin("127.0.0.1:9")
    for _ in range(5):
        with pytest.raises(BrokerUnavailable, match="the end of tweets"):
            log_ends(admin, [("tweets", 0)], timeout_s=0.2)
        with pytest.raises(BrokerUnavailable, match="tweets cannot be looked up by time"):
            offsets_since(admin, "tweets", [0, 1], 5, timeout_s=0.2)
