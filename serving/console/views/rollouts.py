"""The rollout board: what is where, whether it passed its gates, how far it is, what may be done now. Pure."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from schemas.bundle import Gate, Manifest
from schemas.parity import GATED, BundleProgress, progress_with
from schemas.records.control import ENDED, BundleStage, CommandKind, Outcome, Rollout, Stage
from schemas.rollout import UNDER_WAY, compared_canary, nothing_yet
from schemas.surfaces import Surface
from serving.console.readings import Catalog, Moment
from serving.console.views import figures
from serving.console.views.canary import CanaryView, canary_view

TRACK = (Stage.REGISTERED, Stage.BUILDING, Stage.READY, Stage.CANARY, Stage.LIVE, Stage.DRAINING, Stage.RETIRED)
_SHOWN_METRICS = ("auc", "per_user_auc", "sampled_auc", "language_mismatch", "popularity_correlation")
_UNROLLED = 8


@dataclass(frozen=True, slots=True)
class Action:
    """A command a person may give now. `needs` is "share" where one is to be chosen; `weight` is "", "main" or "danger"."""

    kind: CommandKind
    label: str
    bundle: str | None
    warning: str
    weight: str = ""
    needs: str = ""


@dataclass(frozen=True, slots=True)
class NodeBar:
    """How far one node is with one bundle, drawn; `share` of 0 to 1 is its coverage of the live bundle's ids.

    Attributes:
        says: the time left, what its gate still asks, or that it is at parity; empty for a bundle that is past its gates.
    """

    node: str
    share: float
    behind: int | None
    rows: int
    says: str
    at_parity: bool


@dataclass(frozen=True, slots=True)
class Step:
    """A stage on a bundle's track: "done", "now" or "" for to come."""

    name: str
    state: str


@dataclass(frozen=True, slots=True)
class BundleCard:
    """One bundle of a surface."""

    bundle: str
    stage: str
    ended: bool
    since: str
    since_ms: int
    canary: str
    canary_view: CanaryView | None
    paused: bool
    automatic: bool
    track: tuple[Step, ...]
    recipe: str
    parent: str
    trained: str
    gates: tuple[Gate, ...]
    gates_passed: int
    metrics: tuple[tuple[str, str], ...]
    backfill: str
    nodes: tuple[NodeBar, ...]
    complaints: tuple[str, ...]
    actions: tuple[Action, ...]


@dataclass(frozen=True, slots=True)
class HistoryLine:
    """One record of the log."""

    revision: int
    when: str
    ago: str
    actor: str
    sentence: str
    refused: bool


@dataclass(frozen=True, slots=True)
class Unrolled:
    """A bundle of the registry that the surface's rollout does not name: never rolled out, or ended long ago."""

    bundle: str
    recipe: str
    trained: str
    gates_passed: int
    gates: int
    metrics: tuple[tuple[str, str], ...]
    action: Action


@dataclass(frozen=True, slots=True)
class SurfaceBoard:
    """One surface."""

    surface: str
    revision: int
    frozen: bool
    live: str | None
    bundles: tuple[BundleCard, ...]
    ended: tuple[BundleCard, ...]
    unrolled: tuple[Unrolled, ...]
    history: tuple[HistoryLine, ...]
    actions: tuple[Action, ...]


def board_trouble(now: Moment | None) -> str:
    """Return why the board may be out of date, or its buttons go unanswered; else nothing."""
    if now is None:
        return "The deployment is still being read."
    if now.broker.trouble is None and not now.live_controllers():
        return "No controller has been heard of for 10 s: nobody answers commands; `roost control` starts one."
    return now.broker.trouble or ""


def board(moments: Sequence[Moment], surface: Surface, catalog: Catalog) -> SurfaceBoard:
    """Return the board of a surface; revision 0 and no bundles before its first rollout."""
    now = moments[-1] if moments else None
    state = (None if now is None else now.broker.states.get(surface.name)) or nothing_yet(surface.name)
    known = {entry.bundle for entry in state.bundles}
    # the one in use and those under way first, ends last
    ordered = sorted(state.bundles, key=lambda entry: (_ORDER.index(entry.state) if entry.state in _ORDER else 99, -entry.since_ms))
    cards = [_card(entry, state, moments, catalog) for entry in ordered]
    unrolled = [bundle for bundle in catalog.bundles(surface.name) if bundle not in known][-_UNROLLED:]
    history = () if now is None else now.broker.history.get(surface.name, ())
    return SurfaceBoard(
        surface=surface.name,
        revision=state.revision,
        frozen=state.frozen,
        live=state.live,
        bundles=tuple(card for card in cards if not card.ended),
        ended=tuple(card for card in cards if card.ended),
        unrolled=tuple(_unrolled(bundle, catalog.manifest(surface.name, bundle)) for bundle in reversed(unrolled)),
        history=tuple(history_lines(history, 0 if now is None else now.at_ms)),
        actions=tuple(_surface_actions(state)),
    )


