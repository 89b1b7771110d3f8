"""An index's contents as named columns of raw little-endian bytes, and back. Pure; knows no files.

Strings are their UTF-8 bytes one after the other, with a column of where each ends. Repeated ones (languages, authors) are codes
into a table. Bytes come in parts, so that no step holds the interpreter for long.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from serving.index import IndexContents, Rows, Version

PART_ROWS = 2_048
PART_BYTES = 524_288
CODES_A_DIMENSION = 16

BYTES = "|u1"

Part = bytes | memoryview
T = TypeVar("T")
ReadColumn = Callable[[str, str], NDArray[Any]]


@dataclass(frozen=True, slots=True)
class Column:
    """A column to write: how its bytes are to be read, and the bytes in parts.

    Attributes:
        dtype: numpy's name, byte order included; `|u1` where the bytes are text or payloads.
    """

    dtype: str
    parts: Iterable[Part]


def columns_of(contents: IndexContents, deleted_ms: Mapping[str, int]) -> dict[str, Column]:
    """Every column of the contents, by name, to be written in this order. The parts are made when they are asked for, once.

    Args:
        deleted_ms: when each delete was appended, by id.
    """
    rows = contents.rows
    languages, language_codes = _coded(rows.languages)
    authors, author_codes = _coded(rows.author_ids)
    deleted = list(contents.deleted)
    codebook = np.empty((0, CODES_A_DIMENSION), np.float32) if contents.codebook is None else contents.codebook
    return {
        "vectors": _numbers(rows.vectors, "<f4"),
        "versions": _numbers(rows.versions, "<i8"),
        "created_ms": _numbers(rows.created_ms, "<i8"),
        "language_codes": _numbers(language_codes, "<i4"),
        "author_codes": _numbers(author_codes, "<i4"),
        "deleted_versions": _numbers(np.array([contents.deleted[i] for i in deleted], np.int64).reshape(-1, 2), "<i8"),
        "deleted_ms": _numbers(np.array([deleted_ms[i] for i in deleted], np.int64), "<i8"),
        "codebook": _numbers(codebook, "<f4"),
        **_texts("ids", rows.candidate_ids),
        **_blobs("payloads", rows.payloads),
        **_texts("languages", languages),
        **_texts("authors", authors),
        **_texts("deleted_ids", deleted),
    }


def contents_of(read: ReadColumn, *, dim: int, expired_before_ms: int) -> tuple[IndexContents, dict[str, int]]:
    """What `columns_of` wrote.

    Args:
        read: the values of a column by name and dtype, flat.

    Raises:
        ValueError: the columns do not fit together.
    """
    ids = _read_texts(read, "ids")
    languages, authors = _read_texts(read, "languages"), _read_texts(read, "authors")
    rows = Rows(
        candidate_ids=ids,
        vectors=_floats(read("vectors", "<f4")).reshape(len(ids), dim),
        versions=_longs(read("versions", "<i8")).reshape(len(ids), 2),
        created_ms=_longs(read("created_ms", "<i8")).reshape(len(ids)),
        languages=_named(languages, read("language_codes", "<i4"), len(ids)),
        author_ids=_named(authors, read("author_codes", "<i4"), len(ids)),
        payloads=_read_blobs(read, "payloads"),
    )
    if len(rows.payloads) != len(ids):
        raise ValueError(f"{len(ids)} ids, {len(rows.payloads)} payloads")
    deleted = _read_texts(read, "deleted_ids")
    versions = _longs(read("deleted_versions", "<i8")).reshape(len(deleted), 2).tolist()
    codebook = _floats(read("codebook", "<f4")).reshape(-1, CODES_A_DIMENSION)
    if len(codebook) not in (0, dim) or not np.isfinite(codebook).all():
        raise ValueError(f"the codebook is of {len(codebook)} dimensions, or holds what is no number")
    remembered: Mapping[str, Version] = {i: (time_ms, number) for i, (time_ms, number) in zip(deleted, versions, strict=True)}
    deleted_ms = dict(zip(deleted, _longs(read("deleted_ms", "<i8")).tolist(), strict=True))
    return IndexContents(rows, remembered, expired_before_ms, codebook if len(codebook) else None), deleted_ms


def _numbers(values: NDArray[Any], dtype: str) -> Column:
    flat = np.ascontiguousarray(values, dtype=dtype)
    if not flat.size:
        # numpy exports no buffer of it
        return Column(dtype, [])
    # written and hashed at once, the vectors kept a core from the queries for a tenth of a second
    whole = flat.data.cast("B")
    return Column(dtype, (whole[begin : begin + PART_BYTES] for begin in range(0, len(whole), PART_BYTES)))


def _texts(name: str, values: Sequence[str]) -> dict[str, Column]:
    return _joined(name, values, lambda part: [value.encode() for value in part])


def _blobs(name: str, values: Sequence[bytes]) -> dict[str, Column]:
    return _joined(name, values, lambda part: part)


def _joined(name: str, values: Sequence[T], encoded: Callable[[Sequence[T]], Sequence[bytes]]) -> dict[str, Column]:
    lengths: list[int] = []

    def bytes_of_parts() -> Iterator[Part]:
        for begin in range(0, len(values), PART_ROWS):
            part = encoded(values[begin : begin + PART_ROWS])
            lengths.extend(map(len, part))
            yield b"".join(part)

    def ends() -> Iterator[Part]:
        # written after the bytes: by then every length is known
        yield from _numbers(np.cumsum(np.array(lengths, np.int64)), "<i8").parts

    return {name: Column(BYTES, bytes_of_parts()), f"{name}_ends": Column("<i8", ends())}


def _coded(values: Sequence[str]) -> tuple[list[str], NDArray[np.int32]]:
    codes: dict[str, int] = {}
    coded = [codes.setdefault(value, len(codes)) for value in values]
    return list(codes), np.array(coded, np.int32)


def _read_blobs(read: ReadColumn, name: str) -> list[bytes]:
    ends = _longs(read(f"{name}_ends", "<i8"))
    joined = read(name, BYTES).tobytes()
    edges = [0, *ends.tolist()]
    if edges[-1] != len(joined) or (np.diff(edges) < 0).any():
        raise ValueError(f"{name} ends at {edges[-1]}, but {len(joined)} bytes are there")
    return [joined[begin:end] for begin, end in pairwise(edges)]


def _read_texts(read: ReadColumn, name: str) -> list[str]:
    return [value.decode() for value in _read_blobs(read, name)]


def _named(names: Sequence[str], codes: NDArray[Any], count: int) -> list[str]:
    if len(codes) != count or (count and not 0 <= codes.min() <= codes.max() < len(names)):
        raise ValueError(f"{len(codes)} codes of {len(names)} names for {count} rows")
    return [names[code] for code in codes.tolist()]


def _floats(values: NDArray[Any]) -> NDArray[np.float32]:
    return values.astype(np.float32, copy=False)


def _longs(values: NDArray[Any]) -> NDArray[np.int64]:
    return values.astype(np.int64, copy=False)
