"""Nulls among the examples: what they void, by event time, whenever they were written."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest

from schemas.codec import encode
from schemas.topics import EXAMPLES
from schemas.voided import ERASED, erased_header, erased_ms_of
from schemas.wire.inbound import InboundRecord
from tests.tiny_world import tiny_world
from trainer.data import tail
from trainer.data.topics import ExampleTail

EXAMPLE = tiny_world(users=3, tweets=5, impressions=1).examples[0]


class Reader:
    """See `TailReader`: of a log that the test writes."""

    log: Sequence[InboundRecord] = ()

    def __init__(self, *_: object, start: Mapping[int, int], **__: Any) -> None:
        """Stand at `start`, or at the log's beginning."""
        self.next_offsets = {0: start.get(0, 0)}

    def end_offsets(self, *, committed: bool = False) -> Mapping[int, int]:
        """See `TailReader`."""
        return {0: len(self.log)}

    def poll(self, *_: object) -> Sequence[InboundRecord]:
        """See `TailReader`."""
        first, self.next_offsets[0] = self.next_offsets[0], len(self.log)
        return self.log[first:]

    def close(self) -> None:
        """See `TailReader`."""


def read(monkeypatch: pytest.MonkeyPatch, *records: InboundRecord) -> tuple[list[int], Mapping[str, int]]:
    """Return the event times of the examples in a log, and when users were deleted by it."""
    monkeypatch.setattr(tail, "TailReader", Reader)
    monkeypatch.setattr(tail, "partitions_of", lambda *_: [0])
    monkeypatch.setattr(tail, "identity_of", lambda *_: "the topic")
    monkeypatch.setattr(Reader, "log", [record._replace(offset=offset) for offset, record in enumerate(records)])
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
