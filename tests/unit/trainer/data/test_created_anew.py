"""A topic that is deleted and created anew between two looks, and is the longer one by then: offsets alone say nothing."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest

from schemas.codec import encode
from schemas.errors import BrokerUnavailable
from schemas.topics import EXAMPLES
from schemas.wire.inbound import InboundRecord
from tests.tiny_world import tiny_world
from trainer.data import tail
from trainer.data.topics import ExampleTail

EXAMPLE = tiny_world(users=3, tweets=5, impressions=1).examples[0]


class Broker:
    """One topic of one partition, with the id that it has now."""

    def __init__(self) -> None:
        self.identity = "first"
        self.names: list[str] = []
        # what becomes of it while it is read, a read at a time
        self.anew: list[tuple[str, list[str]]] = []

    def become(self) -> None:
        """Be the next topic of the name, if there is one."""
        if self.anew:
            self.identity, self.names = self.anew.pop(0)

    def reader(self, *_: object, start: Mapping[int, int], **__: Any) -> "Reader":
        """Return a reader of the topic that there is at each moment, as a client that knows topics by name."""
        return Reader(self, start.get(0, 0))


class Reader:
    """See `TailReader`."""

    def __init__(self, broker: Broker, start: int) -> None:
        self._broker = broker
        self.next_offsets = {0: start}

    def end_offsets(self, *, committed: bool = False) -> Mapping[int, int]:
        """See `TailReader`."""
        return {0: len(self._broker.names)}

    def poll(self, *_: object) -> Sequence[InboundRecord]:
        """See `TailReader`."""
        first, self.next_offsets[0] = self.next_offsets[0], len(self._broker.names)
        records = [
            InboundRecord(EXAMPLES, 0, offset, 0, b"u", encode(replace(EXAMPLE, example_id=self._broker.names[offset])))
            for offset in range(first, self.next_offsets[0])
        ]
        self._broker.become()
        return records

    def close(self) -> None:
        """See `TailReader`."""


def test_examples_of_a_topic_that_outgrew_the_one_before_are_trained_on_from_its_beginning(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first of them were passed over in silence, as those that the live bundle had learned from on the topic that is gone."""
    broker = Broker()
    monkeypatch.setattr(tail, "TailReader", broker.reader)
    monkeypatch.setattr(tail, "partitions_of", lambda *_: [0])
    monkeypatch.setattr(tail, "identity_of", lambda *_: broker.identity)
    examples = ExampleTail("127.0.0.1:9092", EXAMPLE.surface)

    def seen(start: int, of: str | None = "first") -> list[str]:
        return [one.example_id for one in examples.window({0: start}, of=of).examples()]

    broker.names = ["a", "b", "c"]
    assert seen(2) == ["c"]
    broker.identity, broker.names = "second", ["d", "e", "f", "g"]
    assert seen(2) == ["d", "e", "f", "g"]
    broker.names.append("h")
    assert seen(2) == ["d", "e", "f", "g", "h"], "as long as nothing was learned of it"
    assert examples.window({0: 4}, of="second").topic_id == "second"
    assert seen(4, "second") == ["h"]
    assert seen(3, "second") == ["g", "h"]
    assert seen(3, None) == ["g", "h"], "nobody knows whose offset it is: it counts"
    examples.close()


def test_a_reader_that_never_saw_the_topic_before_begins_at_the_beginning_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """A trainer that was down meanwhile could not tell one topic from the other."""
    broker = Broker()
    monkeypatch.setattr(tail, "TailReader", broker.reader)
    monkeypatch.setattr(tail, "partitions_of", lambda *_: [0])
    monkeypatch.setattr(tail, "identity_of", lambda *_: broker.identity)
    broker.identity, broker.names = "second", ["d", "e", "f", "g"]
    examples = ExampleTail("127.0.0.1:9092", EXAMPLE.surface)
    window = examples.window({0: 2}, of="first")
    assert [one.example_id for one in window.examples()] == ["d", "e", "f", "g"]
    assert window.offsets == {0: (0, 4)}
    examples.close()


def test_a_topic_that_is_created_anew_time_and_again_while_it_is_read_is_read_from_its_last_beginning(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What was read of one that is gone was trained on, and of a second change within one look the schedule ended."""
    broker = Broker()
    monkeypatch.setattr(tail, "TailReader", broker.reader)
    monkeypatch.setattr(tail, "partitions_of", lambda *_: [0])
    monkeypatch.setattr(tail, "identity_of", lambda *_: broker.identity)
    examples = ExampleTail("127.0.0.1:9092", EXAMPLE.surface)
    broker.names, broker.anew = ["a"], [("second", ["b", "c"]), ("third", ["d", "e", "f"])]
    window = examples.window()
    assert [one.example_id for one in window.examples()] == ["d", "e", "f"]
    assert window.topic_id == "third"
    broker.names = [*broker.names, "g"]
    broker.anew = [(f"anew {n}", ["h"]) for n in range(9)]
    with pytest.raises(BrokerUnavailable, match="who deletes it"):
        examples.window()
    broker.anew = []
    assert [one.example_id for one in examples.window().examples()] == ["h"]
    examples.close()
