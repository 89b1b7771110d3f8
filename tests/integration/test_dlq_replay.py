"""`roost dlq replay` on a real broker: what was mended is folded, what was not comes back with a higher count."""

import json
import time
from pathlib import Path
from typing import Any

import pytest

from roost import cli
from roost.broker import Broker
from schemas.codec import encode, schema_name, writer_id
from schemas.errors import UndecodableRecord
from schemas.records.candidates import Tweet
from schemas.topics import ENGAGEMENTS, TWEETS, dlq
from schemas.wire.admin import delete_topics, make_admin
from schemas.wire.dlq import PRODUCER_HEADER, DeadLetter, DeadLetterWriter
from schemas.wire.inbound import InboundRecord
from schemas.wire.partition import partition_of
from streams.outbox import Outbox
from streams.producer import Producer
from streams.settings import EmbedderSettings
from tests.embedder_thread import running_embedder
from tests.streams_kit import candidates, prepare, read_all, wait_until

HEADERS = [("trace", b"\xfe"), ("none", None), ("trace", b"twice")]


@pytest.fixture
def bootstrap(fresh_broker: Broker) -> str:
    """Return a broker with every topic."""
    prepare(fresh_broker.bootstrap)
    return fresh_broker.bootstrap


def roost(capsys: pytest.CaptureFixture[str], bootstrap: str, words: str) -> tuple[int, dict[str, Any]]:
    """Run `roost dlq …` and return its exit code and the JSON object it prints."""
    capsys.readouterr()
    code = cli.run(["dlq", *words.split(), "--bootstrap", bootstrap, "--json"])
    return code, json.loads(capsys.readouterr().out)


def letters(capsys: pytest.CaptureFixture[str], bootstrap: str) -> list[dict[str, Any]]:
    """Return the entries of tweets as `roost dlq show` has them."""
    entries: list[dict[str, Any]] = roost(capsys, bootstrap, "show tweets")[1]["entries"]
    return entries


