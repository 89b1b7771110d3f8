"""From a consumed record to a checked, typed message, in one step. Only `InvalidInput` comes out for a bad one."""

from collections.abc import Callable

from schemas.codec import MessageT, SchemaLookup, decode
from schemas.errors import UndecodableRecord
from schemas.ids import check_key
from schemas.wire.inbound import InboundRecord


def read(
    message_type: type[MessageT], record: InboundRecord, key_of: Callable[[MessageT], str], *, lookup: SchemaLookup | None = None
) -> MessageT:
    """Return the message in `record`.

    Args:
        key_of: the id that the record must be keyed by: under another key it lies in a partition nobody looks in.
        lookup: see `schemas.codec.decode_mapping`.

    Raises:
        InvalidInput: not this message, or one that breaks a rule of the contracts.
        RegistryUnavailable: the registry that knows the schema did not answer.
    """
    if record.value is None:
        raise UndecodableRecord(f"a null on {record.topic} means nothing; send a {message_type.SUBJECT} record")
    message = decode(message_type, record.value, lookup)
    message.check(append_time_ms=record.timestamp_ms)
    check_key(record.key, key_of(message))
    return message
