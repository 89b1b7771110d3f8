"""Answers commands and takes the steps nobody has to ask for. The rules are `schemas.rollout`'s; topics and log come as parts."""

import logging
import uuid
from collections.abc import Callable, Collection, Iterable, Sequence
from contextlib import suppress
from dataclasses import replace
from itertools import count
from typing import Protocol

from schemas.errors import BundlesUnavailable, Refused
from schemas.parity import progress_of
from schemas.records.control import (
    ENDED,
    MAX_REASON_BYTES,
    BundleStage,
    CommandKind,
    NodeStatus,
    Outcome,
    Rollout,
    RolloutCommand,
    Stage,
)
from schemas.rollout import advance, answer, conclude, lets_start, ramp_due, ramped, refusal, reject, waits
from schemas.surfaces import Surface, Surfaces
from streams.canary.judge import Reading, Verdict
from streams.controller.complaints import on_no_node, still_reported, unusable
from streams.controller.log import RolloutLog
from streams.metrics import ControllerMetrics

log = logging.getLogger(__name__)

# a registry that is away may take seconds to say so, and commands wait meanwhile
_ASK_AGAIN_MS = 10_000
# three heartbeats: so long may the newest of an embedder be ahead of those of nodes that keep up
_TURNS_MS = 3_000


class Journal(Protocol):
    """The topic `rollouts`, of which this process is meant to be the only writer."""

    log: RolloutLog

    def append(self, record: Rollout) -> None:
        """Write a record and fold the log up to and including it: whoever wrote the revision first, `log` knows it then."""
        ...

    def catch_up(self) -> None:
        """Fold the log to its present end; raises `BrokerUnavailable` when the broker does not tell."""
        ...


class BundleTopics(Protocol):
    """The embeddings topics."""

    def create_anew(self, bundle: str, surface: Surface) -> None:
        """Create a bundle's topic, empty: what an earlier rollout left under the name is deleted first."""
        ...

    def delete(self, bundle: str) -> None:
        """Delete a bundle's topic; a missing one is passed over."""
        ...


class Evidence(Protocol):
    """What the users of a canary do, against everybody else."""

    def reading(self, state: Rollout, heard: Iterable[NodeStatus] = (), *, ramp: Sequence[int] = ()) -> Reading | None:
        """Return what the canary of a surface shows so far, by examples and heartbeats; None without one, or before a look.

        Args:
            ramp: the shares, in basis points, that it compares one after the other; empty without a ramp.
        """
        ...


