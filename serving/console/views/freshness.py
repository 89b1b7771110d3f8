"""The freshness waterfall: when a new candidate had reached each stage, since the broker appended it. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from serving.console.readings import FOUND_SECONDS, NEW_SECONDS, Delays, Moment
from serving.console.views.figures import percentile
from serving.console.views.recent import histogram_since

FIRST = "Published"


@dataclass(frozen=True, slots=True)
class Stage:
    """One step: when half, and all but one in a hundred, had reached it.

    Attributes:
        p50_ms, p99_ms: since the broker's append; for the first stage, since the producer made the event.
        start, end: where its bar lies from 0 to 1 on the common scale: from the stage before to this one's median.
        tail: where its 99th percentile lies.
        count: values measured.
        off_scale: too long to draw beside the others.
    """

    name: str
    note: str
    p50_ms: float
    p99_ms: float
    count: int
    start: float = 0.0
    end: float = 0.0
    tail: float = 0.0
    off_scale: bool = False


def freshness_stages(recent: Sequence[Moment], surface: str) -> tuple[Stage, ...]:
    """Return the stages of new candidates that have values, in order."""
    new = _joined([moment.delays[surface].new for moment in recent if surface in moment.delays])
    measured = [
        _stage(FIRST, "the broker has it, since the producer's own time", new.published),
        _stage("Decoded", "the embedder has it in hand", new.decoded),
        _stage("Embedded", "the vector is in its topic", new.logged),
        _of_nodes("Inserted", "its row is in a node's index", recent, NEW_SECONDS, surface),
        _of_nodes("Retrievable", "a probe's query found it", recent, FOUND_SECONDS, surface),
    ]
    found = [stage for stage in measured if stage is not None]
    return _scaled(found)


def refreshed_stage(recent: Sequence[Moment], surface: str) -> Stage | None:
    """Return how long a changed counter took to reach the embeddings topic."""
    refreshed = _joined([moment.delays[surface].refreshed for moment in recent if surface in moment.delays])
    return _stage("Counters refreshed", "engagements are gathered until the embedder's checkpoint", refreshed.logged)


def _joined(delays: Sequence[Delays]) -> Delays:
    return Delays(*(tuple(value for one in delays for value in getattr(one, name)) for name in ("published", "decoded", "logged")))


def _stage(name: str, note: str, values: Sequence[int]) -> Stage | None:
    half, nearly_all = percentile(list(values), 0.5), percentile(list(values), 0.99)
    return None if half is None or nearly_all is None else Stage(name, note, half, nearly_all, len(values))


def _of_nodes(name: str, note: str, recent: Sequence[Moment], metric: str, surface: str) -> Stage | None:
    added = histogram_since(recent, metric, surface)
    half, nearly_all = added.quantile(0.5), added.quantile(0.99)
    if half is None or nearly_all is None:
        return None
    return Stage(name, note, half * 1000, nearly_all * 1000, round(added.total))


def _scaled(stages: Sequence[Stage]) -> tuple[Stage, ...]:
    inside = [stage for stage in stages if stage.name != FIRST]
    # a few outliers must not shrink every bar to a line: the scale ends at three times the last median, or at the tails if nearer
    longest = max((stage.p50_ms for stage in inside), default=0.0)
    scale = max(min(max((stage.p99_ms for stage in inside), default=0.0), 3 * longest), longest, 1.0)
    placed, at = [], 0.0
    for stage in stages:
        end = min(1.0, stage.p50_ms / scale)
        if stage.name == FIRST:
            # another clock, and before the others: an event played later than it says is minutes off the scale
            placed.append(replace(stage, end=end, tail=end, off_scale=stage.p50_ms > scale))
            continue
        placed.append(replace(stage, start=min(at, end), end=end, tail=max(end, min(1.0, stage.p99_ms / scale))))
        at = end
    return tuple(placed)
