"""`roost rollout …`: commands to the controller, and what became of them. Decides nothing: the controller does."""

import time
import uuid
from contextlib import closing
from typing import Annotated, Any

import typer
from rich.live import Live

from roost.cli.checked import check_surface_known, surfaces_of
from roost.cli.output import EXIT_FAILURE, emit, out, say
from roost.cli.phases_bar import phases_bar
from roost.cli.rollout_seen import Seen, as_data, drawn
from roost.cli.target import (
    DEFAULT_DATA_DIR,
    DEFAULT_SURFACE,
    AsJson,
    Bootstrap,
    DataDir,
    NamedBundle,
    Registry,
    SurfacesFile,
    broker_of,
    bundle_id_of,
    surfaces_file_of,
)
from roost.rollout_reached import wait_until_reached
from schemas.errors import Refused, RoostError
from schemas.ids import MAX_ID_BYTES, actor_of_process, check_name, check_text
from schemas.records.control import MAX_REASON_BYTES, CommandKind, Rollout, RolloutCommand
from schemas.surfaces import FIXED, asked_refresh_fault
from streams.controller.client import RolloutClient
from streams.controller.journal import Heartbeats

app = typer.Typer(no_args_is_help=True, add_completion=False, help="Roll a tower version out, watch it, and roll it back.")

# a revision is a long of Avro
_MAX_REVISION = 2**63 - 1
# a year
_MAX_HOLD_S = 31_536_000


def _checked_surface(name: str) -> str:
    try:
        check_name("surface", name, MAX_ID_BYTES)
    except RoostError as error:
        raise typer.BadParameter(str(error)) from error
    return name


def _checked_reason(reason: str) -> str:
    try:
        check_text("reason", reason, MAX_REASON_BYTES)
    except RoostError as error:
        raise typer.BadParameter(str(error)) from error
    return reason


Surface = Annotated[str, typer.Option("--surface", "-s", callback=_checked_surface, help="The product surface.")]
Revision = Annotated[
    int | None,
    typer.Option(
        "--revision",
        min=0,
        max=_MAX_REVISION,
        show_default=False,
        help="Only if the surface is at this revision (exit code 4 otherwise).",
    ),
]
Reason = Annotated[str, typer.Option("--reason", callback=_checked_reason, help="Kept in the history.")]
_WAIT_S = 30.0


def send(bootstrap: str, kind: CommandKind, surface: str, **details: Any) -> Rollout:
    """Send one command and return the record that answers it; raises `Refused` or `CompareAndSetLost`."""
    command = RolloutCommand(
        uuid.uuid4().hex, surface, kind, actor=actor_of_process(), time_ms=time.time_ns() // 1_000_000, **details
    )
    with RolloutClient(bootstrap) as client:
        return client.send(command, timeout_s=_WAIT_S)


@app.command()
def start(
    bundle: NamedBundle,
    *,
    surface: Surface = DEFAULT_SURFACE,
    auto: Annotated[bool, typer.Option("--auto", help="Promote without asking once every node is at parity.")] = False,
    wait: Annotated[
        bool, typer.Option("--wait", help="Return once the bundle is ready; with --auto once every live node answers from it.")
    ] = False,
    timeout_s: Annotated[float, typer.Option(help="How long --wait waits, in seconds.", min=0)] = 600.0,
    revision: Revision = None,
    reason: Reason = "",
    registry: Registry = None,
    bootstrap: Bootstrap = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: AsJson = False,
) -> None:
    """Begin a rollout: the embedder fills a second topic, nodes a second index; answers do not change yet.

    Example: roost rollout start 3f9a0c11d2e4b567 --auto --wait
    """
    bundle = bundle_id_of(bundle, surface, registry=registry, data_dir=data_dir)
    broker = broker_of(bootstrap, data_dir)
    rollout = send(
        broker,
        CommandKind.START,
        surface,
        bundle=bundle,
        automatic=auto,
        expected_revision=revision,
        reason=reason,
    )
    lacks: list[str] = []
    if wait:
        say(f"rollout of {bundle} begun; `roost rollout status --watch` shows how it goes on")
        with phases_bar() as progress:
            rollout, lacks = wait_until_reached(broker, surface, bundle, live=auto, timeout_s=timeout_s, on_progress=progress)
    _show(rollout, as_json=as_json)
    if not wait:
        say("`roost rollout status --watch` shows how it goes on")
    if lacks:
        say(f"roost: after {timeout_s:g} s {'; '.join(lacks)}")
        raise typer.Exit(EXIT_FAILURE)


