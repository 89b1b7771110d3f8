"""What an audit is told of engagements that retention has taken, with a topic that is what the test says."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest

from schemas.codec import encode
from schemas.records.feedback import Engagement, EngagementKind
from schemas.topics import ENGAGEMENTS
from schemas.wire.inbound import InboundRecord
from tests.skewed import TRUE
from trainer.data import evidence, tail
from trainer.data.evidence import evidence_of

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
MONTH_MS = 30 * DAY_MS


class Log:
    """Engagements of one partition: an offset, and the append time in ms, of each that is left."""

    def __init__(self, first_offset: int, appended_ms: Sequence[int]) -> None:
        """Hold records with offsets from the first on."""
        self._records = [(first_offset + place, at_ms) for place, at_ms in enumerate(appended_ms)]
        self.end = first_offset + len(appended_ms)

    def since(self, at_ms: int) -> int:
        """Return the offset of the first record appended at a time or later; the end where there is none."""
        return next((offset for offset, appended_ms in self._records if appended_ms >= at_ms), self.end)

    def reader(self, _bootstrap: str, topic: str, *_: object, start: Mapping[int, int] | None = None, **__: Any) -> "Reader":
        """Return a reader of a topic: the users' states are none."""
        if topic != ENGAGEMENTS:
            return Reader([], 0, 0)
        begin = (start or {}).get(0, 0)
        records = [_record(offset, at_ms) for offset, at_ms in self._records if offset >= begin]
        return Reader(records, begin, self.end)


class Reader:
    """All records at once."""

    def __init__(self, records: list[InboundRecord], begin: int, end: int) -> None:
        """Stand at the beginning."""
        self._records = records
        self._end = end
        self.next_offsets = {0: begin}

    def end_offsets(self, **_: object) -> Mapping[int, int]:
        """Return the end."""
        return {0: self._end}

    def poll(self, *_: object) -> list[InboundRecord]:
        """Return everything."""
        self.next_offsets = {0: self._end}
        return self._records

    def close(self) -> None:
        """Do nothing."""


@pytest.mark.parametrize(
    ("log", "counted_from_ms"),
    [
        # nothing was ever taken
        (Log(0, [DAY_MS, 2 * DAY_MS]), 0),
        # what was taken had been appended before the oldest candidate was made
        (Log(7, [MONTH_MS - DAY_MS, MONTH_MS + DAY_MS]), 0),
        # a month and two hours of it are gone
        (Log(7, [MONTH_MS + 2 * HOUR_MS, MONTH_MS + DAY_MS]), MONTH_MS + 2 * HOUR_MS + 300_000),
        # nothing is left that would tell when
        (Log(7, []), 2**63 - 1 + 300_000),
    ],
)
def test_counters_count_from_what_the_log_still_holds(log: Log, counted_from_ms: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of an account that is older than the log, all that is left of its follows is not all there were."""
    for module in (evidence, tail):
        monkeypatch.setattr(module, "partitions_of", lambda *_: [0])
    monkeypatch.setattr(tail, "identity_of", lambda *_: "the topic")
    monkeypatch.setattr(evidence, "make_admin", lambda *_: None)
    monkeypatch.setattr(evidence, "offsets_since", lambda _admin, _topic, _partitions, at_ms: {0: log.since(at_ms)})
    monkeypatch.setattr(tail, "TailReader", log.reader)
    candidate = TRUE.candidates["t:0"]
    assert candidate.attributes is not None
    made = replace(candidate, attributes=replace(candidate.attributes, created_ms=MONTH_MS))
    found = evidence_of("127.0.0.1:9092", TRUE.examples[:1], {"t:0": made})
    assert found.counted_from_ms == counted_from_ms


def _record(offset: int, at_ms: int) -> InboundRecord:
    engagement = Engagement(f"e{offset}", "u0", "t:0", EngagementKind.FAVORITE, at_ms)
    return InboundRecord(ENGAGEMENTS, 0, offset, at_ms, b"t:0", encode(engagement))
