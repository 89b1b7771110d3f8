"""The record that voids a user's examples up to a delete. Decides nothing."""

from schemas.topics import EXAMPLES
from schemas.voided import erased_header
from streams.state import OutboundRecord


def voiding(user_id: str, erased_ms: int) -> OutboundRecord:
    """Return the null that says that what a user was shown up to `erased_ms` of event time is void."""
    return OutboundRecord(EXAMPLES, user_id.encode(), None, (erased_header(erased_ms),))
