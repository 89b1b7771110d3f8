"""Dead letters that are sent again; on a real broker they are tested with the command."""

import json

import pytest

from roost import cli, dead_letters
from roost.cli import dlq
from roost.dead_letters import send_again
from schemas.errors import DeliveryFailed
from schemas.wire.dlq import PRODUCER_HEADER, DeadLetter, Header


def test_letters_that_no_broker_took_are_told_to_be_still_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a full disk the broker ends under a replay; whoever read only that nothing was acknowledged feared for the records."""
    monkeypatch.setattr(dead_letters, "_ACKNOWLEDGED_S", 0.1)
    letter = DeadLetter("tweets", 0, 7, 1, b"t:7", b"junk", "UndecodableRecord", "no magic byte", "embed")
    with pytest.raises(DeliveryFailed, match=r"1 records are not acknowledged yet.*still a dead letter.*replay again"):
        send_again("127.0.0.1:1", [letter], on_progress=lambda _: None)


def test_a_topic_that_is_named_twice_has_its_letters_sent_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A list put together by a script; each record went out twice, and the count said so without a word."""
    sent: list[DeadLetter] = []
    letter = DeadLetter("tweets", 0, 7, 1, b"t:7", b"junk", "UndecodableRecord", "no magic byte", "embed")
    monkeypatch.setattr(dlq, "broker_of", lambda *_: "127.0.0.1:1")
    monkeypatch.setattr(dlq, "read_dead_letters", lambda _, topic, **__: [letter] if topic == "tweets" else [])
    monkeypatch.setattr(dlq, "send_again", lambda _, letters, **__: sent.extend(letters))
    assert cli.run(["dlq", "replay", "tweets", "users", "tweets", "--json"]) == 0
    assert sent == [letter]


def test_letters_are_counted_and_sent_again_by_their_producer(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Two programs with one library write one schema: which of them sends what nobody can read was not to be seen."""
    by = {"old-app": 1, "new-app": 2, None: 1}
    letters = [
        DeadLetter("tweets", 0, offset, 1, b"t:7", b"junk", "UndecodableRecord", "no magic byte", "embed", headers)
        for offset, name in enumerate(name for name, count in by.items() for _ in range(count))
        for headers in [() if name is None else (Header("trace", None), Header(PRODUCER_HEADER, name.encode()))]
    ]
    sent: list[DeadLetter] = []
    monkeypatch.setattr(dlq, "broker_of", lambda *_: "127.0.0.1:1")
    monkeypatch.setattr(dlq, "read_dead_letters", lambda _, topic, **__: letters if topic == "tweets" else [])
    monkeypatch.setattr(dlq, "without_dead_letter_topic", lambda _: ())
    monkeypatch.setattr(dlq, "send_again", lambda _, letters, **__: sent.extend(letters))
    assert cli.run(["dlq", "list", "--json"]) == 0
    assert {row["producer"]: row["entries"] for row in json.loads(capsys.readouterr().out)["dead_letters"]} == by
    assert cli.run(["dlq", "replay", "tweets", "--producer", "new-app", "--dry-run", "--json"]) == 0
    assert sent == []
    assert cli.run(["dlq", "replay", "tweets", "--producer", "new-app"]) == 0
    assert sent == letters[1:3]
    assert cli.run(["dlq", "show", "tweets"]) == 0
    assert "by old-app, written with" in capsys.readouterr().out


def test_a_header_of_somebody_else_that_is_no_text_costs_no_letter() -> None:
    """Anybody may write a header."""
    letter = DeadLetter("tweets", 0, 7, 1, b"t:7", b"junk", "X", "x", "embed", (Header(PRODUCER_HEADER, b"\xff app"),))
    assert letter.producer == "\N{REPLACEMENT CHARACTER} app"
