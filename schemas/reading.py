"""Avro schemas compiled to readers that make records at once, for bytes of the plainest form. Judges no bytes; knows no frame.

Half the time of a general Avro reader and the mapping it makes. Whatever is unusual or wrong is `NotPlain`: the general
reader decides what it is, so that there is one judge of bad bytes.
"""

import struct
from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import Any, NoReturn

from schemas.generated import Source
from schemas.plain import NotPlain, read_long
from schemas.records.base import Record

_DOUBLE = struct.Struct("<d")


def compile_reader(schema: Mapping[str, Any], record_type: type[Record]) -> Callable[[bytes, int], Any]:
    """Return the function that reads a record from `data[at:]`, to its last byte; it raises `NotPlain`.

    Raises:
        ValueError: the schema and the record differ, or hold something that no record of ours has.
    """
    source = Source(_NAMES)
    record = _read_record(source, schema, record_type)
    source.line(f"return {record}, at")
    read = source.function("read", "data", "at")

    def from_bytes(data: bytes, at: int) -> Any:
        try:
            found, end = read(data, at)
        # past the end of the bytes, or text that is not UTF-8
        except (IndexError, UnicodeDecodeError, struct.error) as error:
            raise NotPlain(str(error)) from error
        if end != len(data):
            raise NotPlain("bytes left over, or missing")
        return found

    return from_bytes


def _length(data: bytes, at: int) -> tuple[int, int]:
    length, at = read_long(data, at)
    if length < 0:
        raise NotPlain("a negative length, or an array in blocks")
    return length, at


def _not_plain(what: str) -> NoReturn:
    raise NotPlain(what)


_NAMES: Mapping[str, Any] = {"long": read_long, "length_of": _length, "double": _DOUBLE.unpack_from, "not_plain": _not_plain}
_PRIMITIVE = frozenset({"long", "int", "string", "bytes", "boolean", "double"})


def _read(source: Source, schema: Any, of: Mapping[str, Any]) -> str:
    """Add the lines that read a value at `at` and move `at` behind it; return the value's variable.

    Args:
        of: the field's metadata: which record or enum its values are.
    """
    match schema:
        case str() if schema in _PRIMITIVE:
            return _read_primitive(source, schema)
        case ["null", inner]:
            return _read_optional(source, inner, of)
        case {"type": "record"} if "record" in of:
            return _read_record(source, schema, of["record"])
        case {"type": "enum", "symbols": symbols}:
            enum_type = of["read"] if isinstance(of.get("read"), type) else str
            # an odd byte is a negative place
            members = source.constant({place << 1: enum_type(symbol) for place, symbol in enumerate(symbols)})
            value = source.variable()
            source.line(f"{value} = {members}.get(data[at])")
            with source.block(f"if {value} is None:"):
                source.line('not_plain("an enum\'s place that is not there")')
            source.line("at += 1")
            return value
        case {"type": "array", "items": items}:
            return _read_array(source, items, of)
        case {"type": "map", "values": values}:
            return _read_map(source, values, of)
    raise ValueError(f"no reader for {str(schema)[:80]}")


def _read_record(source: Source, schema: Mapping[str, Any], record_type: type[Record]) -> str:
    own = fields(record_type)  # type: ignore[arg-type]
    metadata = {field.name: field.metadata for field in own}
    names = [field["name"] for field in schema["fields"]]
    if set(names) != metadata.keys():
        raise ValueError(f"{record_type.__name__} has not the fields of {schema['name']}")
    read = {field["name"]: _read(source, field["type"], metadata[field["name"]]) for field in schema["fields"]}
    record = source.variable()
    source.line(f"{record} = {source.constant(record_type)}({', '.join(read[field.name] for field in own)})")
    return record


def _read_primitive(source: Source, kind: str) -> str:
    value = source.variable()
    match kind:
        case "long" | "int":
            # most are small: a counter, a version's sequence, a place
            source.line(f"{value} = data[at]")
            with source.block(f"if {value} < 128:"):
                source.line(f"{value} = ({value} >> 1) ^ -({value} & 1)")
                source.line("at += 1")
            with source.block("else:"):
                source.line(f"{value}, at = long(data, at)")
        case "string" | "bytes":
            _read_length(source)
            # an end past the data's shows at the next byte that is asked for, or at the end
            source.line("end = at + length")
            source.line(f"{value} = data[at:end]{'.decode()' if kind == 'string' else ''}")
            source.line("at = end")
        case "boolean":
            source.line(f"{value} = data[at]")
            with source.block(f"if {value} > 1:"):
                source.line("not_plain('a boolean that is neither')")
            source.line(f"{value} = {value} == 1")
            source.line("at += 1")
        case _:
            source.line(f"{value} = double(data, at)[0]")
            source.line("at += 8")
    return value


def _read_length(source: Source) -> None:
    source.line("length = data[at]")
    with source.block("if length & 129:"):
        source.line("length, at = length_of(data, at)")
    with source.block("else:"):
        source.line("length >>= 1")
        source.line("at += 1")


def _read_optional(source: Source, inner: Any, of: Mapping[str, Any]) -> str:
    value = source.variable()
    source.line("branch = data[at]")
    source.line("at += 1")
    with source.block("if branch == 2:"):
        source.line(f"{value} = {_read(source, inner, of)}")
    with source.block("elif branch == 0:"):
        source.line(f"{value} = None")
    with source.block("else:"):
        source.line("not_plain('a branch that is not there')")
    return value


def _read_array(source: Source, items: Any, of: Mapping[str, Any]) -> str:
    value, left, read = source.variable(), source.variable(), source.variable()
    _read_length(source)
    source.line(f"{left}, {read} = length, []")
    with source.block(f"if {left}:"):
        with source.block(f"for _ in range({left}):"):
            source.line(f"{read}.append({_read(source, items, of)})")
        _end_of_block(source, "an array in blocks")
    source.line(f"{value} = tuple({read})")
    return value


def _read_map(source: Source, values: Any, of: Mapping[str, Any]) -> str:
    value, left = source.variable(), source.variable()
    _read_length(source)
    source.line(f"{left}, {value} = length, {{}}")
    with source.block(f"if {left}:"):
        with source.block(f"for _ in range({left}):"):
            key = _read(source, "string", {})
            source.line(f"{value}[{key}] = {_read(source, values, of)}")
        _end_of_block(source, "a map in blocks")
    return value


def _end_of_block(source: Source, otherwise: str) -> None:
    with source.block("if data[at]:"):
        source.line(f"not_plain('{otherwise}')")
    source.line("at += 1")
