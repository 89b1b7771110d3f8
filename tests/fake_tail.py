"""A topic's reader without a broker, for what reads by `TailReader`. Holds no test."""

from collections.abc import Iterable
from typing import Self

from schemas.wire.inbound import InboundRecord


class FakeTail:
    """Of an empty topic of one partition; each poll gives the next of `batches`, and nothing behind the last."""

    def __init__(self, batches: Iterable[list[InboundRecord]] = ()) -> None:
        self._batches = iter(batches)
        self.next_offsets = {0: 0}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def end_offsets(self) -> dict[int, int]:
        """Return them, of when it was opened."""
        return {0: 0}

    def poll(self, *_: object) -> list[InboundRecord]:
        """Return the next batch at once."""
        return next(self._batches, [])