_ORDER = (Stage.LIVE, Stage.CANARY, Stage.READY, Stage.BUILDING, Stage.REGISTERED, Stage.DRAINING)


def actions_of(state: Rollout, entry: BundleStage) -> tuple[Action, ...]:
    """Return what may be asked for a bundle: what the controller's rules would accept at this revision."""
    found: list[Action] = []
    bundle = entry.bundle
    if entry.state in (Stage.READY, Stage.CANARY):
        found.append(Action(CommandKind.PROMOTE, "Promote", bundle, "Every answer comes from it within a second.", "main"))
        others = [other for other in state.in_stage(Stage.CANARY) if other.bundle != bundle]
        if state.live is not None and not others:
            label = "Change canary share" if entry.state is Stage.CANARY else "Start canary"
            found.append(Action(CommandKind.CANARY, label, bundle, "A sticky share of the users is answered by it.", "", "share"))
    if entry.state in UNDER_WAY:
        if entry.paused:
            found.append(Action(CommandKind.RESUME, "Resume", bundle, "The controller takes its next steps again."))
        else:
            found.append(Action(CommandKind.PAUSE, "Pause", bundle, "The controller takes no step with it until it is resumed."))
        found.append(
            Action(CommandKind.ABORT, "Abort", bundle, "Its topic and indexes go; the registry keeps the bundle.", "danger")
        )
    if entry.state is Stage.DRAINING:
        found.append(Action(CommandKind.RETIRE, "Retire", bundle, "Its topic is deleted: there is no way back to it.", "danger"))
    return tuple(found)


def _surface_actions(state: Rollout) -> Iterable[Action]:
    if draining := state.in_stage(Stage.DRAINING):
        back = draining[-1].bundle
        yield Action(CommandKind.ROLLBACK, "Roll back", back, f"Every answer comes from {back} again within a second.", "danger")
    if state.frozen:
        yield Action(CommandKind.UNFREEZE, "Unfreeze", None, "New bundles may go live by themselves again.")
    elif state.revision:
        yield Action(CommandKind.FREEZE, "Freeze", None, "No bundle goes live by itself until it is unfrozen.")


def find_action(board_now: SurfaceBoard, kind: str, bundle: str | None) -> Action | None:
    """Return the action of this kind for this bundle, or None when it may not be asked for now."""
    offered = [
        *board_now.actions,
        *(action for card in board_now.bundles for action in card.actions),
        *(entry.action for entry in board_now.unrolled),
    ]
    return next((action for action in offered if action.kind == kind and (action.bundle or None) == (bundle or None)), None)


def history_lines(history: Sequence[Rollout], now_ms: int) -> Iterable[HistoryLine]:
    """Return the log for people, newest first: what each record changed, or why it was refused."""
    lines = []
    was = Rollout("", 0)
    for record in history:
        refused = record.outcome in (Outcome.REFUSED, Outcome.LOST)
        if refused:
            sentence = f"{record.outcome}: {record.reason}"
        elif record.revision <= was.revision:
            # from a controller that came too late: nobody acts by it, and what follows changes the one before it
            sentence = f"of no effect: revision {record.revision} was written before"
        else:
            changes = list(_changes(was, record))
            sentence = "; ".join(changes) or "nothing changed"
            if record.reason:
                sentence += f" ({record.reason})"
            was = record
        when, since = figures.clock(record.time_ms), figures.ago(record.time_ms, now_ms)
        lines.append(HistoryLine(record.revision, when, since, record.actor or "controller", sentence, refused))
    return reversed(lines)


def _changes(was: Rollout, record: Rollout) -> Iterable[str]:
    before = {entry.bundle: entry for entry in was.bundles}
    for entry in record.bundles:
        old = before.get(entry.bundle)
        if old is None:
            yield f"{entry.bundle} is {entry.state}"
            continue
        if old.state is not entry.state:
            yield f"{entry.bundle}: {old.state} to {entry.state}"
        if old.share_bp != entry.share_bp and entry.state is Stage.CANARY:
            yield f"{entry.bundle} answers {entry.share_bp / 100:g} % of users"
        if old.paused is not entry.paused:
            yield f"{entry.bundle} is {'paused' if entry.paused else 'resumed'}"
    if record.frozen is not was.frozen:
        yield "frozen" if record.frozen else "unfrozen"
    if record.refresh != was.refresh:
        yield f"refresh {record.refresh}" if record.refresh else "refresh as the surfaces file says"


