"""The rollout state machine, as pure functions: fold a log, answer a command, take the next step. Does no I/O.

    registered ► building ► ready ► canary(share) ► live ► draining ► retired

rejected and aborted are reached only from registered, building, ready and canary. A rollback is one record: draining ► live and
live ► draining. The log is the compare-and-set: the first record with the next revision counts (CONTRACTS, 'Epochs and rollouts').
"""

from collections.abc import Callable, Collection
from dataclasses import replace
from itertools import pairwise

from schemas.errors import Refused
from schemas.records.control import ENDED, BundleStage, CommandKind, Outcome, Rollout, RolloutCommand, Stage
from schemas.surfaces import FILES_REFRESH, asked_refresh_fault

MAX_BUNDLES = 3
# how many ended bundles a record still names, for people
_REMEMBERED = 8

UNDER_WAY = (Stage.REGISTERED, Stage.BUILDING, Stage.READY, Stage.CANARY)
# stages in which the embedder writes the bundle's topic and nodes fill its index
STREAMING = (Stage.BUILDING, Stage.READY, Stage.CANARY, Stage.LIVE, Stage.DRAINING)


def nothing_yet(surface: str) -> Rollout:
    """Return revision 0: the state of a surface before its first rollout."""
    return Rollout(surface, revision=0)


def fold(state: Rollout, record: Rollout) -> Rollout:
    """Return the state after `record`: itself when it is an accepted next revision of this surface, else `state` unchanged.

    A controller answers only from a state it folded from the log, its own last record read back: a zombie that answers from what it
    wrote itself would build a next revision on one that never counted.
    """
    counts = record.surface == state.surface and record.revision == state.revision + 1
    # a refusal repeats the revision it refused at; one that claims the next was written by no controller of ours
    return record if counts and record.outcome not in (Outcome.REFUSED, Outcome.LOST) else state


def answer(state: Rollout, command: RolloutCommand, *, now_ms: int) -> Rollout:
    """Return the record that answers a command: the next revision when accepted, else a refusal at the current revision."""
    if command.expected_revision is not None and command.expected_revision != state.revision:
        reason = f"{command.surface} is at revision {state.revision}, not {command.expected_revision}; look again, then ask again"
        return refusal(state, command, reason, now_ms, Outcome.LOST)
    handler = _HANDLERS.get(command.kind)
    if handler is None:
        return refusal(state, command, f"unknown command {command.kind}; upgrade the controller", now_ms)
    changed = handler(state, command, now_ms)
    if isinstance(changed, str):
        return refusal(state, command, changed, now_ms)
    return replace(
        _tidied(changed),
        revision=state.revision + 1,
        command_id=command.command_id,
        outcome=Outcome.ACCEPTED,
        reason=command.reason,
        actor=command.actor,
        time_ms=now_ms,
    )


def advance(state: Rollout, *, prepared: Collection[str], at_parity: Collection[str], now_ms: int) -> Rollout | None:
    """Return the next step the controller takes by itself, or None.

    Args:
        prepared: bundles whose embeddings topic exists: registered ► building.
        at_parity: bundles at parity on every live node: building ► ready, and, when automatic, ready ► live.
    """
    for entry in state.bundles:
        if entry.paused:
            continue
        if entry.state is Stage.REGISTERED and entry.bundle in prepared:
            return _step(state, _moved(state, entry.bundle, Stage.BUILDING, now_ms), f"{entry.bundle} has its topic", now_ms)
        if entry.state is Stage.BUILDING and entry.bundle in at_parity:
            return _step(
                state,
                _moved(state, entry.bundle, Stage.READY, now_ms),
                f"{entry.bundle} is at parity on every live node",
                now_ms,
            )
        if entry.state is Stage.READY and entry.automatic and entry.bundle in at_parity and not state.frozen:
            return _step(state, _goes_live(state, entry.bundle, now_ms), f"{entry.bundle} passed its gates and goes live", now_ms)
    return None


