"""`roost demo`: starts a machine of its own, runs a story, and judges its figures. The work is done in `roost.demo` and `lab`."""

import logging
import shutil
import tempfile
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from lab.bench.promised import shortfalls
from roost.cli.checked import settings_of
from roost.cli.data import print_answer
from roost.cli.output import EXIT_FAILURE, emit, err, say, set_up_logging, table
from roost.cli.target import AsJson
from roost.machine.machine import Machine, MachinePlan
from roost.settings import LauncherSettings
from roost.whole_file import write_whole

_LEAST = {"events": 10_000, "candidates_indexed": 1_000, "queries": 500}
_NONE = ("errors", "mixed_epoch_answers", "lost", "violations")
_PICTURES = (".png", ".svg")
_ROLES = ("control", "embed", "label", "serve")


app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


def _checked_picture(path: Path | None) -> Path | None:
    if path is not None and path.suffix not in _PICTURES:
        raise typer.BadParameter(f"{path} is no picture; name one that ends in {' or '.join(_PICTURES)}")
    return path


@app.callback(invoke_without_command=True)
def demo(
    context: typer.Context,
    *,
    seed: Annotated[int, typer.Option(help="Another seed, another world.", min=0)] = 0,
    live_s: Annotated[float, typer.Option(help="Seconds of live traffic before the fine-tune.", min=0.0)] = 30.0,
    keep: Annotated[Path | None, typer.Option(help="Keep broker data, bundles and logs in this folder.")] = None,
    as_json: AsJson = False,
) -> None:
    """Run the whole loop on a simulated world, in some three minutes.

    Events, index, answers, fine-tune, rollout, rollback; on a machine of its own, gone at the end.

    Example: roost demo --json
    """
    if context.invoked_subcommand is not None:
        return
    from roost.demo.story import SURFACES_TOML, DemoPlan, Story  # noqa: PLC0415 - it needs every extra, other commands do not

    set_up_logging(level=logging.WARNING)
    data_dir = keep.resolve() if keep else Path(tempfile.mkdtemp(prefix="roost-demo-"))
    data_dir.mkdir(parents=True, exist_ok=True)
    surfaces = data_dir / "surfaces.toml"
    write_whole(surfaces, SURFACES_TOML)
    try:
        with Machine(MachinePlan(data_dir, surfaces, _ROLES), settings_of(LauncherSettings), say=say) as machine:
            story = Story(DemoPlan(seed=seed, live_s=live_s), machine, say=say, show=lambda answer: print_answer(answer, to=err))
            try:
                figures = story.run()
            finally:
                story.close()
    finally:
        if keep is None:
            shutil.rmtree(data_dir, ignore_errors=True)
    say("── Everything stopped cleanly")
    missed = shortfalls(figures, none=_NONE, least=_LEAST)
    for sentence in missed:
        say(f"roost: {sentence}")
    emit(figures, as_json=as_json, show=lambda: table(["", " #"], _rows(figures)))
    if missed:
        raise typer.Exit(EXIT_FAILURE)


@app.command()
def swap(
    *,
    seeds: Annotated[int, typer.Option(help="So many worlds, one after the other; each takes about three minutes.", min=1)] = 1,
    first_seed: Annotated[int, typer.Option(help="The first world.", min=0)] = 0,
    plot: Annotated[
        Path | None, typer.Option(callback=_checked_picture, help="Write the curves to this picture, .png or .svg.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Swap the same tower on the same tweets twice: re-embedded in place behind an alias, and by Roost; kill -9, roll back, judge.

    Example: roost demo swap --seeds 5 --plot swap.png --json
    """
    from lab import vanishing  # noqa: PLC0415 - it needs every extra, other commands do not
    from lab.bench.freshness.towers import pretrained, retrained  # noqa: PLC0415 - torch takes seconds to load
    from roost.bench_machine import swap_machine  # noqa: PLC0415 - as above

    settings = settings_of(LauncherSettings)
    set_up_logging(level=logging.WARNING)
    runs = []
    for seed in range(first_seed, first_seed + seeds):
        say(f"── The vanishing tweets, seed {seed}")
        make = [partial(towers, seed=seed) for towers in (pretrained, retrained)]
        with swap_machine(make, settings=settings, keep=None, say=say) as target:
            runs.append(vanishing.run(vanishing.Plan(seed=seed), target, say=say))
        table(*vanishing.compared(runs[-1]), to=err)
    faults = [fault for run in runs for fault in vanishing.faults(run)]
    for fault in faults:
        say(f"roost: {fault}")
    # before the picture: what took minutes to measure is not lost where that cannot be written
    emit({"runs": runs, "faults": faults}, as_json=as_json, show=lambda: table(*vanishing.compared_all(runs)))
    if plot is not None:
        vanishing.plot(runs).savefig(plot)
    if faults:
        raise typer.Exit(EXIT_FAILURE)


def _rows(figures: dict[str, Any]) -> list[tuple[str, object]]:
    rows: list[tuple[str, object]] = []
    for name, value in figures.items():
        if name == "bundles":
            for bundle in value:
                metrics = ", ".join(f"{key} {bundle[key]:.3f}" for key in ("auc", "per_user_auc", "language_mismatch"))
                rows.append((f"bundle {bundle['id']}", f"{metrics}, each on its own window"))
        elif name == "history":
            rows.extend((f"checked {key}", f"{value[key]:,}") for key in ("revisions", "commands", "answers"))
        elif isinstance(value, dict):
            rows.extend((f"{name} {key}", content) for key, content in value.items())
        else:
            rows.append((name, f"{value:,}" if isinstance(value, int) else value))
    return rows
