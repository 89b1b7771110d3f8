"""From what a run's parts noted to its figures. Pure: arrays and frozen records in, plain numbers out."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lab.bench.freshness.plan import Probe
from lab.bench.freshness.prober import Seen
from lab.bench.freshness.sender import Sent
from lab.bench.freshness.watcher import Beat, Sample
from lab.observed.columns import Floats

NONE = ("lost", "query_failed")
"""Figures that must be 0."""
# of the debt's series, what stands for its start and its end: one sample would show whatever the builder did just then
_EDGE_S = 5.0
_HELD_UP_ROWS = 500


def percentiles(values_ms: Floats, *, prefix: str = "") -> dict[str, float | None]:
    """Return p50, p99 and the maximum, rounded; None each when there is nothing."""
    if not len(values_ms):
        return dict.fromkeys((f"{prefix}p50_ms", f"{prefix}p99_ms", f"{prefix}max_ms"))
    p50, p99, most = (round(float(np.percentile(values_ms, share)), 2) for share in (50, 99, 100))
    return {f"{prefix}p50_ms": p50, f"{prefix}p99_ms": p99, f"{prefix}max_ms": most}


def latencies_ms(wanted: Sequence[Probe], seen: Seen, start_s: float) -> Floats:
    """Return the milliseconds from scheduled send to first answer, of the probes that were seen."""
    return np.array([waited_ms for waited_ms in _waited_ms(wanted, seen, start_s) if waited_ms is not None])


def rows(wanted: Sequence[Probe], seen: Seen, start_s: float) -> list[dict[str, object]]:
    """Return for each probe when it was sent, and how many milliseconds until the first answer with it; None where it was lost."""
    return [
        {
            "probe": probe.candidate_id,
            "due_s": round(probe.due_s, 3),
            "retrievable_ms": None if waited_ms is None else round(waited_ms, 2),
        }
        for probe, waited_ms in zip(wanted, _waited_ms(wanted, seen, start_s), strict=True)
    ]


def _waited_ms(wanted: Sequence[Probe], seen: Seen, start_s: float) -> list[float | None]:
    seen_s = [seen.seen_s.get(probe.candidate_id) for probe in wanted]
    return [None if at_s is None else (at_s - start_s - probe.due_s) * 1000 for probe, at_s in zip(wanted, seen_s, strict=True)]


def stages_ms(
    wanted: Sequence[Probe], sent: Sent, seen: Seen, *, start_s: float, embedded_ms: dict[str, int], unix_offset_s: float
) -> dict[str, dict[str, float | None]]:
    """Return where the time of the seen probes went, by the broker's append times (whole milliseconds).

    Args:
        embedded_ms: append time of each probe's first embedding, Unix milliseconds, by id.
        unix_offset_s: Unix minus monotonic seconds.
    """
    stages: dict[str, list[float]] = {"publish_to_append": [], "append_to_embedded": [], "embedded_to_retrievable": []}
    for probe in wanted:
        name = probe.candidate_id
        if name not in seen.seen_s or name not in sent.probe_append_ms or name not in embedded_ms:
            continue
        moments = [
            (start_s + probe.due_s + unix_offset_s) * 1000,
            sent.probe_append_ms[name],
            embedded_ms[name],
            (seen.seen_s[name] + unix_offset_s) * 1000,
        ]
        for stage, earlier, later in zip(stages.values(), moments, moments[1:], strict=False):
            stage.append(later - earlier)
    return {stage: percentiles(np.array(values)) for stage, values in stages.items()}


def debts(acked_s: Floats, acked: Floats, beats: Sequence[Beat], samples: Sequence[Sample], base: int) -> tuple[Floats, Floats]:
    """Return when (monotonic seconds) and how large the debt was: float64 [samples] each.

    Debt = acknowledged events whose outcome the embedder has not said to be durable in its last heartbeat (it says so a checkpoint,
    up to a second, later) + embeddings in the log that the node has not applied + live rows in no settled tier.

    Args:
        acked_s, acked: how many events were acknowledged by when.
        base: the embedder's input offsets, summed, when none of them was.
    """
    if not beats or not samples:
        return np.zeros(0), np.zeros(0)
    beat_s = np.array([beat.at_s for beat in beats])
    known = np.concatenate([[0.0], acked])[np.searchsorted(acked_s, beat_s, side="right")]
    unread = np.maximum(known - (np.array([beat.inputs for beat in beats]) - base), 0.0)
    at_s = np.array([sample.at_s for sample in samples])
    last = np.clip(np.searchsorted(beat_s, at_s, side="right") - 1, 0, None)
    behind = np.array([max(sample.written - sample.applied, 0) + sample.fresh for sample in samples], np.float64)
    return at_s, unread[last] + behind


def edges(at_s: Floats, values: Floats, start_s: float, end_s: float) -> tuple[int | None, int | None, int | None]:
    """Return a series' median over the first seconds and over the last seconds of a window, and its maximum in between."""
    inside = (at_s >= start_s) & (at_s <= end_s)
    if not inside.any():
        return None, None, None
    first = values[inside & (at_s <= start_s + _EDGE_S)]
    last = values[inside & (at_s >= end_s - _EDGE_S)]
    begin, end = (int(np.median(part)) if len(part) else None for part in (first, last))
    return begin, end, int(values[inside].max())


def rate_between(moments: Sequence[tuple[float, float]], start_s: float, end_s: float) -> float | None:
    """Return how fast a count grew inside a window, a second; None with fewer than two readings of it."""
    inside = [(at, count) for at, count in moments if start_s <= at <= end_s]
    if len(inside) < 2 or inside[-1][0] <= inside[0][0]:
        return None
    return (inside[-1][1] - inside[0][1]) / (inside[-1][0] - inside[0][0])


def cores(samples: Sequence[Sample], start_s: float, end_s: float) -> dict[str, float]:
    """Return the processor time each role used inside a window, in cores."""
    roles = samples[-1].cpu_s if samples else {}
    rates = {role: rate_between([(s.at_s, s.cpu_s.get(role, 0.0)) for s in samples], start_s, end_s) for role in roles}
    return {role: round(rate, 3) for role, rate in rates.items() if rate is not None}


@dataclass(frozen=True, slots=True)
class Burst:
    """The burst at the end: when it began (monotonic seconds), and its tweets."""

    began_s: float
    tweets: int


def ceilings(samples: Sequence[Sample], burst: Burst) -> dict[str, float | None]:
    """Return how many tweets a second, in the burst's mix, each stage got through while more lay before it than it could do.

    The embedder's is read between the samples that show it writing, from its first to its last embedding; the node's between those
    that left over 500 embeddings unapplied: a node that keeps up has no ceiling to be seen. None where there are not two.
    """
    later = [sample for sample in samples if sample.at_s > burst.began_s]
    rows = later[-1].written - later[0].written if later else 0
    if not rows:
        return {"embedder": None, "node": None}
    writing = [(s.at_s, float(s.written)) for s in later if later[0].written < s.written < later[-1].written]
    held_up = [(s.at_s, float(s.applied)) for s in later if s.written - s.applied > _HELD_UP_ROWS]
    rates = {"embedder": writing, "node": held_up}
    per_s = {stage: rate_between(moments, burst.began_s, float("inf")) for stage, moments in rates.items()}
    return {stage: None if rate is None else rate * burst.tweets / rows for stage, rate in per_s.items()}
