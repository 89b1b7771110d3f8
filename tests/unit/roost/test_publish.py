"""Files of events: what is published, and what is said of a line that is no event."""

import io
import json
import os
import sys
import threading
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import fastavro
import pytest

from roost import cli, publish
from roost.cli import data
from roost.publish import publish_file
from schemas.errors import InvalidRecord
from schemas.progress import OnProgress
from schemas.records.candidates import Tweet
from streams.producer import Event


class FakeProducer:
    """Keeps what was sent; a broker acknowledges one event at each poll."""

    def __init__(self) -> None:
        self.sent: list[Event] = []
        self.unacknowledged = 0
        self.written: dict[str, dict[int, int]] = {}

    def send(self, event: Event) -> None:
        """Keep the event."""
        self.sent.append(event)
        self.unacknowledged += 1

    def poll(self) -> None:
        """Have one event acknowledged."""
        self.unacknowledged -= 1


TWEET = {"candidate_id": "t:1", "event_time_ms": 5, "sequence": 0, "author_id": "a:ü", "created_ms": 5, "topics": ["日本"]}


def published(topic: str, path: Path | None) -> list[Any]:
    """Publish a file to a fake."""
    producer = FakeProducer()
    assert publish_file(topic, path, producer) == len(producer.sent)
    assert producer.unacknowledged == 0
    return producer.sent


def test_json_lines_become_typed_events(tmp_path: Path) -> None:
    """Unicode survives, defaults fill what is absent, empty lines are nothing."""
    path = tmp_path / "tweets.jsonl"
    path.write_text(json.dumps(TWEET, ensure_ascii=False) + "\n\n", "utf-8")
    assert published("tweets", path) == [Tweet("t:1", 5, 0, "a:ü", 5, topics=("日本",))]


def test_an_avro_container_becomes_the_same_events(tmp_path: Path) -> None:
    """The format other teams' jobs write."""
    path = tmp_path / "tweets.avro"
    fields = [
        {
            "name": name,
            "type": {"type": "array", "items": "string"} if name == "topics" else "long" if isinstance(value, int) else "string",
        }
        for name, value in TWEET.items()
    ]
    with path.open("wb") as file:
        fastavro.writer(file, {"type": "record", "name": "T", "fields": fields}, [TWEET])
    assert published("tweets", path) == [Tweet("t:1", 5, 0, "a:ü", 5, topics=("日本",))]


def test_standard_input_is_read_as_json_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    """`… | roost publish tweets -`."""
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(json.dumps(TWEET).encode())))
    assert len(published("tweets", None)) == 1


