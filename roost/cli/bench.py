"""`roost bench …`: the benchmarks, one JSON object each. Measures nothing itself: `lab.bench` does."""

import logging
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from lab.bench.promised import shortfalls
from roost.allocator import hold_little
from roost.cli.checked import settings_of, surface_named, surfaces_of
from roost.cli.output import EXIT_FAILURE, emit, say, set_up_logging, table
from roost.cli.steps_bar import steps_bar
from roost.cli.target import DEFAULT_SURFACE, AsJson, Surface
from roost.settings import LauncherSettings
from schemas.surfaces import refresh_fault
from serving.settings import IndexTiers

app = typer.Typer(no_args_is_help=True, add_completion=False, help="Benchmarks against baselines, measured in the same run.")


def known_refresh(policy: str) -> str:
    """Return what was given; raises `BadParameter` where it is no refresh policy."""
    if fault := refresh_fault(policy):
        raise typer.BadParameter(fault)
    return policy


Live = Annotated[int, typer.Option(help="Live candidates in the index.", min=1_000)]
QueriesPerS = Annotated[float, typer.Option(help="Queries a second, over both replicas.", min=1)]
EventsPerS = Annotated[float, typer.Option(help="Tweets, deletes and engagements a second.", min=8)]
Seed = Annotated[int, typer.Option(help="Another seed, other tweets, users and towers.", min=0)]
Keep = Annotated[Path | None, typer.Option(help="Keep broker data, bundles and logs in this folder.")]
Seeds = Annotated[int, typer.Option(help="How many seeds, from 1 up.", min=1)]
Tiers = Annotated[IndexTiers, typer.Option(help="Which tiers the index may have, as ROOST_INDEX_TIERS says it.")]
Turnovers = Annotated[float, typer.Option(help="How often as many candidates as are live come and expire.", min=0.1)]


@app.command()
def recall(
    *,
    live: Live = 50_000,
    seeds: Seeds = 3,
    turnovers: Turnovers = 5.0,
    scenario: Annotated[
        list[str] | None, typer.Option(help="How the corpus churns, as the rows name it; may be repeated. All of them by default.")
    ] = None,
    checkpoints: Annotated[int, typer.Option(help="Moments of a run at which both are asked; each rebuilds the graph.", min=1)] = 4,
    tiers: Tiers = "all",
    as_json: AsJson = False,
) -> None:
    """Recall under churn, divided by a graph rebuilt from the same rows at the same moment.

    Exit code 1 where it finds less than .99 of what the rebuilt graph finds, .97 in a language or age group.

    Example: roost bench recall --live 50000 --json
    """
    from lab.bench import recall as bench  # noqa: PLC0415 - the index and its baselines are heavy to load

    scenarios = scenario or bench.SCENARIO_NAMES
    if unknown := [name for name in scenarios if name not in bench.SCENARIO_NAMES]:
        raise typer.BadParameter(f"{unknown[0]!r} is none of: {'; '.join(bench.SCENARIO_NAMES)}", param_hint="--scenario")
    say(f"recall: {live:,} live, {turnovers:g} turnovers, {seeds} seeds")
    with steps_bar("recall") as progress:
        figures = bench.run(
            live=live,
            turnovers=turnovers,
            seeds=range(1, seeds + 1),
            tiers=tiers,
            checkpoints=checkpoints,
            scenarios=scenarios,
            on_progress=progress,
        )
    _show(figures, as_json=as_json)
    # None is what no scenario that was asked for measures
    _fail_on(shortfalls(figures, least={name: limit for name, limit in bench.LEAST.items() if figures[name] is not None}))


@app.command()
def ingest(
    *, live: Live = 50_000, seeds: Seeds = 1, turnovers: Turnovers = 2.0, tiers: Tiers = "all", as_json: AsJson = False
) -> None:
    """Upserts per CPU-second, background work counted, against graphs in place, replaced in and rebuilt, and three of faiss.

    Exit code 1 where recall@200 is below .98 after it.

    Example: roost bench ingest --live 50000 --json
    """
    from lab.bench import ingest as bench  # noqa: PLC0415 - as above

    say(f"ingest: {live:,} live, {turnovers:g} turnovers, {seeds} seeds")
    with steps_bar("ingest") as progress:
        figures = bench.run(live=live, turnovers=turnovers, seeds=range(1, seeds + 1), tiers=tiers, on_progress=progress)
    _show(figures, as_json=as_json)
    _fail_on(shortfalls(figures, least=bench.LEAST))


