"""What a bundle was trained on, read once more from topics whose beginning has left them meanwhile."""

from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from schemas.codec import encode
from schemas.errors import OffsetOutOfRange
from schemas.surfaces import load_surfaces
from schemas.wire.inbound import InboundRecord
from tests.tiny_world import tiny_world
from trainer.data import tail
from trainer.data.topics import read_again

SURFACES = load_surfaces()
EXAMPLE = tiny_world(users=3, tweets=5, impressions=1).examples[0]
SURFACE = SURFACES[EXAMPLE.surface]
# that retention has left, and the end
FIRST, END = 7, 10


class Reader:
    """A reader of topics that hold `FIRST` to `END`, which says what a broker would; `candidates` is empty."""

    def __init__(self, _bootstrap: str, topic: str, _partitions: Sequence[int], *, start: Mapping[int, int], **_: Any) -> None:
        """Stand at `start`, or at the log's beginning."""
        self._topic = topic
        self._first, self._end = (FIRST, END) if topic == "examples" else (0, 0)
        self.next_offsets = {0: start.get(0, self._first)}

    def end_offsets(self, *, committed: bool = False) -> Mapping[int, int]:
        """See `TailReader`."""
        return {0: self._end}

    def poll(self, *_: object) -> Sequence[InboundRecord]:
        """See `TailReader`."""
        if self.next_offsets[0] < self._first:
            raise OffsetOutOfRange(f"{self._topic}[0] does not hold offset {self.next_offsets[0]}")
        first, self.next_offsets[0] = self.next_offsets[0], self._end
        return [InboundRecord(self._topic, 0, offset, 0, b"u", encode(EXAMPLE)) for offset in range(first, self._end)]

    def close(self) -> None:
        """See `TailReader`."""


@pytest.mark.parametrize("trained_on", [(2, 5), (2, FIRST), (5, 9)])
def test_what_retention_has_left_of_a_bundles_window_is_read_be_it_nothing(
    trained_on: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a window that was gone altogether `roost train reproduce` said that the topic was recreated, in place of a refusal."""
    monkeypatch.setattr(tail, "TailReader", Reader)
    monkeypatch.setattr(tail, "make_admin", lambda *_: None)
    monkeypatch.setattr(tail, "partitions_of", lambda *_: [0])
    monkeypatch.setattr(tail, "identity_of", lambda *_: "the topic")
    told: list[tuple[str, int, int]] = []
    window, _ = read_again(
        "127.0.0.1:9092",
        SURFACE,
        SURFACES,
        examples={"0": trained_on},
        candidates={"0": 0},
        at_ms=0,
        on_progress=lambda *how_far: told.append(how_far),
    )
    read = list(range(FIRST, trained_on[1]))
    assert [one.offset for one in window.logged] == read
    assert [what for what, _, _ in told] == ["examples"] * bool(read), "of the candidates there is nothing to read"
