"""Events from a file to a topic: JSON lines, Avro container or Parquet, through the producer SDK. Reads no topic."""

import json
import os
import sys
import time
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import MISSING, fields
from lzma import LZMAError
from pathlib import Path
from typing import Any, BinaryIO, Protocol

import fastavro

from schemas.errors import InvalidInput, InvalidRecord
from schemas.progress import OnProgress, untold
from schemas.records.candidates import Account, Article, Tweet
from schemas.records.feedback import Engagement, Impression
from schemas.records.users import User
from schemas.topics import ACCOUNTS, ARTICLES, ENGAGEMENTS, IMPRESSIONS, TWEETS, USERS
from streams.producer import Event

TOPICS: Mapping[str, type[Event]] = {
    TWEETS: Tweet,
    ACCOUNTS: Account,
    ARTICLES: Article,
    USERS: User,
    IMPRESSIONS: Impression,
    ENGAGEMENTS: Engagement,
}


# no record of so many bytes fits a topic; a line without an end would be read until memory is full
_LONGEST_LINE = 16 * 1024 * 1024
_TOLD_EVERY = 1000
_LOOK_S = 0.05


class Sender(Protocol):
    """What publishing asks of `streams.producer.Producer`."""

    @property
    def unacknowledged(self) -> int:
        """How many events the broker has yet to acknowledge."""
        ...

    def send(self, event: Event, /) -> None:
        """Check and queue an event."""
        ...

    def poll(self) -> None:
        """Take what the broker has answered."""
        ...


def publish_file(topic: str, path: Path | None, producer: Sender, *, on_progress: OnProgress = untold) -> int:
    """Publish every event of a file and return how many; each is acknowledged by then, or the producer's `flush` says why not.

    Args:
        topic: one of `TOPICS`.
        path: .jsonl, .avro or .parquet; None reads JSON lines from standard input.
        on_progress: of the events that are acknowledged, now and then; before the end of the file is reached, of how many follows
            from how far it is read.

    Raises:
        InvalidRecord: an event is not one of the topic's; the message names its place. Events before it were published.
    """
    record_type = TOPICS[topic]
    count = 0
    for count, (data, share) in enumerate(_events(path), 1):
        try:
            producer.send(_record(record_type, data))
        except InvalidInput as error:
            raise InvalidRecord(f"event {count} of {path or 'standard input'}: {error}") from error
        if count % _TOLD_EVERY == 0:
            on_progress(f"to {topic}", count - producer.unacknowledged, round(count / share) if share else 0)
    while left := producer.unacknowledged:
        on_progress(f"to {topic}", count - left, count)
        time.sleep(_LOOK_S)
        producer.poll()
    on_progress(f"to {topic}", count, count)
    return count


def _record(record_type: type[Event], data: Mapping[str, Any]) -> Event:
    known = fields(record_type)
    if unknown := data.keys() - {field.name for field in known}:
        raise InvalidRecord(f"unknown fields {sorted(unknown)}; a {record_type.SUBJECT} has {', '.join(f.name for f in known)}")
    required = {f.name for f in known if f.default is MISSING and f.default_factory is MISSING}
    if missing := required - data.keys():
        raise InvalidRecord(f"a {record_type.SUBJECT} needs {', '.join(sorted(missing))}")
    # the defaults of the class are those of the schema
    defaults = {f.name: f.default for f in known if f.default is not MISSING}
    try:
        return record_type.from_avro({**defaults, **data})
    except (TypeError, ValueError) as error:
        raise InvalidRecord(f"not a {record_type.SUBJECT}: {error}") from error


def _events(path: Path | None) -> Iterator[tuple[Mapping[str, Any], float]]:
    """Yield each event with the share of the file that is read then; 0 where nobody knows."""
    if path is None:
        yield from ((data, 0.0) for data in _json_lines(sys.stdin.buffer))
        return
    try:
        file = path.open("rb")
    except OSError as error:
        raise InvalidRecord(f"{path} cannot be read ({error.strerror}); name a file of events") from error
    with file:
        if path.suffix == ".parquet":
            yield from _parquet_rows(path, file)
        elif path.suffix == ".avro":
            yield from _with_share(file, _avro_records(path, file))
        else:
            yield from _with_share(file, _json_lines(file))


def _with_share(file: BinaryIO, events: Iterable[Mapping[str, Any]]) -> Iterator[tuple[Mapping[str, Any], float]]:
    # a pipe has no place, and a device no size
    size = os.fstat(file.fileno()).st_size if file.seekable() else 0
    for data in events:
        yield data, file.tell() / size if size else 0.0


def _parquet_rows(path: Path, file: BinaryIO) -> Iterator[tuple[Mapping[str, Any], float]]:
    try:
        from pyarrow import ArrowInvalid, parquet  # noqa: PLC0415 - only the trainer extra brings it
    except ImportError as error:
        raise InvalidRecord(f"{path} needs pyarrow: `pip install pyarrow`, or give Avro or JSON lines") from error
    try:
        table = parquet.ParquetFile(file)
        rows = (row for batch in table.iter_batches() for row in batch.to_pylist())
        yield from ((row, number / table.metadata.num_rows) for number, row in enumerate(rows, 1))
    except (ArrowInvalid, OSError) as error:
        raise InvalidRecord(f"{path} is no Parquet file, or a damaged one ({_first_line(error)})") from error


def _avro_records(path: Path, file: BinaryIO) -> Iterator[Mapping[str, Any]]:
    try:
        for datum in fastavro.reader(file):
            if not isinstance(datum, dict):
                raise InvalidRecord(f"{path} holds no records")
            yield datum
    # whatever bytes do to a decoder, or to what unpacks a block; bzip2's error is an OSError
    except (
        *(ValueError, EOFError, IndexError, KeyError, OverflowError, fastavro.schema.SchemaParseException),
        *(OSError, LZMAError, zlib.error),
    ) as error:
        raise InvalidRecord(f"{path} is no Avro container, or a damaged one ({_first_line(error)})") from error


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


def _json_lines(file: BinaryIO) -> Iterator[Mapping[str, Any]]:
    for number, line in enumerate(iter(lambda: file.readline(_LONGEST_LINE + 1), b""), 1):
        if len(line) > _LONGEST_LINE:
            raise InvalidRecord(f"line {number} is longer than {_LONGEST_LINE:,} bytes; give one event a line")
        if not line.strip():
            continue
        try:
            data = json.loads(line)
        # not JSON, or not UTF-8; or brackets without end
        except (ValueError, RecursionError) as error:
            raise InvalidRecord(f"line {number} is not JSON ({error})") from error
        if not isinstance(data, dict):
            raise InvalidRecord(f"line {number} is not a JSON object")
        yield data