@app.command()
def query(*, live: Live = 50_000, seeds: Seeds = 1, tiers: Tiers = "all", as_json: AsJson = False) -> None:
    """CPU a query at k=200 against a freshly rebuilt graph and others; latency idle and while writing.

    Exit code 1 where recall@200 is below .99.

    Example: roost bench query --live 50000 --json
    """
    from lab.bench import query as bench  # noqa: PLC0415 - as above

    say(f"query: {live:,} live, {seeds} seeds")
    with steps_bar("query") as progress:
        figures = bench.run(live=live, seeds=range(1, seeds + 1), tiers=tiers, on_progress=progress)
    _show(figures, as_json=as_json)
    _fail_on(shortfalls(figures, least=bench.LEAST))


@app.command()
def restore(
    *,
    live: Live = 100_000,
    rounds: Annotated[int, typer.Option(help="How often the snapshot is restored.", min=1)] = 5,
    seed: Annotated[int, typer.Option(help="Another seed, other candidates.", min=0)] = 1,
    as_json: AsJson = False,
) -> None:
    """Seconds until a restarted node holds its candidates again, from its snapshot on disk, and how large that is.

    Exit code 1 where a candidate is lost, or recall@200 is below .98 after it.

    Example: roost bench restore --live 100000 --json
    """
    from lab.bench import restore as bench  # noqa: PLC0415 - as above

    # as a node does
    hold_little()
    say(f"restore: {live:,} live, {rounds} rounds")
    with steps_bar("restore") as progress:
        figures = bench.run(live=live, rounds=rounds, seed=seed, on_progress=progress)
    _show(figures, as_json=as_json)
    _fail_on(shortfalls(figures, none=bench.NONE, least=bench.LEAST))


@app.command()
def soak(
    *,
    live: Live = 50_000,
    seconds: Annotated[float, typer.Option(help="How long the index is churned.", min=2)] = 600.0,
    upserts_per_s: Annotated[int, typer.Option(help="Half of them new candidates, half newer vectors.", min=50)] = 2_000,
    seed: Annotated[int, typer.Option(help="Another seed, other candidates.", min=0)] = 1,
    as_json: AsJson = False,
) -> None:
    """Memory of an index that is churned for minutes: what a million vectors take, and whether it grows.

    Example: roost bench soak --live 50000 --seconds 600 --json
    """
    from lab.bench import soak as bench  # noqa: PLC0415 - as above

    # as a node does
    hold_little()
    say(f"soak: {live:,} live, {upserts_per_s:,} upserts/s for {seconds:g} s")
    with steps_bar("soak") as progress:
        figures = bench.run(live=live, seconds=seconds, upserts_per_s=upserts_per_s, seed=seed, on_progress=progress)
    _show(figures, as_json=as_json)


@app.command()
def refresh(
    *,
    live: Live = 20_000,
    seconds: Annotated[int, typer.Option(help="Simulated seconds.", min=60)] = 300,
    seeds: Seeds = 1,
    as_json: AsJson = False,
) -> None:
    """CPU of each refresh policy against the share of the answers of embedding everything that it still gives.

    Example: roost bench refresh --seeds 3 --json
    """
    from lab.bench import refresh as bench  # noqa: PLC0415 - torch takes seconds to load

    with steps_bar("refresh") as progress:
        figures = bench.run(live=live, seconds=seconds, seeds=range(1, seeds + 1), say=say, on_progress=progress)
    _show(figures, as_json=as_json)


@app.command()
def canary(
    *,
    runs: Annotated[int, typer.Option(help="Canaries of an equal tower; better and worse ones get a tenth.", min=10)] = 200,
    seed: Annotated[int, typer.Option(help="Another seed, other users.", min=0)] = 1,
    as_json: AsJson = False,
) -> None:
    """How canaries of equal, better and worse towers end by the controller's own test, at one share and along a ramp.

    Example: roost bench canary --runs 1000 --json
    """
    from lab.bench import canary as bench  # noqa: PLC0415 - as above

    with steps_bar("canary") as progress:
        figures = bench.run(runs=runs, seed=seed, on_progress=progress)
    columns = ("truth", "way", "runs", "promoted", "aborted", "looks_median")
    emit(figures, as_json=as_json, show=lambda: table(columns, ([row[name] for name in columns] for row in figures["rows"])))


