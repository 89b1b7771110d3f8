"""Lets aiokafka read records of which a header's name is not UTF-8: brokers take any bytes. Fetches nothing.

Its reader raises for such a record, which is fetched again at every start: one of them would end whoever reads its partition for
good. A batch that holds one is read by aiokafka's slower reader, with U+FFFD for what is no text.
"""

import struct
from collections.abc import Iterator
from typing import Any

from aiokafka.consumer import fetcher
from aiokafka.record.default_records import _DefaultRecordBatchPy
from aiokafka.record.memory_records import MemoryRecords

# of every format: base offset, and how many bytes follow
_HEAD = struct.Struct(">qi")


def read_any_header_name() -> None:
    """Have every aiokafka consumer of this process read them."""
    fetcher.MemoryRecords = _Records


class _Records:
    """The batches of one answer, as aiokafka's `MemoryRecords` gives them."""

    def __init__(self, content: bytes) -> None:
        self._records: Any = MemoryRecords(content)
        self._content = memoryview(content)

    def has_next(self) -> bool:
        return bool(self._records.has_next())

    def size_in_bytes(self) -> int:
        return int(self._records.size_in_bytes())

    def next_batch(self) -> "_Batch":
        size = _HEAD.size + _HEAD.unpack_from(self._content)[1]
        content, self._content = self._content[:size], self._content[size:]
        return _Batch(self._records.next_batch(), content)


class _Batch:
    def __init__(self, batch: Any, content: memoryview) -> None:
        self._batch = batch
        self._content = content

    def __getattr__(self, name: str) -> Any:
        return getattr(self._batch, name)

    def __next__(self) -> Any:
        return next(self._batch)

    def __iter__(self) -> Iterator[Any]:
        try:
            yield from self._batch
        except UnicodeDecodeError:
            # from the first one again: the consumer passes over offsets that it has
            batch = iter(_DefaultRecordBatchPy(self._content))
            batch._buffer = _AnyText(batch._buffer)  # noqa: SLF001  unpacked by now, and only looked at
            yield from batch


class _AnyText(bytearray):
    """Bytes of which any part can be decoded."""

    def __getitem__(self, place: Any) -> Any:
        part = super().__getitem__(place)
        return _AnyText(part) if isinstance(place, slice) else part

    def decode(self, encoding: str = "utf-8", errors: str = "replace") -> str:
        return super().decode(encoding, errors)
