"""How long records took to be embedded and logged, from a sample of the live bundle's topic. Pure but for decoding."""

from collections.abc import Iterable, Mapping
from typing import Any

from schemas.codec import decode_mapping, subject_of
from schemas.errors import InvalidInput
from schemas.records.candidates import DIMENSIONS, embedding_subject
from schemas.wire.inbound import InboundRecord
from serving.console.readings import Delays, SampledDelays

_SUBJECTS = frozenset(map(embedding_subject, DIMENSIONS))


def sampled_delays(records: Iterable[InboundRecord], *, since_ms: int) -> SampledDelays:
    """Return the delays of embedding records, of any dimension; deletes, nulls and the undecodable are passed over.

    So is what was logged before `since_ms`: a console that starts finds the newest records of a quiet topic, hours old perhaps.
    """
    rows: list[tuple[bool, tuple[int, int, int]]] = []
    for record in records:
        if record.value is None or record.timestamp_ms < since_ms:
            continue
        subject = subject_of(record.value)
        if subject not in _SUBJECTS:
            continue
        try:
            row = decode_mapping(subject, record.value)
        except InvalidInput:
            # the nodes refuse it, and raise the alarm
            continue
        if row["deleted"] or row["features"] is None:
            continue
        appended_ms = row["append_time_ms"]
        delays = (appended_ms - row["event_time_ms"], row["embedded_ms"] - appended_ms, record.timestamp_ms - appended_ms)
        rows.append((_is_new(row), delays))
    return SampledDelays(_delays(d for new, d in rows if new), _delays(d for new, d in rows if not new))


def _is_new(row: Mapping[str, Any]) -> bool:
    """Tell a candidate nobody has engaged with: written at once, and not because its counters changed."""
    return not any(row["features"]["counters"].values())


def _delays(rows: Iterable[tuple[int, int, int]]) -> Delays:
    found = list(rows)
    if not found:
        return Delays()
    # clocks of two machines differ, and milliseconds are rounded
    published, decoded, logged = (tuple(max(0, value) for value in column) for column in zip(*found, strict=True))
    return Delays(published, decoded, logged)
