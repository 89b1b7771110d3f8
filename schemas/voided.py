"""What a null in `examples` says: that what its user was shown up to a moment of event time is void. Reads and writes no topic.

The moment stands in a header: the same null may be written again after the user came back, and then voids nothing of after it.
"""

from schemas.positions import Header
from schemas.wire.inbound import InboundRecord

ERASED = "roost-erased-ms"
_MOST_DIGITS = 20


def erased_header(erased_ms: int) -> Header:
    """Return the header that says when the user was deleted, in Unix milliseconds."""
    return ERASED, str(erased_ms).encode()


def erased_ms_of(null: InboundRecord) -> int:
    """Return the event time up to which a null voids; its append time where it does not say, as of earlier releases."""
    for name, value in null.headers:
        if name == ERASED and value is not None and value.isdigit() and len(value) < _MOST_DIGITS:
            return int(value)
    return null.timestamp_ms
