"""Fields of a protobuf message, read off its bytes (protobuf.dev, "Encoding"). Knows no message."""

from collections.abc import Iterator

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5

Value = int | bytes | memoryview
"""Of a varint its number, of a fixed-size number its bytes, of a length-delimited field a view of its content."""


def fields(content: memoryview) -> Iterator[tuple[int, Value]]:
    """Yield (field number, value) of one message; raises `ValueError` or `IndexError` where the bytes are none."""
    at = 0
    while at < len(content):
        tag, at = _varint(content, at)
        number, wire_type = tag >> 3, tag & 7
        if number == 0:
            raise ValueError("field number 0")
        if wire_type == _VARINT:
            value, at = _varint(content, at)
            yield number, value
        elif wire_type == _BYTES:
            length, at = _varint(content, at)
            end = at + length
            if end > len(content):
                raise ValueError("a field ends behind its message")
            yield number, content[at:end]
            at = end
        elif wire_type in (_FIXED32, _FIXED64):
            end = at + (4 if wire_type == _FIXED32 else 8)
            if end > len(content):
                raise ValueError("a number ends behind its message")
            yield number, bytes(content[at:end])
            at = end
        else:
            raise ValueError(f"wire type {wire_type}")


def varints(content: memoryview) -> Iterator[int]:
    """Yield the numbers of a packed field; raises as `fields`."""
    at = 0
    while at < len(content):
        value, at = _varint(content, at)
        yield value


def _varint(content: memoryview, at: int) -> tuple[int, int]:
    value = 0
    for place in range(10):
        byte: int = content[at + place]
        value |= (byte & 0x7F) << (7 * place)
        if byte < 0x80:
            return value, at + place + 1
    raise ValueError("a number of more than ten bytes")