@app.command()
def canary(
    bundle: NamedBundle,
    share: Annotated[
        float | None, typer.Argument(help="Per cent of users, such as 1 or 0.5.", min=0.01, max=100.0, show_default=False)
    ] = None,
    *,
    ramp: Annotated[
        str | None, typer.Option("--ramp", help="Several shares instead, one after the other, such as 1%,5%,25%.")
    ] = None,
    hold_s: Annotated[int, typer.Option(help="Seconds that a ramp keeps each share at least.", min=1, max=_MAX_HOLD_S)] = 600,
    surface: Surface = DEFAULT_SURFACE,
    auto: Annotated[bool, typer.Option("--auto", help="Promote once the engagement test finds it better.")] = False,
    revision: Revision = None,
    reason: Reason = "",
    registry: Registry = None,
    bootstrap: Bootstrap = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: AsJson = False,
) -> None:
    """Let a sticky share of users be answered by the bundle; one that they engage less with is aborted.

    Example: roost rollout canary 3f9a0c11d2e4b567 5

    Example: roost rollout canary 3f9a0c11d2e4b567 --ramp 1%,5%,25% --hold-s 3600 --auto
    """
    if (share is None) == (ramp is None):
        raise typer.BadParameter("give one share, or several by --ramp")
    first_bp, *ramp_bp = _shares_bp(ramp) if ramp is not None else [round((share or 0.0) * 100)]
    bundle = bundle_id_of(bundle, surface, registry=registry, data_dir=data_dir)
    rollout = send(
        broker_of(bootstrap, data_dir),
        CommandKind.CANARY,
        surface,
        bundle=bundle,
        share_bp=first_bp,
        automatic=auto,
        ramp_bp=tuple(ramp_bp),
        ramp_hold_s=hold_s if ramp_bp else 0,
        expected_revision=revision,
        reason=reason,
    )
    _show(rollout, as_json=as_json)


def _shares_bp(ramp: str) -> list[int]:
    try:
        shares = [float(share.strip().removesuffix("%")) for share in ramp.split(",")]
    except ValueError:
        shares = []
    # as for one share; nan is in no range
    if not shares or not all(0.01 <= share <= 100.0 for share in shares):
        raise typer.BadParameter(f"--ramp {ramp!r} is not a list of shares, such as 1%,5%,25%")
    return [round(share * 100) for share in shares]


def _simple(kind: CommandKind, doc: str) -> None:
    def command(
        bundle: NamedBundle,
        *,
        surface: Surface = DEFAULT_SURFACE,
        revision: Revision = None,
        reason: Reason = "",
        registry: Registry = None,
        bootstrap: Bootstrap = None,
        data_dir: DataDir = DEFAULT_DATA_DIR,
        as_json: AsJson = False,
    ) -> None:
        bundle = bundle_id_of(bundle, surface, registry=registry, data_dir=data_dir)
        rollout = send(broker_of(bootstrap, data_dir), kind, surface, bundle=bundle, expected_revision=revision, reason=reason)
        _show(rollout, as_json=as_json)

    command.__doc__ = f"{doc}\n\nExample: roost rollout {kind} 3f9a0c11d2e4b567\n"
    app.command(str(kind))(command)


_simple(CommandKind.PROMOTE, "Make a ready or canary bundle live: one assignment on each node.")
_simple(CommandKind.PAUSE, "Take no step with a bundle until it is resumed.")
_simple(CommandKind.RESUME, "Let a paused bundle go on.")
_simple(CommandKind.ABORT, "End a rollout that is not live yet.")
_simple(CommandKind.RETIRE, "Let go of the draining bundle: its topic is deleted, and there is no way back.")