@app.command()
def train(
    *,
    surface: Surface = DEFAULT_SURFACE,
    impressions: Annotated[int, typer.Option(help="Served pairs of each seed's world.", min=500)] = 12_000,
    seeds: Seeds = 5,
    as_json: AsJson = False,
) -> None:
    """Examples a CPU-second of training against the bare torch step on the same batches, and dense against sparse gradients.

    Example: roost bench train --seeds 5 --json
    """
    from lab.bench import train as bench  # noqa: PLC0415 - torch takes seconds to load

    say(f"train: {impressions:,} impressions, {seeds} seeds")
    on = surface_named(surface, surfaces_of(None))
    with steps_bar("train") as progress:
        figures = bench.run(on, seeds=range(1, seeds + 1), impressions=impressions, on_progress=progress)
    _show(figures, as_json=as_json)


@app.command()
def calibrate(
    *,
    seconds: Annotated[float, typer.Option(help="How long pauses are looked for.", min=0.1)] = 5.0,
    folder: Annotated[
        Path | None, typer.Option("--dir", help="A folder on the broker's disk.", exists=True, file_okay=False)
    ] = None,
    as_json: AsJson = False,
) -> None:
    """How fast this machine is just now: processor alone and with the others busy, pauses, memory, disk. Compare it before figures.

    Example: roost bench calibrate --json
    """
    from lab.bench import calibrate as bench  # noqa: PLC0415 - as above

    say(f"calibrate: pauses are looked for over {seconds:g} s, then the rest")
    with steps_bar("calibrate") as progress:
        figures = bench.run(seconds=seconds, folder=folder, on_progress=progress)
    _show(figures, as_json=as_json)


@app.command()
def freshness(
    *,
    rate: Annotated[float, typer.Option(help="Tweets a second; 3.5 engagements come with each.", min=1)] = 200.0,
    seconds: Annotated[float, typer.Option(help="Length of the measured window, after a warm-up of 30 s.", min=5)] = 60.0,
    live: Live = 20_000,
    seed: Seed = 1,
    refresh: Annotated[
        str,
        typer.Option(
            help="When engagements embed a candidate again: write-time, every=30s, threshold, value=100/s.", callback=known_refresh
        ),
    ] = "write-time",
    label: Annotated[bool, typer.Option("--label", help="Run the labeler and user state beside it; off by default.")] = False,
    keep: Keep = None,
    as_json: AsJson = False,
) -> None:
    """Publish to retrievable, end to end on a machine of its own: from a tweet's scheduled send to the first answer with it.

    Exit code 1 where a tweet that was looked for was lost, or a query left without an answer.

    Example: roost bench freshness --rate 200 --seconds 60 --json
    """
    from lab.bench import freshness as bench  # noqa: PLC0415 - as above
    from lab.bench.freshness.report import NONE  # noqa: PLC0415 - as above
    from lab.bench.freshness.towers import pretrained  # noqa: PLC0415 - torch takes seconds to load
    from roost.bench_machine import bench_machine  # noqa: PLC0415 - needs every extra, other commands do not

    settings = settings_of(LauncherSettings)
    set_up_logging(level=logging.WARNING)
    roles = ("control", "embed", *(("label",) if label else ()), "serve")
    say(f"freshness: {rate:g} tweets/s for {seconds:g} s, {live:,} live; the label role is {'on' if label else 'off'}")
    plan = bench.Plan(rate_per_s=rate, seconds=seconds, live=live, seed=seed)
    make = partial(pretrained, seed=seed)
    with (
        bench_machine(make, settings=settings, roles=roles, refresh=refresh, keep=keep, say=say) as target,
        steps_bar("freshness") as progress,
    ):
        figures = bench.run(plan, target, say=say, on_progress=progress)
    _show(
        {**figures, "config": {**figures["config"], "roles": roles, "refresh": refresh, "towers": "pre-trained on a world"}},
        as_json=as_json,
    )
    _fail_on(shortfalls(figures, none=NONE))


