"""A consumed record as every processor sees it, whichever client read it. Nothing is decoded yet."""

from typing import NamedTuple

from confluent_kafka import Message


class InboundRecord(NamedTuple):
    """One record of a topic; a tuple, since one is made of every message that any role reads.

    Attributes:
        timestamp_ms: the broker's append time, in Unix milliseconds.
        value: the raw bytes; None is a tombstone.
        headers: none of a record of which a header's name is not UTF-8: the client cannot read any of them then.
    """

    topic: str
    partition: int
    offset: int
    timestamp_ms: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes | None], ...] = ()

    @property
    def place(self) -> dict[str, object]:
        """Where it lies, as fields of a log line."""
        return {"topic": self.topic, "partition": self.partition, "offset": self.offset}


def inbound(message: Message) -> InboundRecord:
    """Return the record of a consumed message that carries no error."""
    topic, partition, offset = message.topic(), message.partition(), message.offset()
    if topic is None or partition is None or offset is None:
        raise ValueError("a message without topic, partition and offset was never consumed")
    try:
        headers = message.headers()
    except SystemError:
        # of a name that is not UTF-8, which brokers take: the record must not end whoever reads it
        headers = None
    key, value = _bytes(message.key()), _bytes(message.value())
    if not headers:
        return InboundRecord(topic, partition, offset, message.timestamp()[1], key, value)
    pairs = headers.items() if isinstance(headers, dict) else headers
    told = tuple([(str(pair[0]), _bytes(pair[1])) for pair in pairs])
    return InboundRecord(topic, partition, offset, message.timestamp()[1], key, value, told)


def _bytes(content: str | bytes | None) -> bytes | None:
    # the client's types allow text; a consumed record holds bytes
    return content.encode() if isinstance(content, str) else content