def test_it_says_how_many_events_are_acknowledged_of_how_many_the_file_holds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Queued is not in the log; and how many lines a file has nobody knows before its end, only how far it is read."""
    monkeypatch.setattr(publish, "_TOLD_EVERY", 2)
    monkeypatch.setattr(publish, "_LOOK_S", 0.0)
    path = tmp_path / "tweets.jsonl"
    path.write_text((json.dumps(TWEET) + "\n") * 4, "utf-8")
    told: list[tuple[str, int, int]] = []
    publish_file("tweets", path, FakeProducer(), on_progress=lambda *how_far: told.append(how_far))
    assert told == [("to tweets", done, 4) for done in (0, 0, 0, 1, 2, 3, 4)]

    table = pytest.importorskip("pyarrow").Table.from_pylist([TWEET] * 4)
    pytest.importorskip("pyarrow.parquet").write_table(table, tmp_path / "tweets.parquet")
    told.clear()
    publish_file("tweets", tmp_path / "tweets.parquet", FakeProducer(), on_progress=lambda *how_far: told.append(how_far))
    assert told[:2] == [("to tweets", 0, 4)] * 2

    told.clear()
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(path.read_bytes())))
    publish_file("tweets", None, FakeProducer(), on_progress=lambda *how_far: told.append(how_far))
    assert told[:2] == [("to tweets", 0, 0)] * 2, "of standard input nobody knows how much there is"


def test_a_pipe_that_has_a_name_is_published_too(tmp_path: Path) -> None:
    """`roost publish tweets <(zcat tweets.jsonl.gz)`: it has no place to tell how far it is read."""
    path = tmp_path / "tweets.jsonl"
    os.mkfifo(path)
    writer = threading.Thread(target=path.write_text, args=(json.dumps(TWEET) + "\n", "utf-8"), daemon=True)
    writer.start()
    assert len(published("tweets", path)) == 1
    writer.join()


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("{", "line 2 is not JSON"),
        ("[" * 100_000, "line 2 is not JSON"),
        ("[1]", "line 2 is not a JSON object"),
        (json.dumps({**TWEET, "colour": "red"}), "event 2 of .*unknown fields \\['colour'\\]"),
        (json.dumps({"candidate_id": "t:1"}), "event 2 of .*needs author_id"),
    ],
)
def test_a_line_that_is_no_event_is_named_with_its_place(line: str, says: str, tmp_path: Path) -> None:
    """A million-line file with one bad line: which one, and what to do."""
    path = tmp_path / "tweets.jsonl"
    path.write_text(json.dumps(TWEET) + "\n" + line + "\n", "utf-8")
    with pytest.raises(InvalidRecord, match=says):
        published("tweets", path)


@pytest.mark.parametrize("name", ["tweets.avro", "tweets.parquet"])
@pytest.mark.parametrize("content", [b"", b"no events", b"Obj\x01\xff\xff\xff", b"PAR1\x00\x00\x00\x00PAR1"])
def test_a_file_that_is_not_what_its_name_says_is_a_sentence(name: str, content: bytes, tmp_path: Path) -> None:
    """A download that broke off, or JSON under another name: whatever the bytes do to a decoder, no trace."""
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(InvalidRecord, match=f"{name} is no .*, or a damaged one"):
        published("tweets", path)


@pytest.mark.parametrize("codec", ["deflate", "bzip2", "xz"])
def test_a_damaged_block_of_a_compressed_file_is_a_sentence(codec: str, tmp_path: Path) -> None:
    """What unpacks it has errors of its own."""
    path = tmp_path / "tweets.avro"
    with path.open("wb") as file:
        schema = {"type": "record", "name": "T", "fields": [{"name": "candidate_id", "type": "string"}]}
        fastavro.writer(file, schema, [{"candidate_id": f"t:{n}"} for n in range(99)], codec=codec)
    data = bytearray(path.read_bytes())
    # between the mark that ends the header, two numbers of two bytes, and the mark that ends the block
    begin = data.index(data[-16:]) + 16 + 4
    data[begin:-16] = b"\xff" * len(data[begin:-16])
    path.write_bytes(data)
    with pytest.raises(InvalidRecord, match=r"tweets\.avro is no .*, or a damaged one"):
        published("tweets", path)


def test_a_file_that_cannot_be_read_is_a_sentence(tmp_path: Path) -> None:
    """A typo in its name, or a folder's name."""
    for path in (tmp_path / "none.avro", tmp_path):
        with pytest.raises(InvalidRecord, match=r"cannot be read .*; name a file of events"):
            published("tweets", path)


def test_a_line_without_an_end_is_refused_before_it_fills_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Piped a device instead of a file, the command read until the kernel ended it."""

    class Endless(io.RawIOBase):
        read_bytes = 0

        def readable(self) -> bool:
            return True

        def readinto(self, buffer: Any) -> int:
            self.read_bytes += len(buffer)
            assert self.read_bytes < 64 * 1024 * 1024
            buffer[:] = b"y" * len(buffer)
            return len(buffer)

    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BufferedReader(Endless())))
    with pytest.raises(InvalidRecord, match="one event a line"):
        published("tweets", None)


def test_the_command_draws_both_bars_on_stderr(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """While events are acknowledged, and while nodes take them in."""

    def waited(*_: object, on_progress: OnProgress, **__: object) -> list[str]:
        on_progress("reflected", 1, 2)
        return []

    monkeypatch.setattr(data, "broker_of", lambda *_: "b:1")
    monkeypatch.setattr(data, "Producer", lambda _: nullcontext(FakeProducer()))
    monkeypatch.setattr(data, "wait_until_retrievable", waited)
    path = tmp_path / "tweets.jsonl"
    path.write_text(json.dumps(TWEET), "utf-8")
    assert cli.run(["publish", "tweets", str(path), "--wait", "--json"]) == 0
    drawn = capsys.readouterr()
    assert json.loads(drawn.out)["acknowledged"] == 1
    assert "to tweets: 1 events" in drawn.err
    assert "reflected: 1 events" in drawn.err