class Controller:
    """One controller."""

    def __init__(
        self,
        journal: Journal,
        topics: BundleTopics,
        *,
        surfaces: Surfaces,
        admit: Callable[[RolloutCommand], None],
        evidence: Evidence,
        partitions: int,
        silence_ms: int,
        let_go_ms: int,
        let_go_at_most_ms: int,
        asked: Iterable[RolloutCommand] = (),
        metrics: ControllerMetrics | None = None,
    ) -> None:
        """Take up the rollouts that the journal holds.

        Args:
            asked: the commands of before this process, in log order: the newest start that waits among them is taken up too.
            admit: raises `Refused` when the bundle of a start must not be rolled out, `BundlesUnavailable` when nobody can tell.
            evidence: decides canaries: a worse one is aborted, a better one promoted where the operator left that to the test.
            silence_ms: an instance not heard of for this long is not live.
            let_go_ms: an ended bundle's topic stays at least this long, and until no live instance reports the bundle…
            let_go_at_most_ms: … but no longer than this.
        """
        self._journal = journal
        self._topics = topics
        self._surfaces = surfaces
        self._admit = admit
        self._evidence = evidence
        self._partitions = partitions
        self._silence_ms = silence_ms
        self._let_go_ms = let_go_ms
        self._let_go_at_most_ms = let_go_at_most_ms
        self._metrics = metrics or ControllerMetrics()
        # by (surface, salt of a rollout), when a bundle was last seen at parity
        self._whole_ms: dict[tuple[str, str], int] = {}
        # (surface, bundle, since): one life of a bundle
        self._prepared: set[tuple[str, str, int]] = set()
        self._let_go: set[tuple[str, str, int]] = set()
        # by surface, the newest start that could not begin when it came
        self._waiting = {command.surface: command for command in asked if self._waited(command)}
        # by surface, when the registry was last away for it
        self._away_ms: dict[str, int] = {}

    def answer(self, command: RolloutCommand, statuses: Iterable[NodeStatus], now_ms: int) -> None:
        """Answer a command on the log. One that was answered before gets no second answer.

        Args:
            statuses: the newest heartbeats: what is not at parity is not promoted, and to what no node can use nobody goes back,
                whoever asks.
        """
        if command.command_id in self._journal.log.outcomes:
            return
        try:
            record = self._answered(command, tuple(statuses), now_ms)
        except BundlesUnavailable as error:
            record = refusal(self._journal.log.state(command.surface), command, _bounded(str(error)), now_ms)
        self._write(command, record)

    def _answered(self, command: RolloutCommand, heard: Sequence[NodeStatus], now_ms: int) -> Rollout:
        """Return the record that answers a command; raises `BundlesUnavailable` where only the registry could tell."""
        state = self._journal.log.state(command.surface)
        if command.surface not in self._surfaces:
            known = ", ".join(sorted(self._surfaces))
            return refusal(state, command, f"surface {command.surface!r} is not configured; known are {known}", now_ms)
        record = answer(state, command, now_ms=now_ms)
        if command.kind is CommandKind.START and record.outcome is Outcome.ACCEPTED:
            try:
                self._admit(command)
            except Refused as error:
                record = refusal(state, command, _bounded(str(error)), now_ms)
        elif (
            command.kind is CommandKind.PROMOTE
            and record.outcome is Outcome.ACCEPTED
            and (lack := self._lacking(state, heard, now_ms, in_turn=True)[command.bundle or ""])
        ):
            record = refusal(state, command, f"{command.bundle} is not at parity on every live node: {lack}", now_ms)
        elif (
            command.kind is CommandKind.ROLLBACK
            and record.outcome is Outcome.ACCEPTED
            # a node that has it in memory does not complain, whatever became of the files
            and (why := on_no_node(heard, record.live or "", now_ms, silence_ms=self._silence_ms))
        ):
            reason = f"no node could answer from {record.live}, so {state.live} stays live: {why}"
            record = refusal(state, command, _bounded(reason), now_ms)
        return record

    def _write(self, command: RolloutCommand, record: Rollout) -> None:
        log.info(
            "%s %s of %s by %s: %s",
            command.surface,
            command.kind,
            command.bundle,
            command.actor,
            record.outcome,
            extra={
                "surface": command.surface,
                "bundle": command.bundle,
                "revision": record.revision,
                "outcome": str(record.outcome),
            },
        )
        self._journal.append(record)
        # as the log has it: another controller may have been first
        outcome = self._journal.log.outcomes[command.command_id].outcome
        if self._waited(command):
            self._waiting[command.surface] = command
        self._metrics.answered(command.surface if command.surface in self._surfaces else None, command.kind, outcome)

    def step(self, statuses: Iterable[NodeStatus], now_ms: int) -> None:
        """Take every step that is due, and let go of the topics of ended bundles."""
        heard = tuple(statuses)
        for name, surface in self._surfaces.items():
            state = self._journal.log.state(name)
            waiting = self._waiting.get(name)
            if waiting is not None and lets_start(state) and self._still_waits(waiting):
                self._take_up(waiting, heard, now_ms)
                state = self._journal.log.state(name)
            for bundle, reason in unusable(heard, state, now_ms, silence_ms=self._silence_ms).items():
                # another controller may have ended it just before our last record
                with suppress(Refused):
                    self._journal.append(reject(self._journal.log.state(name), bundle, reason, now_ms=now_ms))
            # each step is one revision; a bundle takes three at most on its way to live
            for _ in range(8):
                state = self._journal.log.state(name)
                at_parity = {bundle for bundle, lack in self._lacking(state, heard, now_ms).items() if not lack}
                due = advance(state, prepared=self._prepare(state, surface), at_parity=at_parity, now_ms=now_ms)
                if due is None:
                    break
                log.info("%s revision %d: %s", name, due.revision, due.reason, extra={"surface": name, "revision": due.revision})
                self._journal.append(due)
            self._judge_canary(self._journal.log.state(name), heard, at_parity, now_ms)
            self._clean_up(self._journal.log.state(name), heard, now_ms)
        self._metrics.stand({name: self._journal.log.state(name) for name in self._surfaces})

    def _take_up(self, waiting: RolloutCommand, heard: Sequence[NodeStatus], now_ms: int) -> None:
        # negative where the clock was set back
        if 0 <= now_ms - self._away_ms.get(waiting.surface, now_ms - _ASK_AGAIN_MS) < _ASK_AGAIN_MS:
            return
        # a command of its own: the first was answered with a refusal that promised this
        own = replace(waiting, command_id=self._own_id(waiting), expected_revision=None)
        try:
            record = self._answered(own, heard, now_ms)
        except BundlesUnavailable as error:
            self._away_ms[waiting.surface] = now_ms
            fields = {"surface": waiting.surface, "bundle": waiting.bundle}
            log.warning("%s: the start of %s goes on waiting: %s", waiting.surface, waiting.bundle, error, extra=fields)
            return
        self._write(own, record)

    def _waited(self, command: RolloutCommand) -> bool:
        answered = self._journal.log.outcomes.get(command.command_id)
        return answered is not None and waits(command, answered)

    def _still_waits(self, command: RolloutCommand) -> bool:
        """Tell of a start that waited whether neither it nor a later one was taken up since."""
        journal = self._journal.log
        since_the_newest_start = journal.refused.get(command.surface, ())
        return command.command_id in since_the_newest_start and self._own_id(command) not in journal.outcomes

    def _own_id(self, command: RolloutCommand) -> str:
        """Return the id under which a start that waited is taken up: the same after a restart, so that it happens once."""
        outcomes = self._journal.log.outcomes
        names = (uuid.uuid5(uuid.NAMESPACE_OID, f"{command.command_id}/{attempt}").hex for attempt in count())
        # one that came second to another controller's record did not count
        return next(name for name in names if name not in outcomes or outcomes[name].outcome is not Outcome.LOST)

    def _lacking(self, state: Rollout, heard: Sequence[NodeStatus], now_ms: int, *, in_turn: bool = False) -> dict[str, str]:
        """Return the shortfalls; `in_turn` lets pass what may come of heartbeats that take turns.

        The controller's own steps wait for the next moment of parity; an operator who asks in another moment is answered at once.
        """
        rollouts = {entry.bundle: (state.surface, entry.salt) for entry in state.bundles}
        lately = [
            bundle for bundle, key in rollouts.items() if in_turn and now_ms - self._whole_ms.get(key, -_TURNS_MS) < _TURNS_MS
        ]
        found = progress_of(state, heard, now_ms, partitions=self._partitions, silence_ms=self._silence_ms, applied_lately=lately)
        if not in_turn:
            self._whole_ms.update({rollouts[progress.bundle]: now_ms for progress in found if progress.at_parity})
        return {progress.bundle: progress.lack for progress in found}

    def _judge_canary(self, state: Rollout, heard: tuple[NodeStatus, ...], at_parity: Collection[str], now_ms: int) -> None:
        reading = self._evidence.reading(state, heard, ramp=self._journal.log.ramps.get(state.surface, ()))
        canaries = state.in_stage(Stage.CANARY)
        if reading is None or not canaries or canaries[0].paused:
            return
        promote = reading.verdict is Verdict.BETTER
        # neither a share more nor everybody is answered from what a node does not hold
        if reading.verdict in (Verdict.WAIT, Verdict.BETTER) and canaries[0].bundle not in at_parity:
            return
        # before the last share of a ramp, what is better only goes on: the first shares are there to find harm among few users, not
        # to promote what few have seen
        if reading.verdict is Verdict.WAIT or (promote and state.ramp_bp):
            self._ramp(state, reading, now_ms)
            return
        # nobody wants a worse bundle, but when a better one goes live is the operator's to leave to the test
        if promote and (not canaries[0].automatic or state.frozen):
            return
        reason = _bounded(reading.sentence)
        fields = {"surface": state.surface, "bundle": canaries[0].bundle}
        log.info("%s canary %s: %s", state.surface, canaries[0].bundle, reason, extra=fields)
        self._journal.append(conclude(state, canaries[0].bundle, promote=promote, reason=reason, now_ms=now_ms))

    def _ramp(self, state: Rollout, reading: Reading, now_ms: int) -> None:
        canary = ramp_due(state, now_ms)
        if canary is not None:
            reason = f"no harm at {canary.share_bp / 100:g}%, on to {state.ramp_bp[0] / 100:g}%: {reading.sentence}"
            fields = {"surface": state.surface, "bundle": canary.bundle}
            log.info("%s canary %s: %s", state.surface, canary.bundle, reason, extra=fields)
            self._journal.append(ramped(state, canary.bundle, _bounded(reason), now_ms=now_ms))

    def _prepare(self, state: Rollout, surface: Surface) -> set[str]:
        prepared = set()
        for entry in state.in_stage(Stage.REGISTERED):
            life = _life(state, entry)
            if life not in self._prepared:
                if not self._stands(state, entry):
                    continue
                # nobody writes to it before `building`, so doing this again after a crash is safe
                self._topics.create_anew(entry.bundle, surface)
                self._prepared.add(life)
            prepared.add(entry.bundle)
        return prepared

    def _stands(self, state: Rollout, entry: BundleStage) -> bool:
        """Tell by the log as it is now whether a bundle still stands so: before what no later record could take back.

        A controller that stood still for minutes goes on in the middle of a step, while another one has been answering.
        """
        self._journal.catch_up()
        return entry in self._journal.log.state(state.surface).bundles

    def _clean_up(self, state: Rollout, heard: tuple[NodeStatus, ...], now_ms: int) -> None:
        for entry in state.in_stage(*ENDED):
            life, ended_ms = _life(state, entry), now_ms - entry.since_ms
            if life in self._let_go or ended_ms < self._let_go_ms:
                continue
            held = still_reported(heard, entry.bundle, now_ms, silence_ms=self._silence_ms)
            if (not held or ended_ms >= self._let_go_at_most_ms) and self._stands(state, entry):
                fields = {"surface": state.surface, "bundle": entry.bundle}
                log.info("%s: deleting the topic of %s, which is %s", state.surface, entry.bundle, entry.state, extra=fields)
                self._topics.delete(entry.bundle)
                self._let_go.add(life)


def _bounded(reason: str) -> str:
    """Return a reason as long as a record may carry it."""
    return reason.encode()[:MAX_REASON_BYTES].decode(errors="ignore")


def _life(state: Rollout, entry: BundleStage) -> tuple[str, str, int]:
    return (state.surface, entry.bundle, entry.since_ms)