def lets_start(state: Rollout) -> bool:
    """Tell whether nothing keeps an automatic start waiting."""
    return not state.frozen and not state.in_stage(*UNDER_WAY)


def waits(command: RolloutCommand, answered: Rollout) -> bool:
    """Tell whether a start was refused only for now; the newest such one is to start by itself once its surface lets it.

    Args:
        answered: the record that answered the command; a refusal repeats the state that it refused at.
    """
    return (
        command.kind is CommandKind.START
        and command.automatic
        and command.bundle is not None
        and answered.outcome is Outcome.REFUSED
        and not lets_start(answered)
        and _stage(answered, command.bundle) in (None, *ENDED)
    )


def reject(state: Rollout, bundle: str, reason: str, *, now_ms: int) -> Rollout:
    """Return the step that ends a bundle no node can load; raises `Refused` unless it is under way.

    A live or draining bundle is never rejected: its index answers, whatever became of its files.
    """
    if _stage(state, bundle) not in UNDER_WAY:
        raise Refused(_not_in(state, bundle, "registered, building, ready or canary"))
    return _step(state, _moved(state, bundle, Stage.REJECTED, now_ms), reason, now_ms)


def conclude(state: Rollout, bundle: str, *, promote: bool, reason: str, now_ms: int) -> Rollout:
    """Return the step that ends a canary by its evidence: live, or aborted; raises `Refused` unless it is one, and not paused."""
    entry = next((entry for entry in state.in_stage(Stage.CANARY) if entry.bundle == bundle and not entry.paused), None)
    if entry is None:
        raise Refused(_not_in(state, bundle, "canary, and not paused"))
    changed = _goes_live(state, bundle, now_ms) if promote else _moved(state, bundle, Stage.ABORTED, now_ms)
    return _step(state, changed, reason, now_ms)


def compared_canary(state: Rollout) -> BundleStage | None:
    """Return the canary, as of the moment since when it is compared with what is live now; None where there is not both.

    Whoever compares its arms, and whoever shows what came of it, tell one comparison from another by that moment.
    """
    canaries, live = state.in_stage(Stage.CANARY), state.in_stage(Stage.LIVE)
    # a flip puts another bundle in the other arm: what was shown before it counts for neither
    return replace(canaries[0], since_ms=max(canaries[0].since_ms, live[0].since_ms)) if canaries and live else None


def ramp_due(state: Rollout, now_ms: int) -> BundleStage | None:
    """Return the canary that has been compared at its share for as long as its ramp asks, and may go on to the next; else None."""
    canary = compared_canary(state)
    if canary is None or not state.ramp_bp or canary.paused or state.frozen:
        return None
    return canary if now_ms - canary.since_ms >= state.ramp_hold_s * 1000 else None


def ramped(state: Rollout, bundle: str, reason: str, *, now_ms: int) -> Rollout:
    """Return the step that gives a canary the next share of its ramp; raises `Refused` without one."""
    if not state.ramp_bp or _stage(state, bundle) is not Stage.CANARY:
        raise Refused(_not_in(state, bundle, "canary, with shares of its ramp to come"))
    share_bp, *rest = state.ramp_bp
    bundles = _edited(state, bundle, share_bp=share_bp, since_ms=now_ms)
    return _step(state, replace(state, bundles=bundles, ramp_bp=tuple(rest)), reason, now_ms)


def refusal(state: Rollout, command: RolloutCommand, reason: str, now_ms: int, outcome: Outcome = Outcome.REFUSED) -> Rollout:
    """Return the record that refuses a command in one sentence; its revision is the current one, so folding passes it over."""
    return replace(state, command_id=command.command_id, outcome=outcome, reason=reason, actor=command.actor, time_ms=now_ms)


Handler = Callable[[Rollout, RolloutCommand, int], Rollout | str]


