"""Dead letters that are sent again; on a real broker they are tested with the command."""

import pytest

from roost import cli, dead_letters
from roost.cli import dlq
from roost.dead_letters import send_again
from schemas.errors import DeliveryFailed
from schemas.wire.dlq import DeadLetter


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
    monkeypatch.setattr(dlq, "read_dead_letters", lambda _, topic: [letter] if topic == "tweets" else [])
    monkeypatch.setattr(dlq, "send_again", lambda _, letters, **__: sent.extend(letters))
    assert cli.run(["dlq", "replay", "tweets", "users", "tweets", "--json"]) == 0
    assert sent == [letter]
