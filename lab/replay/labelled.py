"""Waiting until the labeler has made an example of every replayed rating: a training before that sees a part. Plays nothing."""

import time
from collections.abc import Callable
from typing import Protocol

from lab.replay.records import REQUEST_PREFIX
from schemas.codec import decode
from schemas.errors import BrokerUnavailable
from schemas.records.feedback import Example
from schemas.topics import EXAMPLES
from schemas.wire.admin import make_admin, partition_counts
from schemas.wire.ends import log_ends
from schemas.wire.inbound import InboundRecord
from schemas.wire.tail import TailReader

_BATCH = 10_000
_LOOK_S = 0.5


class Reader(Protocol):
    """What is asked of a `TailReader` of the examples."""

    def poll(self, max_messages: int, timeout_s: float, /) -> list[InboundRecord]:
        """See `TailReader.poll`."""
        ...


def examples_from_now(bootstrap: str) -> TailReader:
    """Return a reader of the examples that are written from here on: open it before the replay.

    Raises:
        BrokerUnavailable: no broker answers, or it has no such topic.
    """
    admin = make_admin(bootstrap)
    count = partition_counts(admin).get(EXAMPLES)
    if not count:
        raise BrokerUnavailable(f"topic {EXAMPLES} does not exist at {bootstrap}; `roost topics create` creates it")
    ends = log_ends(admin, [(EXAMPLES, partition) for partition in range(count)])
    return TailReader(bootstrap, EXAMPLES, range(count), start={partition: end for (_, partition), end in ends.items()})


def lacking(
    reader: Reader,
    ratings: int,
    *,
    timeout_s: float,
    on_progress: Callable[[int, int], None] = lambda _done, _total: None,
    now_s: Callable[[], float] = time.monotonic,
) -> int:
    """Return of how many replayed ratings there is no example when the time is up; 0 as soon as there is one of each.

    Args:
        reader: as `examples_from_now` gives it.
        ratings: how many were played.
        on_progress: called with the ratings that have an example, and `ratings`.

    Raises:
        BrokerUnavailable: as `TailReader.poll`.
    """
    # a correction, or a redelivery, is of a rating that was counted
    found: set[str] = set()
    deadline_s = now_s() + timeout_s
    while len(found) < ratings:
        for record in reader.poll(_BATCH, _LOOK_S):
            if record.value is not None:
                example = decode(Example, record.value)
                if example.request_id.startswith(REQUEST_PREFIX):
                    found.add(example.example_id)
        on_progress(len(found), ratings)
        if now_s() >= deadline_s:
            break
    return max(ratings - len(found), 0)
