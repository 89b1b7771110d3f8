"""Avro schemas compiled to readers that make records at once, for bytes of the plainest form. Judges no bytes; knows no frame.

Half the time of a general Avro reader and the mapping it makes. Whatever is unusual or wrong is `NotPlain`: the general reader
decides what it is, so that there is one judge of bad bytes.
"""

import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from enum import StrEnum
from operator import itemgetter
from typing import Any

from schemas.records.base import Record

# (data, where the value begins) to (value, where it ends)
Read = Callable[[bytes, int], tuple[Any, int]]

_DOUBLE = struct.Struct("<d")


class NotPlain(Exception):
    """These bytes must be read by the general reader, which may refuse them."""


def compile_reader(schema: Mapping[str, Any], record_type: type[Record]) -> Callable[[bytes, int], Any]:
    """Return the function that reads a record from `data[at:]`, to its last byte; it raises `NotPlain`.

    Raises:
        ValueError: the schema and the record differ, or hold something that no record of ours has.
    """
    read = _record(schema, record_type)

    def from_bytes(data: bytes, at: int) -> Any:
        try:
            record, end = read(data, at)
        # past the end of the bytes, or text that is not UTF-8
        except (IndexError, UnicodeDecodeError, struct.error) as error:
            raise NotPlain(str(error)) from error
        if end != len(data):
            raise NotPlain("bytes left over, or missing")
        return record

    return from_bytes


def _read_long(data: bytes, at: int) -> tuple[int, int]:
    digit = data[at]
    if digit < 128:
        return (digit >> 1) ^ -(digit & 1), at + 1
    rest, shift = digit & 127, 7
    while True:
        at += 1
        digit = data[at]
        if digit < 128:
            rest |= digit << shift
            return (rest >> 1) ^ -(rest & 1), at + 1
        rest |= (digit & 127) << shift
        shift += 7
        if shift > 56:
            raise NotPlain("a long of ten bytes")


def _read_length(data: bytes, at: int) -> tuple[int, int]:
    length, at = _read_long(data, at)
    if length < 0:
        raise NotPlain("a negative length, or an array in blocks")
    return length, at


def _read_string(data: bytes, at: int) -> tuple[str, int]:
    length, at = _read_length(data, at)
    # an end past the data's shows at the next byte that is asked for, or at the end
    end = at + length
    return data[at:end].decode(), end


def _read_bytes(data: bytes, at: int) -> tuple[bytes, int]:
    length, at = _read_length(data, at)
    end = at + length
    return data[at:end], end


def _read_boolean(data: bytes, at: int) -> tuple[bool, int]:
    digit = data[at]
    if digit > 1:
        raise NotPlain("a boolean that is neither")
    return digit == 1, at + 1


def _read_double(data: bytes, at: int) -> tuple[float, int]:
    return _DOUBLE.unpack_from(data, at)[0], at + 8


_PRIMITIVE: Mapping[str, Read] = {
    "long": _read_long,
    "int": _read_long,
    "string": _read_string,
    "bytes": _read_bytes,
    "boolean": _read_boolean,
    "double": _read_double,
}


def _reader(schema: Any, of: Mapping[str, Any]) -> Read:
    """Return the reader of a field. `of` is the field's metadata: which record or enum its values are."""
    match schema:
        case str() if schema in _PRIMITIVE:
            return _PRIMITIVE[schema]
        case ["null", inner]:
            return _optional(_reader(inner, of))
        case {"type": "record"} if "record" in of:
            return _record(schema, of["record"])
        case {"type": "enum", "symbols": symbols} if isinstance(of.get("read"), type):
            return _enum(symbols, of["read"])
        case {"type": "enum", "symbols": symbols}:
            return _enum(symbols, str)
        case {"type": "array", "items": items}:
            return _array(_reader(items, of))
        case {"type": "map", "values": values}:
            return _map(_reader(values, of))
    raise ValueError(f"no reader for {str(schema)[:80]}")


def _record(schema: Mapping[str, Any], record_type: type[Record]) -> Read:
    own = fields(record_type)  # type: ignore[arg-type]
    metadata = {field.name: field.metadata for field in own}
    names = [field["name"] for field in schema["fields"]]
    if set(names) != metadata.keys() or len(names) < 2:
        raise ValueError(f"{record_type.__name__} has not the fields of {schema['name']}")
    readers = [_reader(field["type"], metadata[field["name"]]) for field in schema["fields"]]
    in_order = itemgetter(*(names.index(field.name) for field in own))

    def read(data: bytes, at: int) -> tuple[Any, int]:
        values = []
        for read_field in readers:
            value, at = read_field(data, at)
            values.append(value)
        return record_type(*in_order(values)), at

    return read


def _optional(inner: Read) -> Read:
    def read(data: bytes, at: int) -> tuple[Any, int]:
        branch = data[at]
        if branch == 0:
            return None, at + 1
        if branch != 2:
            raise NotPlain("a branch that is not there")
        return inner(data, at + 1)

    return read


def _enum(symbols: Sequence[str], enum_type: type[StrEnum] | type[str]) -> Read:
    # an odd byte is a negative place
    members: dict[int, str] = {place << 1: enum_type(symbol) for place, symbol in enumerate(symbols)}

    def read(data: bytes, at: int) -> tuple[Any, int]:
        member = members.get(data[at])
        if member is None:
            raise NotPlain("an enum's place that is not there")
        return member, at + 1

    return read


def _array(inner: Read) -> Read:
    def read(data: bytes, at: int) -> tuple[Any, int]:
        count, at = _read_length(data, at)
        if count == 0:
            return (), at
        values = []
        for _ in range(count):
            value, at = inner(data, at)
            values.append(value)
        if data[at]:
            raise NotPlain("an array in blocks")
        return tuple(values), at + 1

    return read


def _map(inner: Read) -> Read:
    def read(data: bytes, at: int) -> tuple[Any, int]:
        count, at = _read_length(data, at)
        values = {}
        if count:
            for _ in range(count):
                key, at = _read_string(data, at)
                values[key], at = inner(data, at)
            if data[at]:
                raise NotPlain("a map in blocks")
            at += 1
        return values, at

    return read