def _start(state: Rollout, command: RolloutCommand, now_ms: int) -> Rollout | str:
    if command.bundle is None:
        return "start needs a bundle; see `roost models list`"
    active = [entry for entry in state.bundles if entry.state not in ENDED]
    if any(entry.bundle == command.bundle for entry in active):
        return f"{command.bundle} is already {_stage(state, command.bundle)} on {state.surface}"
    if command.automatic and state.frozen:
        return f"{state.surface} is frozen: automatic rollouts wait for `roost rollout unfreeze`"
    if command.automatic and state.in_stage(*UNDER_WAY):
        return f"{state.in_stage(*UNDER_WAY)[0].bundle} is still under way on {state.surface}; the newest bundle starts after it"
    if len(active) >= MAX_BUNDLES:
        return (
            f"{state.surface} already has {MAX_BUNDLES} bundles ({', '.join(e.bundle for e in active)}); abort or retire one first"
        )
    entry = BundleStage(command.bundle, Stage.REGISTERED, 0, command.command_id, command.automatic, False, now_ms)
    others = tuple(old for old in state.bundles if old.bundle != command.bundle)
    return replace(state, bundles=(*others, entry))


def _canary(state: Rollout, command: RolloutCommand, now_ms: int) -> Rollout | str:
    if command.share_bp is None or not 0 < command.share_bp <= 10_000:
        return "canary needs a share of 1 to 10,000 basis points"
    bundle = command.bundle or ""
    if _stage(state, bundle) not in (Stage.READY, Stage.CANARY):
        return _not_in(state, bundle, "ready or canary")
    if state.live is None:
        return f"{state.surface} has no live bundle to compare with; promote instead"
    if other := [entry.bundle for entry in state.in_stage(Stage.CANARY) if entry.bundle != bundle]:
        return f"{other[0]} is the canary of {state.surface}; promote or abort it first, so that a user is in one canary only"
    shares = (command.share_bp, *command.ramp_bp)
    if not all(low < high <= 10_000 for low, high in pairwise(shares)):
        return f"a ramp's shares must grow, up to 10,000 basis points: {', '.join(map(str, shares))}"
    if command.ramp_bp and command.ramp_hold_s <= 0:
        return "a ramp needs the seconds that each share is kept"
    moved = _moved(state, bundle, Stage.CANARY, now_ms)
    bundles = _edited(moved, bundle, share_bp=command.share_bp, automatic=command.automatic)
    return replace(moved, bundles=bundles, ramp_bp=command.ramp_bp, ramp_hold_s=command.ramp_hold_s if command.ramp_bp else 0)


def _promote(state: Rollout, command: RolloutCommand, now_ms: int) -> Rollout | str:
    bundle = command.bundle or ""
    if _stage(state, bundle) not in (Stage.READY, Stage.CANARY):
        return _not_in(state, bundle, "ready or canary")
    return _goes_live(state, bundle, now_ms)


def _abort(state: Rollout, command: RolloutCommand, now_ms: int) -> Rollout | str:
    bundle = command.bundle or ""
    if _stage(state, bundle) not in UNDER_WAY:
        return _not_in(state, bundle, "registered, building, ready or canary")
    return _moved(state, bundle, Stage.ABORTED, now_ms)


def _rollback(state: Rollout, command: RolloutCommand, now_ms: int) -> Rollout | str:
    draining, live = state.in_stage(Stage.DRAINING), state.live
    if not draining or live is None:
        return f"{state.surface} has no draining bundle to go back to"
    if command.bundle not in (None, draining[-1].bundle):
        return _not_in(state, command.bundle or "", "draining")
    return _moved(_moved(state, live, Stage.DRAINING, now_ms), draining[-1].bundle, Stage.LIVE, now_ms)


def _retire(state: Rollout, command: RolloutCommand, now_ms: int) -> Rollout | str:
    bundle = command.bundle or ""
    if _stage(state, bundle) is not Stage.DRAINING:
        return _not_in(state, bundle, "draining")
    return _moved(state, bundle, Stage.RETIRED, now_ms)


