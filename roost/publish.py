"""Events from a file to a topic: JSON lines, Avro container or Parquet, through the producer SDK. Reads no topic."""

import json
import sys
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import MISSING, fields
from lzma import LZMAError
from pathlib import Path
from typing import Any, BinaryIO, Protocol

import fastavro

from schemas.errors import InvalidInput, InvalidRecord
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


class Sender(Protocol):
    """What publishing asks of `streams.producer.Producer`."""

    def send(self, event: Event, /) -> None:
        """Check and queue an event."""
        ...


def publish_file(topic: str, path: Path | None, producer: Sender, *, on_progress: Callable[[int], None]) -> int:
    """Publish every event of a file and return how many; all are acknowledged when the producer is flushed.

    Args:
        topic: one of `TOPICS`.
        path: .jsonl, .avro or .parquet; None reads JSON lines from standard input.
        on_progress: takes the number of events so far, now and then.

    Raises:
        InvalidRecord: an event is not one of the topic's; the message names its place. Events before it were published.
    """
    record_type = TOPICS[topic]
    count = 0
    for count, data in enumerate(_events(path), 1):
        try:
            producer.send(_record(record_type, data))
        except InvalidInput as error:
            raise InvalidRecord(f"event {count} of {path or 'standard input'}: {error}") from error
        if count % 1000 == 0:
            on_progress(count)
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


def _events(path: Path | None) -> Iterator[Mapping[str, Any]]:
    if path is None:
        yield from _json_lines(sys.stdin.buffer)
        return
    try:
        file = path.open("rb")
    except OSError as error:
        raise InvalidRecord(f"{path} cannot be read ({error.strerror}); name a file of events") from error
    with file:
        if path.suffix == ".parquet":
            yield from _parquet_rows(path, file)
        elif path.suffix == ".avro":
            yield from _avro_records(path, file)
        else:
            yield from _json_lines(file)


def _parquet_rows(path: Path, file: BinaryIO) -> Iterator[Mapping[str, Any]]:
    try:
        from pyarrow import ArrowInvalid, parquet  # noqa: PLC0415 - only the trainer extra brings it
    except ImportError as error:
        raise InvalidRecord(f"{path} needs pyarrow: `pip install pyarrow`, or give Avro or JSON lines") from error
    try:
        for batch in parquet.ParquetFile(file).iter_batches():
            yield from batch.to_pylist()
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