def _whole_surface(kind: CommandKind, doc: str) -> None:
    def command(
        *,
        surface: Surface = DEFAULT_SURFACE,
        revision: Revision = None,
        reason: Reason = "",
        bootstrap: Bootstrap = None,
        data_dir: DataDir = DEFAULT_DATA_DIR,
        as_json: AsJson = False,
    ) -> None:
        rollout = send(broker_of(bootstrap, data_dir), kind, surface, expected_revision=revision, reason=reason)
        _show(rollout, as_json=as_json)

    command.__doc__ = f"{doc}\n\nExample: roost rollout {kind} --surface home-timeline\n"
    app.command(str(kind))(command)


_whole_surface(CommandKind.ROLLBACK, "Go back to the previous bundle at once; its index is as fresh as the live one's.")
_whole_surface(CommandKind.FREEZE, "Refuse automatic rollouts.")
_whole_surface(CommandKind.UNFREEZE, "Allow automatic rollouts again.")


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def configure(
    context: typer.Context,
    *,
    refresh: Annotated[
        str | None,
        typer.Option(
            help="When engagements embed a candidate again: write-time, threshold, every=30s, value=100/s; default means as the "
            "surfaces file says.",
            show_default=False,
        ),
    ] = None,
    surface: Surface = DEFAULT_SURFACE,
    revision: Revision = None,
    reason: Reason = "",
    bootstrap: Bootstrap = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: AsJson = False,
) -> None:
    """Change a surface's refresh policy: running embedders follow, and it outlives restarts.

    Example: roost rollout configure --surface home-timeline --refresh value=100/s
    """
    for word in context.args:
        key = word.lstrip("-").partition("=")[0].replace("-", "_")
        if key in FIXED:
            raise Refused(f"{key} of {surface} cannot change at run time: {FIXED[key]}")
    if context.args:
        raise typer.BadParameter(f"there is no {context.args[0]}; `roost rollout configure --help` shows what may be changed")
    if refresh is None:
        raise typer.BadParameter("name the setting to change, such as --refresh every=30s")
    # before it is sent: the controller would say the same, and the log would keep it for ever
    if fault := asked_refresh_fault(refresh):
        raise Refused(fault)
    rollout = send(
        broker_of(bootstrap, data_dir),
        CommandKind.CONFIGURE,
        surface,
        refresh=refresh,
        expected_revision=revision,
        reason=reason,
    )
    _show(rollout, as_json=as_json)


@app.command()
def status(
    *,
    surface: Annotated[str | None, typer.Option("--surface", "-s", help="Only this surface.")] = None,
    surfaces: SurfacesFile = None,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Refresh every second until Ctrl-C.")] = False,
    bootstrap: Bootstrap = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: AsJson = False,
) -> None:
    """Show every surface's bundles, and how far each node is with those under way: what their gates ask, and the time left.

    Example: roost rollout status --watch
    """
    if watch and as_json:
        raise typer.BadParameter("--json prints one object; it cannot be combined with --watch")
    broker = broker_of(bootstrap, data_dir)
    with RolloutClient(broker) as client, closing(Heartbeats(broker)) as heartbeats:
        heartbeats.catch_up()
        if surface is not None:
            check_surface_known(surface, surfaces_of(surfaces_file_of(surfaces, data_dir)), client.states())

        def looked_at() -> list[Seen]:
            states = [state for name, state in client.states().items() if surface in (None, name)]
            heard, now_ms = heartbeats.all(), heartbeats.now_ms()
            return [Seen.of(state, heard, now_ms) for state in states]

        if not watch:
            seen = looked_at()
            emit({"surfaces": [one.as_data() for one in seen]}, as_json=as_json, show=lambda: out.print(drawn(seen)))
            return
        with Live(console=out, refresh_per_second=1) as live:
            while True:
                live.update(drawn(looked_at()))
                time.sleep(1.0)
                heartbeats.refresh()


def _show(rollout: Rollout, *, as_json: bool) -> None:
    emit(as_data(rollout), as_json=as_json, show=lambda: out.print(drawn([Seen(rollout)])))