def _set_paused(paused: bool) -> Handler:
    def handle(state: Rollout, command: RolloutCommand, now_ms: int) -> Rollout | str:
        bundle = command.bundle or ""
        if _stage(state, bundle) not in UNDER_WAY:
            return _not_in(state, bundle, "registered, building, ready or canary")
        return replace(state, bundles=_edited(state, bundle, paused=paused))

    return handle


def _set_frozen(frozen: bool) -> Handler:
    return lambda state, command, now_ms: replace(state, frozen=frozen)


def _configure(state: Rollout, command: RolloutCommand, now_ms: int) -> Rollout | str:
    if command.refresh is None:
        return "configure needs a setting to change, such as `roost rollout configure --refresh every=30s`"
    fault = asked_refresh_fault(command.refresh)
    return fault or replace(state, refresh=None if command.refresh == FILES_REFRESH else command.refresh)


_HANDLERS: dict[CommandKind, Handler] = {
    CommandKind.START: _start,
    CommandKind.CANARY: _canary,
    CommandKind.PROMOTE: _promote,
    CommandKind.ABORT: _abort,
    CommandKind.ROLLBACK: _rollback,
    CommandKind.RETIRE: _retire,
    CommandKind.PAUSE: _set_paused(True),
    CommandKind.RESUME: _set_paused(False),
    CommandKind.FREEZE: _set_frozen(True),
    CommandKind.UNFREEZE: _set_frozen(False),
    CommandKind.CONFIGURE: _configure,
}


def _goes_live(state: Rollout, bundle: str, now_ms: int) -> Rollout:
    # the one that was draining is retired first, so that live + draining + one building always fit
    for old in state.in_stage(Stage.DRAINING):
        state = _moved(state, old.bundle, Stage.RETIRED, now_ms)
    if state.live is not None:
        state = _moved(state, state.live, Stage.DRAINING, now_ms)
    return _moved(state, bundle, Stage.LIVE, now_ms)


def _stage(state: Rollout, bundle: str) -> Stage | None:
    return next((entry.state for entry in state.bundles if entry.bundle == bundle), None)


def _not_in(state: Rollout, bundle: str, wanted: str) -> str:
    stage = _stage(state, bundle)
    have = f"is {stage}" if stage else "is not"
    return f"bundle {bundle or '(none named)'} {have} on {state.surface}; it must be {wanted}"


def _moved(state: Rollout, bundle: str, stage: Stage, now_ms: int) -> Rollout:
    pause = {} if stage in UNDER_WAY else {"paused": False}
    bundles = _edited(state, bundle, state=stage, since_ms=now_ms, share_bp=0, **pause)
    if stage in ENDED:
        # behind those that ended before, whenever it began: the last are remembered
        bundles = tuple(sorted(bundles, key=lambda entry: entry.bundle == bundle))
    return replace(state, bundles=bundles)


def _edited(rollout: Rollout, bundle: str, **changes: object) -> tuple[BundleStage, ...]:
    return tuple(replace(entry, **changes) if entry.bundle == bundle else entry for entry in rollout.bundles)  # type: ignore[arg-type]


def _tidied(changed: Rollout) -> Rollout:
    """Keep what a record names still: the last few ended bundles, and the ramp of a canary that there is."""
    kept_ended = [entry.bundle for entry in changed.bundles if entry.state in ENDED][-_REMEMBERED:]
    bundles = tuple(entry for entry in changed.bundles if entry.state not in ENDED or entry.bundle in kept_ended)
    if changed.in_stage(Stage.CANARY):
        return replace(changed, bundles=bundles)
    return replace(changed, bundles=bundles, ramp_bp=(), ramp_hold_s=0)


def _step(state: Rollout, changed: Rollout, reason: str, now_ms: int) -> Rollout:
    return replace(
        _tidied(changed),
        revision=state.revision + 1,
        command_id="",
        outcome=Outcome.ACCEPTED,
        reason=reason,
        actor="controller",
        time_ms=now_ms,
    )
