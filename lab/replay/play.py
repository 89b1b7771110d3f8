"""Plays a recorded data set through a producer, at a speed or as fast as it is acknowledged. Opens no connection itself."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol, TypedDict

from lab.replay.movielens import NAME, load
from lab.replay.records import Event, event_times_at, event_times_before, events
from schemas.errors import InvalidInput
from schemas.records.candidates import Tweet
from schemas.records.feedback import Impression
from schemas.records.users import User

DATASETS = (NAME,)
_PROGRESS_EVERY = 500
# a wait is cut into pieces so that deliveries are reported meanwhile
_LONGEST_SLEEP_S = 0.1


class Sender(Protocol):
    """What replay asks of `streams.producer.Producer`."""

    def send(self, event: Event, /) -> None:
        """Queue an event; waits while the queue is full."""
        ...

    def poll(self) -> None:
        """Handle what was delivered meanwhile."""
        ...

    def flush(self) -> None:
        """Return once everything is acknowledged, raise where something was not."""
        ...


class ReplaySummary(TypedDict):
    """What was acknowledged. `seconds` is the wall time, `late_s` how far the playing fell behind its schedule at most."""

    candidates: int
    users: int
    impressions: int
    engagements: int
    acknowledged: int
    seconds: float
    late_s: float


def replay(
    dataset: str,
    producer: Sender,
    *,
    speed: float = 0.0,
    on_progress: Callable[[int, int], None] | None = None,
    count: int | None = None,
    files: Path | None = None,
    now_s: Callable[[], float] = time.time,
    sleep: Callable[[float], None] = time.sleep,
) -> ReplaySummary:
    """Play a data set; returns once every record is acknowledged.

    Args:
        dataset: one of `DATASETS`.
        producer: takes the records.
        speed: seconds of data that pass in one. Record n is sent when its event time has come. 0 sends without a pause,
            and the event times are the milliseconds before the start, one for each rating.
        on_progress: called with the ratings played and their total.
        count: only the first so many ratings.
        files: see `movielens.load`.
        now_s: the clock, Unix seconds.
        sleep: waits so many seconds.

    Raises:
        InvalidInput: no such data set, or a speed below 0.
        DatasetUnusable: the files are missing or broken.
        DeliveryFailed: the broker did not acknowledge a record.
    """
    if dataset not in DATASETS:
        raise InvalidInput(f"there is no data set {dataset!r} to replay; there is {', '.join(DATASETS)}")
    if not 0 <= speed < float("inf"):
        raise InvalidInput(f"speed must be 0 (no pause) or above, not {speed:g}")
    data = load(files)
    total = len(data.ratings[:count])
    started_s = now_s()
    if speed and total:
        event_time = event_times_at(speed, start_ms=round(started_s * 1000), first_s=data.ratings[0].time_s)
    else:
        event_time = event_times_before(round(started_s * 1000), count=total)
    summary = ReplaySummary(candidates=0, users=0, impressions=0, engagements=0, acknowledged=0, seconds=0.0, late_s=0.0)
    for event in events(data, event_time, count=count):
        if speed:
            due_s = event.event_time_ms / 1000
            while (early_s := due_s - now_s()) > 0:
                producer.poll()
                sleep(min(early_s, _LONGEST_SLEEP_S))
            summary["late_s"] = max(summary["late_s"], -early_s)
        producer.send(event)
        _count(summary, event)
        if on_progress and isinstance(event, Impression) and summary["impressions"] % _PROGRESS_EVERY == 0:
            on_progress(summary["impressions"], total)
    producer.flush()
    summary["acknowledged"] = summary["candidates"] + summary["users"] + summary["impressions"] + summary["engagements"]
    summary["seconds"] = now_s() - started_s
    if on_progress:
        on_progress(total, total)
    return summary


def _count(summary: ReplaySummary, event: Event) -> None:
    if isinstance(event, Impression):
        summary["impressions"] += 1
    elif isinstance(event, Tweet):
        summary["candidates"] += 1
    elif isinstance(event, User):
        summary["users"] += 1
    else:
        summary["engagements"] += 1
