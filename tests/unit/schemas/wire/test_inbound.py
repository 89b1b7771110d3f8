"""A consumed record, as the client gives it."""

from typing import TYPE_CHECKING, NoReturn, cast

from schemas.wire.inbound import InboundRecord, inbound

if TYPE_CHECKING:
    from confluent_kafka import Message


class BadlyNamed:
    """A message of which a header's name is not UTF-8; what the client raises was seen on a real broker."""

    def topic(self) -> str:
        """See `Message`."""
        return "tweets"

    def partition(self) -> int:
        """See `Message`."""
        return 1

    def offset(self) -> int:
        """See `Message`."""
        return 7

    def timestamp(self) -> tuple[int, int]:
        """See `Message`."""
        return (2, 1_000)

    def key(self) -> bytes:
        """See `Message`."""
        return b"t:1"

    def value(self) -> bytes:
        """See `Message`."""
        return b"tweet"

    def headers(self) -> NoReturn:
        """See `Message`."""
        raise SystemError("<method 'headers' of 'confluent_kafka.cimpl.Message' objects> returned a result with an exception set")


def test_a_header_whose_name_is_no_text_does_not_keep_its_record_from_being_read() -> None:
    """Brokers take any bytes for a name: one such record ended embedder and nodes at every restart."""
    assert inbound(cast("Message", BadlyNamed())) == InboundRecord("tweets", 1, 7, 1_000, b"t:1", b"tweet", ())