def _card(entry: BundleStage, state: Rollout, moments: Sequence[Moment], catalog: Catalog) -> BundleCard:
    manifest = catalog.manifest(state.surface, entry.bundle)
    ended = entry.state in ENDED
    now_ms = moments[-1].at_ms if moments else 0
    gates = () if manifest is None else manifest.gates
    progress = None if ended or not moments else _progress(entry, state, moments[-1])
    gated = entry.state in GATED
    canary = compared_canary(state) if entry.state is Stage.CANARY else None
    return BundleCard(
        bundle=entry.bundle,
        stage=str(entry.state),
        ended=ended,
        since=figures.ago(entry.since_ms, now_ms),
        since_ms=entry.since_ms,
        canary=_share(entry, state) if entry.state is Stage.CANARY else "",
        canary_view=canary_view(moments[-1], state.surface, canary) if moments and canary is not None else None,
        paused=entry.paused,
        automatic=entry.automatic,
        track=() if ended else tuple(_track(entry.state)),
        recipe="" if manifest is None else manifest.recipe,
        parent=(manifest.parent or "") if manifest is not None else "",
        trained="" if manifest is None else figures.ago(manifest.created_ms, now_ms),
        gates=gates,
        gates_passed=sum(gate.passed for gate in gates),
        metrics=_metrics(manifest),
        backfill="" if progress is None else _backfill(progress, gated=gated),
        nodes=() if progress is None else tuple(node_bars(progress, gated=gated)),
        complaints=() if ended or not moments else _complaints(entry.bundle, moments[-1]),
        actions=actions_of(state, entry),
    )


def _share(entry: BundleStage, state: Rollout) -> str:
    steps = ", ".join(f"{share_bp / 100:g}" for share_bp in state.ramp_bp)
    ramp = f", then {steps} %, each after {figures.duration(state.ramp_hold_s)} at least" if steps else ""
    return f"{entry.share_bp / 100:g} % of users{ramp}"


def _track(stage: Stage) -> Iterable[Step]:
    place = TRACK.index(stage) if stage in TRACK else -1
    for at, step in enumerate(TRACK):
        # few bundles are a canary first: passing it by is no step done
        skipped = step is Stage.CANARY and at < place
        yield Step(str(step), "now" if at == place else "done" if at < place and not skipped else "")


def _metrics(manifest: Manifest | None) -> tuple[tuple[str, str], ...]:
    known = {} if manifest is None else manifest.metrics
    return tuple((name.replace("_", " "), f"{known[name]:.3f}") for name in _SHOWN_METRICS if name in known)


def _unrolled(bundle: str, manifest: Manifest | None) -> Unrolled:
    gates = () if manifest is None else manifest.gates
    return Unrolled(
        bundle=bundle,
        recipe="" if manifest is None else manifest.recipe,
        trained="" if manifest is None else figures.clock(manifest.created_ms),
        gates_passed=sum(gate.passed for gate in gates),
        gates=len(gates),
        metrics=_metrics(manifest),
        action=Action(
            CommandKind.START, "Start rollout", bundle, "A second topic and index are filled; answers do not change yet.", "main"
        ),
    )


def _complaints(bundle: str, moment: Moment) -> tuple[str, ...]:
    beats = (*moment.live_embedders(), *moment.live_nodes())
    return tuple(dict.fromkeys(error for beat in beats for error in beat.status.errors if bundle in error))


def _progress(entry: BundleStage, state: Rollout, moment: Moment) -> BundleProgress:
    heard = [replace(beat.status, time_ms=beat.heard_ms) for beat in moment.broker.heartbeats.values()]
    return progress_with(entry, state, heard, moment.judged_ms)


def _backfill(progress: BundleProgress, *, gated: bool) -> str:
    if not progress.partitions:
        return "no embedder reports on it yet"
    asked = f"; still asked: {progress.missing}" if gated and progress.missing else ""
    return f"backfill done on {progress.backfilled} of {progress.partitions} partitions{asked}"


def node_bars(progress: BundleProgress, *, gated: bool) -> Iterable[NodeBar]:
    """Return a bar for each live node, by the controller's own rule; `gated` while the bundle is still to come to parity."""
    for node in progress.nodes:
        done = gated and not node.missing and not progress.missing
        left = "" if node.eta_s is None else f"about {figures.duration(node.eta_s)} to go, "
        yield NodeBar(
            node.node,
            share=min(1.0, max(0.0, node.coverage or 0.0)),
            behind=node.behind,
            rows=node.rows,
            says="at parity" if done else f"{left}still asked: {node.missing}" if gated and node.missing else "",
            at_parity=done,
        )
