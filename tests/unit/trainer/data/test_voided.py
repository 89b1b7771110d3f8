"""Nulls among the examples: what they void, by event time, whenever they were written."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest

from schemas.codec import encode
from schemas.surfaces import load_surfaces
from schemas.topics import EXAMPLES
from schemas.voided import ERASED, erased_header, erased_ms_of
from schemas.wire.inbound import InboundRecord
from tests.tiny_world import tiny_world
from trainer.data import tail
from trainer.data.topics import ExampleTail, read_again
from trainer.data.windows import CorpusAt
from trainer.training import TrainingData

SURFACES = load_surfaces()
EXAMPLE = tiny_world(users=3, tweets=5, impressions=1).examples[0]
SURFACE = SURFACES[EXAMPLE.surface]


class Reader:
    """See `TailReader`: of examples that the test writes."""

    examples: Sequence[InboundRecord] = ()

    def __init__(self, _bootstrap: str, topic: str, _partitions: Sequence[int], *, start: Mapping[int, int], **_: Any) -> None:
        """Stand at `start`, or at the log's beginning; there are no candidates."""
        self.next_offsets = {0: start.get(0, 0)}
        self.log = self.examples if topic == EXAMPLES else ()

    def end_offsets(self, *, committed: bool = False) -> Mapping[int, int]:
        """See `TailReader`."""
        return {0: len(self.log)}

    def poll(self, *_: object) -> Sequence[InboundRecord]:
        """See `TailReader`."""
        first, self.next_offsets[0] = self.next_offsets[0], len(self.log)
        return self.log[first:]

    def close(self) -> None:
        """See `TailReader`."""


def write(monkeypatch: pytest.MonkeyPatch, *records: InboundRecord) -> None:
    """Make the topic hold these records."""
    monkeypatch.setattr(tail, "TailReader", Reader)
    monkeypatch.setattr(tail, "partitions_of", lambda *_: [0])
    monkeypatch.setattr(tail, "identity_of", lambda *_: "the topic")
    monkeypatch.setattr(Reader, "examples", [record._replace(offset=offset) for offset, record in enumerate(records)])


def read(monkeypatch: pytest.MonkeyPatch, *records: InboundRecord) -> tuple[list[int], Mapping[str, int]]:
    """Return the event times of the examples in a log, and when users were deleted by it."""
    write(monkeypatch, *records)
    examples = ExampleTail("127.0.0.1:9092", EXAMPLE.surface)
    window = examples.window()
    examples.close()
    return [one.event_time_ms for one in window.examples()], window.erased_ms


def shown(at_ms: int) -> InboundRecord:
    """Return an example of an impression of then, appended ten later."""
    example = replace(EXAMPLE, user_id="u", example_id=str(at_ms), event_time_ms=at_ms)
    return InboundRecord(EXAMPLES, 0, 0, at_ms + 10, b"u", encode(example))


def null(appended_ms: int, *headers: tuple[str, bytes | None]) -> InboundRecord:
    """Return a null of the same user."""
    return InboundRecord(EXAMPLES, 0, 0, appended_ms, b"u", None, headers)


def test_a_delete_that_comes_again_voids_nothing_of_after_the_users_return(monkeypatch: pytest.MonkeyPatch) -> None:
    """Redelivered after a crash it is written anew, later: a week of a user who came back was lost to training."""
    delete = erased_header(150)
    log = (shown(100), null(160, delete), shown(155), shown(200), null(900, delete), shown(140), shown(300))
    assert read(monkeypatch, *log) == ([155, 200, 300], {"u": 150})


def test_of_two_deletes_the_later_one_counts_in_any_order(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first may be redelivered behind the second."""
    log = (shown(100), null(260, erased_header(250)), null(270, erased_header(150)), shown(200), shown(260))
    assert read(monkeypatch, *log) == ([260], {"u": 250})


@pytest.mark.parametrize("headers", [(), ((ERASED, None),), ((ERASED, b"x"),), ((ERASED, b"9" * 5_000),), (("other", b"1"),)])
def test_a_null_that_does_not_say_when_voids_what_was_shown_before_it_was_appended(
    headers: tuple[tuple[str, bytes | None], ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As earlier releases wrote them: they stand in the log for a month."""
    assert erased_ms_of(null(160, *headers)) == 160
    assert read(monkeypatch, shown(155), null(160, *headers), shown(200)) == ([200], {"u": 160})


@pytest.mark.parametrize("deleted_at", [6, 8])
def test_a_training_reads_the_same_again_though_a_user_was_deleted_in_what_was_held_out_or_since(
    deleted_at: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Read up to the held-out part alone, the deleted user's examples were among the data, and a rebuild was refused."""
    log = [shown(100 + offset) for offset in range(10)]
    log[deleted_at] = null(500, erased_header(104))
    write(monkeypatch, *log[:8])
    examples = ExampleTail("127.0.0.1:9092", EXAMPLE.surface)
    data = TrainingData.of_window(examples.window(), CorpusAt(()), evaluation_share=0.25)
    examples.close()
    write(monkeypatch, *log)
    window, _ = read_again("127.0.0.1:9092", SURFACE, SURFACES, examples=data.offsets, candidates={}, at_ms=0, read_to=data.read_to)
    assert list(window.between(data.offsets).examples()) == list(data.train)
    assert len(data.train) == (2 if deleted_at == 6 else 6)