def test_a_letter_is_folded_once_its_cause_is_mended(bootstrap: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A producer with another partitioner sent good tweets astray: sent again by the rule, they are candidates like any other."""
    outbox = Outbox(bootstrap)
    astray, now_ms = {}, time.time_ns() // 1_000_000
    for n in range(3):
        candidate_id = f"t:{n}"
        astray[candidate_id] = encode(Tweet(candidate_id, now_ms, n, "a:1", now_ms))
        wrong = (partition_of(candidate_id.encode(), 4) + 1) % 4
        outbox.produce(TWEETS, astray[candidate_id], candidate_id.encode(), wrong, headers=HEADERS)
    outbox.produce(TWEETS, b"junk", b"t:junk", headers=HEADERS)
    outbox.flush_all(timeout_s=10)
    with running_embedder(EmbedderSettings(bootstrap=bootstrap, registry=tmp_path, checkpoint_interval_s=0.2)):
        wait_until(lambda: len(letters(capsys, bootstrap)) == 4, what="four dead letters")
        assert candidates(bootstrap) == {}
        counted = {row["schema"]: row for row in roost(capsys, bootstrap, "list")[1]["dead_letters"]}
        assert {name: row["entries"] for name, row in counted.items()} == {schema_name(writer_id("tweet")): 3, "none": 1}
        assert counted["none"]["newest_ms"] >= now_ms
        assert {row["producer"] for row in counted.values()} == {None}
        code, planned = roost(capsys, bootstrap, "replay tweets --error InvalidRecord --dry-run")
        assert (code, planned["sent"], len(planned["letters"])) == (0, 0, 3)
        assert len(letters(capsys, bootstrap)) == 4
        code, done = roost(capsys, bootstrap, "replay tweets --error InvalidRecord")
        assert (code, done["sent"]) == (0, 3)
        assert done["letters"] == planned["letters"]
        wait_until(lambda: set(candidates(bootstrap)) == set(astray), what="the candidates")
    assert [letter["error_kind"] for letter in letters(capsys, bootstrap)] == ["UndecodableRecord"]
    resent = [
        record for record in read_all(bootstrap, TWEETS) if (record.headers or ()) and record.headers[-1][0] == "roost-attempts"
    ]
    assert {(r.key or b"").decode(): r.value for r in resent} == astray
    for record in resent:
        assert record.headers == (*HEADERS, ("roost-attempts", b"1"))
        assert record.partition == partition_of(record.key or b"", 4)


def test_a_producer_that_names_itself_is_found_by_its_name(
    bootstrap: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The name goes with each record to its letter, and again with what is sent again: who has to mend it is known."""
    with Producer(bootstrap, name="timeline-writer") as producer:
        producer.tweet("t:1", author_id="a:1")
    (record,) = read_all(bootstrap, TWEETS)
    assert record.headers == ((PRODUCER_HEADER, b"timeline-writer"),)
    outbox = Outbox(bootstrap)
    outbox.produce(TWEETS, record.value, record.key, (record.partition + 1) % 4, headers=list(record.headers))
    outbox.produce(TWEETS, b"junk", b"t:junk")
    outbox.flush_all(timeout_s=10)
    with running_embedder(EmbedderSettings(bootstrap=bootstrap, registry=tmp_path, checkpoint_interval_s=0.2)):
        wait_until(lambda: len(letters(capsys, bootstrap)) == 2, what="two dead letters")
    rows = roost(capsys, bootstrap, "list")[1]["dead_letters"]
    assert {(row["producer"], row["error"]) for row in rows} == {("timeline-writer", "InvalidRecord"), (None, "UndecodableRecord")}
    assert roost(capsys, bootstrap, "replay tweets --producer timeline-writer")[1]["sent"] == 1
    (resent,) = [one for one in read_all(bootstrap, TWEETS) if (one.headers or ())[-1:] == (("roost-attempts", b"1"),)]
    assert resent.headers == (*record.headers, ("roost-attempts", b"1"))
    assert [letter["producer"] for letter in letters(capsys, bootstrap)] == [None]


def test_a_record_that_was_too_large_for_its_letter_is_not_sent_again_as_a_null(
    bootstrap: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """On a candidate topic that would delete what it only updated."""
    outbox = Outbox(bootstrap)
    writer = DeadLetterWriter(outbox, role="embedder")
    writer.write(InboundRecord(TWEETS, 1, 7, 0, b"t:1", b"\0" * 5_000_000), UndecodableRecord("no tweet"))
    writer.write(InboundRecord(TWEETS, 1, 8, 0, b"t:2", b"junk"), UndecodableRecord("no tweet"))
    outbox.flush_all(timeout_s=10)
    code, _ = roost(capsys, bootstrap, "replay --entry tweets/1/7")
    assert code == 1
    code, done = roost(capsys, bootstrap, "replay tweets")
    assert (code, done["sent"]) == (0, 1)
    assert [(record.key, record.value) for record in read_all(bootstrap, TWEETS)] == [(b"t:2", b"junk")]
    assert [entry["error_kind"] for entry in letters(capsys, bootstrap)] == ["RecordTooLarge"]


def test_a_record_that_fits_only_as_its_producer_compressed_it_is_sent_again(
    bootstrap: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Sent as it is, the broker refuses it, and every replay ended there: the letters behind it were never sent."""
    outbox = Outbox(bootstrap)
    record = InboundRecord(TWEETS, 1, 7, 0, b"t:1", b"word " * 300_000)
    DeadLetterWriter(outbox, role="embedder").write(record, UndecodableRecord("no tweet"))
    outbox.flush_all(timeout_s=10)
    code, done = roost(capsys, bootstrap, "replay tweets")
    assert (code, done.get("sent")) == (0, 1)
    assert [(found.key, found.value) for found in read_all(bootstrap, TWEETS)] == [(record.key, record.value)]
    assert letters(capsys, bootstrap) == []


def test_a_letter_that_fails_again_comes_back_whole_with_a_higher_count(
    bootstrap: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whoever mends by trying must see that it was tried, and still have the producer's own bytes after the third time."""
    outbox = Outbox(bootstrap)
    outbox.produce(TWEETS, b"\x00not avro", b"t:1", headers=HEADERS)
    outbox.produce(TWEETS, b"other", b"t:2")
    outbox.flush_all(timeout_s=10)
    with running_embedder(EmbedderSettings(bootstrap=bootstrap, registry=tmp_path, checkpoint_interval_s=0.2)):
        wait_until(lambda: len(letters(capsys, bootstrap)) == 2, what="two dead letters")
        (first,) = [letter for letter in letters(capsys, bootstrap) if letter["headers"]]
        entry = first
        for attempts in (2, 3):
            key = f"tweets/{entry['partition']}/{entry['offset']}"
            assert roost(capsys, bootstrap, f"replay --entry {key}")[0] == 0

            def back(attempts: int = attempts) -> bool:
                return attempts in [letter["attempts"] for letter in letters(capsys, bootstrap)]

            wait_until(back, what=f"the letter after {attempts} attempts")
            entry = next(letter for letter in letters(capsys, bootstrap) if letter["attempts"] == attempts)
            same = ("key", "value", "headers", "error_kind", "error", "schema_id", "partition")
            assert {name: entry[name] for name in same} == {name: first[name] for name in same}
            assert len(letters(capsys, bootstrap)) == 2
    assert len({record.key for record in read_all(bootstrap, dlq(TWEETS), 1)}) == 4


def test_what_cannot_be_sent_again_is_said_before_anything_is(bootstrap: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A typed entry that does not exist, or a topic without dead letters, must not end as a success that sent nothing."""
    assert cli.run(["dlq", "replay", "--entry", "tweets/0/99", "--bootstrap", bootstrap]) == 1
    assert "no such entry: tweets/0/99" in capsys.readouterr().err
    assert cli.run(["dlq", "replay", "candidates", "--bootstrap", bootstrap]) == 2
    assert cli.run(["dlq", "replay", "--bootstrap", bootstrap]) == 2
    assert roost(capsys, bootstrap, "replay tweets") == (0, {"dry_run": False, "sent": 0, "letters": []})
    assert read_all(bootstrap, TWEETS) == []


def test_a_dead_letter_topic_that_is_missing_costs_no_other_ones_letters(
    bootstrap: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """The count ended without a word of the others, after waiting for a topic that nobody had created."""
    outbox = Outbox(bootstrap)
    letter = DeadLetter(TWEETS, 0, 7, 1, b"t:7", b"junk", "UndecodableRecord", "no magic byte", "embed")
    outbox.produce(dlq(TWEETS), encode(letter), letter.record_key)
    outbox.flush_all(timeout_s=10)
    delete_topics(make_admin(bootstrap), [dlq(ENGAGEMENTS)])
    capsys.readouterr()
    assert cli.run(["dlq", "list", "--bootstrap", bootstrap, "--json"]) == 0
    printed = capsys.readouterr()
    counted = json.loads(printed.out)
    assert [(row["topic"], row["entries"]) for row in counted["dead_letters"]] == [(TWEETS, 1)]
    assert counted["missing"] == [dlq(ENGAGEMENTS)]
    assert f"topic {dlq(ENGAGEMENTS)} does not exist" in printed.err
    assert "roost topics create" in printed.err
