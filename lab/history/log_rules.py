"""What a rollouts log must be, derived anew from the contract. Shares no code with the controller, its rules or its fold.

A rule that is written twice, by two ways of thinking, finds what one of them got wrong; so nothing of `schemas.rollout` is used.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from lab.history.recorded import Entry
from schemas.records.control import BundleStage, CommandKind, Outcome, Rollout, RolloutCommand, Stage
from schemas.surfaces import FILES_REFRESH

MAX_BUNDLES = 3

_UNDER_WAY = {Stage.REGISTERED, Stage.BUILDING, Stage.READY, Stage.CANARY}
_STOPPED = {Stage.REJECTED, Stage.ABORTED}
_ENDS = {Stage.RETIRED, *_STOPPED}
# each edge a bundle may take in one revision; to stay where it is is always allowed
_EDGES = {
    (Stage.REGISTERED, Stage.BUILDING),
    (Stage.BUILDING, Stage.READY),
    (Stage.READY, Stage.CANARY),
    (Stage.READY, Stage.LIVE),
    (Stage.CANARY, Stage.LIVE),
    (Stage.LIVE, Stage.DRAINING),
    (Stage.DRAINING, Stage.LIVE),
    (Stage.DRAINING, Stage.RETIRED),
    *((stage, end) for stage in _UNDER_WAY for end in _STOPPED),
}


@dataclass(frozen=True, slots=True)
class Violation:
    """One broken rule: its name, and what happened, as a sentence."""

    rule: str
    what: str


@dataclass(frozen=True, slots=True)
class Chain:
    """The revisions of one surface that count, from revision 1 on without a hole."""

    surface: str
    entries: tuple[Entry, ...]

    def at(self, revision: int) -> Entry | None:
        """Return a revision, or None when the log has it not."""
        return self.entries[revision - 1] if 0 < revision <= len(self.entries) else None


def chains(entries: Sequence[Entry]) -> dict[str, Chain]:
    """Return by surface the records that count: each the first in the log with the next revision."""
    counted: dict[str, list[Entry]] = {}
    for entry in entries:
        own = counted.setdefault(entry.rollout.surface, [])
        if entry.rollout.outcome is Outcome.ACCEPTED and entry.rollout.revision == len(own) + 1:
            own.append(entry)
    return {surface: Chain(surface, tuple(own)) for surface, own in counted.items()}


def log_violations(entries: Sequence[Entry], commands: Iterable[RolloutCommand] = ()) -> Iterator[Violation]:
    """Yield every broken rule of the log itself, and of how it answers `commands` (none: not compared)."""
    yield from _gaps(entries)
    asked = {command.command_id: command for command in commands}
    for chain in chains(entries).values():
        yield from _steps(chain)
        yield from _settings(chain, asked)
    if asked:
        yield from _outcomes(entries, asked)


def _gaps(entries: Sequence[Entry]) -> Iterator[Violation]:
    reached: dict[str, int] = {}
    for entry in entries:
        rollout = entry.rollout
        now = reached.get(rollout.surface, 0)
        if rollout.outcome is Outcome.ACCEPTED and rollout.revision == now + 1:
            reached[rollout.surface] = rollout.revision
        elif rollout.revision > now:
            yield Violation("gap", f"offset {entry.offset} is revision {rollout.revision} of {rollout.surface}, after {now}")


def _steps(chain: Chain) -> Iterator[Violation]:
    before = Rollout(chain.surface, 0)
    for entry in chain.entries:
        after = entry.rollout
        where = f"{chain.surface} revision {after.revision}"
        for rule, what in (*_of_state(after), *_of_step(before, after)):
            yield Violation(rule, f"{where}: {what}")
        before = after


def _of_state(state: Rollout) -> Iterator[tuple[str, str]]:
    names = [entry.bundle for entry in state.bundles]
    if len(set(names)) != len(names):
        yield "bundle twice", f"one bundle is in two stages: {names}"
    for stage in (Stage.LIVE, Stage.DRAINING, Stage.CANARY):
        if len(found := [entry.bundle for entry in state.bundles if entry.state is stage]) > 1:
            yield f"two {stage}", f"{', '.join(found)} are all {stage}"
    active = [entry.bundle for entry in state.bundles if entry.state not in _ENDS]
    if len(active) > MAX_BUNDLES:
        yield "too many bundles", f"{len(active)} are active: {', '.join(active)}"
    for entry in state.bundles:
        if entry.state is Stage.UNKNOWN:
            yield "unknown stage", f"{entry.bundle} is in a stage this build does not know"
        if (entry.state is Stage.CANARY) != (entry.share_bp > 0):
            yield "share", f"{entry.bundle} is {entry.state} with a share of {entry.share_bp} basis points"


def _of_step(before: Rollout, after: Rollout) -> Iterator[tuple[str, str]]:
    was = {entry.bundle: entry for entry in before.bundles}
    now = {entry.bundle: entry for entry in after.bundles}
    for bundle, entry in was.items():
        if entry.state not in _ENDS and bundle not in now:
            yield "vanished", f"{bundle} was {entry.state} and is not named any more"
    moved = []
    for bundle, entry in now.items():
        old = was.get(bundle)
        if _begins(old, entry):
            moved.append(bundle)
        elif old is None or ((old.state, entry.state) not in _EDGES and old.state is not entry.state):
            yield "illegal step", f"{bundle} went from {old.state if old else 'nothing'} to {entry.state}"
        elif old.state is not entry.state:
            moved.append(bundle)
            if entry.salt != old.salt:
                yield "salt", f"the salt of {bundle} changed within one rollout: its users move between arms"
    yield from _of_flip(was, now, moved)
    if before.refresh != after.refresh and moved:
        yield "two steps", f"{', '.join(moved)} moved in a revision that changed the refresh policy"


def _begins(old: BundleStage | None, entry: BundleStage) -> bool:
    return entry.state is Stage.REGISTERED and (old is None or old.state in _ENDS)


def _of_flip(was: dict[str, BundleStage], now: dict[str, BundleStage], moved: Sequence[str]) -> Iterator[tuple[str, str]]:
    live_before = {bundle for bundle, entry in was.items() if entry.state is Stage.LIVE}
    live_after = {bundle for bundle, entry in now.items() if entry.state is Stage.LIVE}
    if live_before and not live_after:
        yield "nothing live", f"{', '.join(sorted(live_before))} stopped being live and nothing took its place"
    if live_before == live_after and len(moved) > 1:
        yield "two steps", f"{', '.join(moved)} moved in one revision without a flip"
    elif live_before != live_after and (beside := [b for b in moved if now[b].state in _UNDER_WAY or now[b].state in _STOPPED]):
        yield "two steps", f"{', '.join(beside)} moved in the revision of a flip"


def _settings(chain: Chain, asked: Mapping[str, RolloutCommand]) -> Iterator[Violation]:
    in_force: str | None = None
    for entry in chain.entries:
        rollout = entry.rollout
        command = asked.get(rollout.command_id)
        wanted = in_force
        if command is not None and command.kind is CommandKind.CONFIGURE:
            wanted = None if command.refresh == FILES_REFRESH else command.refresh
        elif rollout.command_id and not asked:
            # some command changed it, or none did: there is none to compare with
            wanted = rollout.refresh
        if rollout.refresh != wanted:
            where = f"{chain.surface} revision {rollout.revision}"
            yield Violation("setting", f"{where} has the refresh policy {rollout.refresh}, not {wanted}")
        in_force = rollout.refresh


def _outcomes(entries: Sequence[Entry], asked: dict[str, RolloutCommand]) -> Iterator[Violation]:
    reached: dict[str, int] = {}
    answered: set[str] = set()
    acted: dict[str, int] = {}
    for entry in entries:
        rollout = entry.rollout
        before = reached.get(rollout.surface, 0)
        counts = rollout.outcome is Outcome.ACCEPTED and rollout.revision == before + 1
        if counts:
            reached[rollout.surface] = rollout.revision
        if not rollout.command_id:
            continue
        answered.add(rollout.command_id)
        command = asked.get(rollout.command_id)
        if not counts:
            continue
        where = f"{rollout.surface} revision {rollout.revision}"
        if command is None:
            # the controller starts by itself what waited for another rollout, under an id of its own
            if not any(stage.salt == rollout.command_id and stage.automatic for stage in rollout.bundles):
                yield Violation("nobody asked", f"{where} answers command {rollout.command_id}, which is in no log")
        elif command.expected_revision is not None and command.expected_revision != before:
            yield Violation(
                "compare-and-set",
                f"{where} accepted command {command.command_id}, which insisted on revision {command.expected_revision}",
            )
        if rollout.command_id in acted:
            yield Violation("twice", f"{where} acts on command {rollout.command_id}, as revision {acted[rollout.command_id]} did")
        acted.setdefault(rollout.command_id, rollout.revision)
    for command_id in asked.keys() - answered:
        yield Violation("no outcome", f"command {command_id} ({asked[command_id].kind}) was never answered")
