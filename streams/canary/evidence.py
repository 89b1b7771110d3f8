"""Follows `examples` while a surface has a canary, and reads its arms now and then. Commands nothing."""

import logging
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from confluent_kafka.admin import AdminClient

from schemas.codec import decode
from schemas.errors import InvalidInput
from schemas.records.control import BundleStage, CanaryPoint, CanaryReport, NodeStatus, Rollout
from schemas.records.feedback import Example
from schemas.rollout import compared_canary
from schemas.topics import EXAMPLES
from schemas.wire.admin import offsets_since
from schemas.wire.inbound import InboundRecord
from schemas.wire.tail import TailReader
from streams.canary.arms import Arms
from streams.canary.curve import Curve
from streams.canary.judge import HARMFUL, CanaryRules, Reading, read_arms, read_guards
from streams.canary.served import ServedArms

log = logging.getLogger(__name__)

# a controller's tick must stay short: so many examples are taken at each, and both arms are summed this often
_RECORDS_A_LOOK = 2_000
_READ_EVERY_S = 2.0


class Tail(Protocol):
    """The examples from a moment on."""

    @property
    def whole(self) -> bool:
        """Whether all was returned that was there when it was opened."""
        ...

    def poll(self, max_messages: int = ..., timeout_s: float = ...) -> list[InboundRecord]:
        """Return the next records."""
        ...

    def close(self) -> None:
        """Stop."""
        ...


@dataclass(slots=True)
class _Watched:
    """One canary beside one live bundle: replaced whole when its share changes, for the users in it do, or when another is live."""

    surface: str
    live: str
    entry: BundleStage
    arms: Arms
    tail: Tail
    served: ServedArms
    curve: Curve = field(default_factory=Curve)
    # by append time, so that a restart draws the curve anew as it was
    reached_ms: int = 0
    read_again_s: float = 0.0
    reading: Reading | None = None
    # the reading is of all examples there are
    whole: bool = False


class CanaryEvidence:
    """The canaries of all surfaces. One thread."""

    def __init__(
        self,
        open_tail: Callable[[int], Tail],
        *,
        corrected_ms: int,
        rules: CanaryRules | None = None,
        clock_s: Callable[[], float] = time.monotonic,
    ) -> None:
        """Follow nothing yet.

        Args:
            open_tail: the examples appended from a time (Unix milliseconds) on. A restart counts them anew from there.
            corrected_ms: as of `Arms`.
        """
        self._open_tail = open_tail
        self._corrected_ms = corrected_ms
        self._rules = rules or CanaryRules()
        self._clock_s = clock_s
        self._watched: dict[str, _Watched] = {}

    def reading(self, state: Rollout, heard: Iterable[NodeStatus] = (), *, ramp: Sequence[int] = ()) -> Reading | None:
        """Return what the canary of a surface shows so far; None without a canary, or before the first look.

        Nor anything in a canary's favour until all is read that there was when it began to be followed: after a restart the harm
        that a canary does may be in what is not read yet.

        Args:
            heard: the newest heartbeats.
            ramp: the shares, in basis points, that the canary's ramp compares one after the other; empty without one.
        """
        entry, live = compared_canary(state), state.live
        watched = self._watched.get(state.surface)
        if watched is not None and (entry is None or (watched.live, _life(watched.entry)) != (live, _life(entry))):
            watched.tail.close()
            del self._watched[state.surface]
            watched = None
        if entry is None or live is None:
            return None
        if watched is None:
            arms = Arms(state.surface, entry, live, corrected_ms=self._corrected_ms)
            tail = self._open_tail(entry.since_ms)
            watched = _Watched(state.surface, live, entry, arms, tail, ServedArms(entry.bundle, live))
            self._watched[state.surface] = watched
        watched.served.hear(heard)
        for record in watched.tail.poll(_RECORDS_A_LOOK, 0.0):
            watched.reached_ms = max(watched.reached_ms, record.timestamp_ms)
            if record.value is None:
                # a user was deleted: what the arms count names nobody
                continue
            try:
                watched.arms.take(decode(Example, record.value), partition=record.partition)
            except InvalidInput as error:
                log.warning("passed over %s/%d/%d: %s", record.topic, record.partition, record.offset, error, extra=record.place)
        if self._clock_s() >= watched.read_again_s:
            watched.read_again_s = self._clock_s() + _READ_EVERY_S
            share = watched.entry.share_bp / 10_000
            arms = watched.arms
            rules = self._rules.at_share(watched.entry.share_bp, ramp or (watched.entry.share_bp,))
            of_all = read_arms(*arms.engagement, share=share, rules=rules)
            watched.reading = read_guards(of_all, arms.mismatch, arms.slices, watched.served.harms, rules=rules)
            watched.whole = watched.tail.whole
            effect = watched.reading.effect
            watched.curve.add(CanaryPoint(watched.reached_ms, effect.value, effect.low, effect.high))
            log.info(
                "%s canary %s: %s",
                state.surface,
                watched.entry.bundle,
                watched.reading.sentence,
                extra={"surface": state.surface, "bundle": watched.entry.bundle},
            )
        told = watched.reading
        return told if watched.whole or (told is not None and told.verdict in HARMFUL) else None

    def reports(self) -> tuple[CanaryReport, ...]:
        """Return what is known of every canary that was looked at."""
        return tuple(_report(watched, watched.reading) for watched in self._watched.values() if watched.reading is not None)

    def close(self) -> None:
        """Stop following."""
        for watched in self._watched.values():
            watched.tail.close()
        self._watched.clear()


def _report(watched: _Watched, reading: Reading) -> CanaryReport:
    canary, live = reading.canary, reading.live
    return CanaryReport(
        watched.surface,
        watched.entry.bundle,
        watched.live,
        watched.entry.since_ms,
        str(reading.verdict),
        reading.sentence,
        canary.users,
        int(canary.shown),
        int(canary.engaged),
        live.users,
        int(live.shown),
        int(live.engaged),
        watched.curve.points(),
    )


def _life(entry: BundleStage) -> tuple[str, str, int, int]:
    return (entry.bundle, entry.salt, entry.share_bp, entry.since_ms)


def examples_since(bootstrap: str, admin: AdminClient, *, partitions: int) -> Callable[[int], Tail]:
    """Return what opens the examples of a cluster appended from a time on; it raises as `offsets_since`."""

    def open_tail(since_ms: int) -> Tail:
        every = range(partitions)
        return TailReader(bootstrap, EXAMPLES, every, start=offsets_since(admin, EXAMPLES, every, since_ms))

    return open_tail