@app.command()
def swap(
    *,
    swaps: Annotated[int, typer.Option(help="Towers swapped under load.", min=1)] = 20,
    rollbacks: Annotated[int, typer.Option(help="Of those, how many are rolled back.", min=0)] = 5,
    live: Live = 20_000,
    queries_per_s: QueriesPerS = 50.0,
    events_per_s: EventsPerS = 500.0,
    before_s: Annotated[float, typer.Option(help="Seconds without a rollout that the ratios compare with.", min=2)] = 60.0,
    seed: Seed = 1,
    keep: Keep = None,
    as_json: AsJson = False,
) -> None:
    """Swap towers, and swap them back, under load on two replicas; every answer is scored again with the bundle it names.

    Example: roost bench swap --swaps 2 --rollbacks 1 --live 2000 --json
    """
    from lab.bench import swap as bench  # noqa: PLC0415 - as above
    from lab.bench.freshness.towers import pretrained  # noqa: PLC0415 - torch takes seconds to load
    from lab.bench.swap.report import shortfalls as missed_by  # noqa: PLC0415 - as above
    from roost.bench_machine import swap_machine  # noqa: PLC0415 - needs every extra, other commands do not

    if rollbacks > swaps:
        raise typer.BadParameter(f"{rollbacks} rollbacks need as many swaps; there are {swaps}")
    settings = settings_of(LauncherSettings)
    set_up_logging(level=logging.WARNING)
    plan = bench.Plan(
        swaps=swaps,
        rollbacks=rollbacks,
        live=live,
        queries_per_s=queries_per_s,
        events_per_s=events_per_s,
        before_s=before_s,
        seed=seed,
    )
    say(f"swap: {swaps} swaps and {rollbacks} rollbacks, {live:,} live, {queries_per_s:g} queries/s, {events_per_s:g} events/s")
    make = [partial(pretrained, seed=seed + number) for number in range(3)]
    with swap_machine(make, settings=settings, keep=keep, say=say) as target, steps_bar("swap") as progress:
        figures = bench.run(plan, target, say=say, on_progress=progress)
    _show(figures, as_json=as_json)
    _fail_on(missed_by(figures))


@app.command()
def recovery(
    *,
    rounds: Annotated[int, typer.Option(help="How often each process is killed.", min=1)] = 3,
    between_s: Annotated[float, typer.Option(help="Seconds from one kill to the next.", min=5)] = 30.0,
    live: Live = 20_000,
    queries_per_s: QueriesPerS = 50.0,
    events_per_s: EventsPerS = 500.0,
    seed: Seed = 1,
    keep: Keep = None,
    as_json: AsJson = False,
) -> None:
    """Kill -9 of broker, roles and replicas by turns under load: how long tweets and answers wait, and whether anything is lost.

    Example: roost bench recovery --rounds 1 --live 2000 --json
    """
    from lab.bench import recovery as bench  # noqa: PLC0415 - as above
    from lab.bench.freshness.towers import pretrained  # noqa: PLC0415 - torch takes seconds to load
    from lab.bench.recovery.report import shortfalls as missed_by  # noqa: PLC0415 - as above
    from roost.bench_machine import swap_machine  # noqa: PLC0415 - needs every extra, other commands do not

    settings = settings_of(LauncherSettings)
    set_up_logging(level=logging.WARNING)
    plan = bench.Plan(
        rounds=rounds, between_s=between_s, live=live, queries_per_s=queries_per_s, events_per_s=events_per_s, seed=seed
    )
    say(f"recovery: {rounds} rounds, {live:,} live, {queries_per_s:g} queries/s, {events_per_s:g} events/s")
    make = [partial(pretrained, seed=seed)]
    with swap_machine(make, settings=settings, keep=keep, say=say) as target, steps_bar("recovery") as progress:
        figures = bench.run(plan, target, say=say, on_progress=progress)
    _show(figures, as_json=as_json)
    if not as_json:
        roles = figures["roles"]
        columns = list(next(iter(roles.values())))
        table(["killed", *(f"{name} #" for name in columns)], ([role, *roles[role].values()] for role in roles))
    _fail_on(missed_by(figures))


def _fail_on(missed: Sequence[str]) -> None:
    for sentence in missed:
        say(f"roost: {sentence}")
    if missed:
        raise typer.Exit(EXIT_FAILURE)


def _show(figures: dict[str, Any], *, as_json: bool) -> None:
    def show() -> None:
        table(["", " #"], ((name, value) for name, value in figures.items() if not isinstance(value, list | dict)))

    emit(figures, as_json=as_json, show=show)
