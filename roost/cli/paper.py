"""`roost paper …`: the tables and figures of the paper, each a JSON object, a table and a plot. `lab.paper` measures them."""

import time
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from lab.bench.machine import commit, machine
from roost.cli.experiment_bars import models_bar, values_bar
from roost.cli.output import emit, say, table, tell
from roost.cli.target import AsJson
from roost.whole_file import write_whole
from schemas.errors import RoostError

if TYPE_CHECKING:
    from lab.paper.continual.summed import Study
    from lab.paper.experiment import ExperimentSettings
    from lab.paper.gate_study.summed import GateStudy

app = typer.Typer(no_args_is_help=True, add_completion=False, help="The paper's tables and figures, next to what it prints.")

# worlds were tuned on seeds 0 to 2, settings swept on 2 to 4, the gates' limits set with 10 and 11 seen
FRESH_SEED = 30
SELECTION_SEED = 2

Seeds = Annotated[int, typer.Option(help="How many seeds; each is a world and a training of its own.", min=1)]
FirstSeed = Annotated[
    int,
    typer.Option(help="The first of them; worlds and settings were tuned on 0 to 4, the gates' limits with 10 and 11 seen.", min=0),
]
World = Annotated[Path | None, typer.Option(help="A folder of Parquet files to run on instead; see lab/observed/parquet.py.")]
Swept = Annotated[
    Path | None,
    typer.Option(
        help="A kept `roost paper sweep --json`: its chosen settings instead of the shipped ones, which such a one chose."
    ),
]
Plots = Annotated[Path, typer.Option(help="Folder the plot is drawn into.")]
Threads = Annotated[int, typer.Option(help="Threads of torch; figures are equal only for equal threads.", min=1)]
# not docs/paper: `roost paper page` draws the published ones, from the kept results
DEFAULT_PLOTS = Path("build/paper")


@app.command()
def table1(
    *,
    seeds: Seeds = 3,
    first_seed: FirstSeed = FRESH_SEED,
    world: World = None,
    swept: Swept = None,
    plots: Plots = DEFAULT_PLOTS,
    threads: Threads = 1,
    as_json: AsJson = False,
) -> None:
    """Table 1: every model's AUC on served traffic, what it retrieves, and what that is truly worth; minutes a seed.

    Example: roost paper table1 --seeds 3 --json
    """
    from lab.paper.table1 import table1 as run  # noqa: PLC0415 - torch takes seconds to load

    settings = _settings(threads, swept)
    began = time.monotonic()
    with models_bar(seeds, len(settings.recipes)) as told:
        result = run(range(first_seed, first_seed + seeds), settings, world=world, on_progress=told)
    _show("table1", {**result, **_measured_here(began, seeds)}, plots, as_json=as_json)


@app.command()
def table2(
    *,
    seeds: Seeds = 3,
    first_seed: FirstSeed = FRESH_SEED,
    world: World = None,
    swept: Swept = None,
    plots: Plots = DEFAULT_PLOTS,
    threads: Threads = 1,
    as_json: AsJson = False,
) -> None:
    """Table 2: the online experiment, simulated: every model and three references against the production heuristics.

    Example: roost paper table2 --seeds 3 --json
    """
    from lab.paper.table2 import table2 as run  # noqa: PLC0415 - torch takes seconds to load

    settings = _settings(threads, swept)
    began = time.monotonic()
    with models_bar(seeds, len(settings.recipes)) as told:
        result = run(range(first_seed, first_seed + seeds), settings, world=world, on_progress=told)
    _show("table2", {**result, **_measured_here(began, seeds)}, plots, as_json=as_json)


@app.command()
def fig3(
    *,
    seeds: Seeds = 3,
    first_seed: FirstSeed = FRESH_SEED,
    plots: Plots = DEFAULT_PLOTS,
    threads: Threads = 1,
    as_json: AsJson = False,
) -> None:
    """Figure 3: what training on biased data does, on MovieLens-100K in place of 1M; accuracy as in the paper, and AUC.

    Example: roost paper fig3 --seeds 3 --json
    """
    from lab.paper.experiment import set_threads  # noqa: PLC0415 - torch takes seconds to load
    from lab.paper.figures.fig3 import TAUS  # noqa: PLC0415 - as above
    from lab.paper.figures.fig3 import fig3 as run  # noqa: PLC0415 - as above
    from lab.replay.movielens import load  # noqa: PLC0415 - as above

    set_threads(threads)
    began = time.monotonic()
    with values_bar("tau", seeds * len(TAUS)) as told:
        result = run(range(first_seed, first_seed + seeds), load(), on_progress=told)
    _show("fig3", {**result, **_measured_here(began, seeds)}, plots, as_json=as_json)


@app.command()
def fig5(
    *,
    seeds: Seeds = 3,
    first_seed: FirstSeed = FRESH_SEED,
    plots: Plots = DEFAULT_PLOTS,
    threads: Threads = 1,
    as_json: AsJson = False,
) -> None:
    """Figure 5: more random negatives for each positive, on related tweets; and section 5.2: triplet loss at 4,000 of them.

    Example: roost paper fig5 --seeds 3 --json
    """
    from lab.paper.figures.fig5 import RATIOS  # noqa: PLC0415 - torch takes seconds to load
    from lab.paper.figures.fig5 import fig5 as run  # noqa: PLC0415 - as above
    from lab.paper.figures.sweep import SweepSettings  # noqa: PLC0415 - as above

    began = time.monotonic()
    with values_bar("negatives", seeds * (len(RATIOS) + 1)) as told:
        result = run(range(first_seed, first_seed + seeds), SweepSettings(threads=threads), on_progress=told)
    _show("fig5", {**result, **_measured_here(began, seeds)}, plots, as_json=as_json)


@app.command()
def fig6(
    *,
    seeds: Seeds = 3,
    first_seed: FirstSeed = FRESH_SEED,
    plots: Plots = DEFAULT_PLOTS,
    threads: Threads = 1,
    as_json: AsJson = False,
) -> None:
    """Figure 6: weights on popular negatives, and the t at which most is gained.

    Example: roost paper fig6 --seeds 3 --json
    """
    from lab.paper.figures.fig6 import TS  # noqa: PLC0415 - torch takes seconds to load
    from lab.paper.figures.fig6 import fig6 as run  # noqa: PLC0415 - as above
    from lab.paper.figures.sweep import SweepSettings  # noqa: PLC0415 - as above

    began = time.monotonic()
    with values_bar("t", seeds * len(TS)) as told:
        result = run(range(first_seed, first_seed + seeds), SweepSettings(threads=threads), on_progress=told)
    _show("fig6", {**result, **_measured_here(began, seeds)}, plots, as_json=as_json)


@app.command()
def continual(
    *,
    seeds: Seeds = 2,
    first_seed: FirstSeed = FRESH_SEED,
    days: Annotated[int, typer.Option(help="Days that the towers serve themselves.", min=2)] = 14,
    replay: Annotated[
        float | None, typer.Option(help="Weight of replayed random negatives; by default as the schedule ships it.", min=0.0)
    ] = None,
    anchor_rise: Annotated[
        float | None,
        typer.Option(help="How far mismatch may rise above the anchor's; by default as the gates ship it.", min=0.0, max=1.0),
    ] = None,
    ensemble: Annotated[bool, typer.Option(help="Beside them an ensemble, as it is and fine-tuned by the schedule.")] = True,
    again: Annotated[
        list[Path] | None, typer.Option(help="A kept result; trains nothing. Several, of different seeds, become one.")
    ] = None,
    plots: Plots = DEFAULT_PLOTS,
    threads: Threads = 1,
    as_json: AsJson = False,
) -> None:
    """Two weeks of drift and feedback: frozen towers, naive fine-tuning and Roost's schedule, each on what it served itself.

    Example: roost paper continual --json
    """
    from lab.paper.continual.study import ContinualSettings  # noqa: PLC0415 - torch takes seconds to load
    from lab.paper.continual.study import continual as run  # noqa: PLC0415 - as above
    from lab.paper.continual.summed import as_one  # noqa: PLC0415 - as above
    from lab.paper.shown.origin import measured_at  # noqa: PLC0415 - as above
    from lab.paper.shown.page import read  # noqa: PLC0415 - as above

    given = [read(path, "continual") for path in again or ()]
    if given:
        result, measured = as_one([cast("Study", one) for one in given]), measured_at(given)
    else:
        settings = ContinualSettings.of(days=days, replay=replay, anchor_rise=anchor_rise, ensemble=ensemble, threads=threads)
        began = time.monotonic()
        with values_bar("day", seeds * (days + 1)) as told:
            result = run(range(first_seed, first_seed + seeds), settings, on_progress=told)
        measured = _measured_here(began, seeds)
    _show("continual", {**result, **measured}, plots, as_json=as_json)


@app.command()
def gates(
    *,
    seeds: Seeds = 3,
    first_seed: FirstSeed = FRESH_SEED,
    bundles: Annotated[int, typer.Option(help="Trained bundles over all seeds.", min=2)] = 42,
    again: Annotated[
        list[Path] | None,
        typer.Option(help="A kept result, judged anew by today's limits; trains nothing. Several, of different seeds, become one."),
    ] = None,
    plots: Plots = DEFAULT_PLOTS,
    threads: Threads = 1,
    as_json: AsJson = False,
) -> None:
    """How well the trainer's gates and their metrics tell which bundles would lose a simulated A/B test; minutes a seed.

    Example: roost paper gates --seeds 3 --bundles 42 --json
    """
    from lab.paper.gate_study.study import GateStudySettings  # noqa: PLC0415 - torch takes seconds to load
    from lab.paper.gate_study.study import gates as run  # noqa: PLC0415 - as above
    from lab.paper.gate_study.summed import judged_again  # noqa: PLC0415 - as above
    from lab.paper.shown.gate_tables import sentence  # noqa: PLC0415 - as above
    from lab.paper.shown.origin import measured_at  # noqa: PLC0415 - as above
    from lab.paper.shown.page import read  # noqa: PLC0415 - as above

    given = [read(path, "gates") for path in again or ()]
    if given:
        result, measured = judged_again([cast("GateStudy", one) for one in given]), measured_at(given)
    else:
        settings = GateStudySettings.of(bundles=bundles, threads=threads)
        began = time.monotonic()
        with values_bar("bundle", bundles + seeds) as told:
            result = run(range(first_seed, first_seed + seeds), settings, on_progress=told)
        measured = _measured_here(began, seeds)
    _show("gates", {**result, **measured}, plots, as_json=as_json)
    say(sentence(result))


@app.command()
def freshness(
    *,
    seeds: Seeds = 3,
    first_seed: FirstSeed = FRESH_SEED,
    moments: Annotated[int, typer.Option(help="Moments of a day at which every test user asks.", min=2)] = 288,
    plots: Plots = DEFAULT_PLOTS,
    threads: Threads = 1,
    as_json: AsJson = False,
) -> None:
    """What freshness is worth: true engagement against the delay from publish to retrievable, .1 s to 1 h; minutes a seed.

    Example: roost paper freshness --seeds 3 --json
    """
    from lab.paper.freshness.study import FreshnessSettings  # noqa: PLC0415 - torch takes seconds to load
    from lab.paper.freshness.study import freshness as run  # noqa: PLC0415 - as above

    settings = FreshnessSettings.of(moments=moments, threads=threads)
    began = time.monotonic()
    with models_bar(seeds, len(settings.experiment.recipes)) as told:
        result = run(range(first_seed, first_seed + seeds), settings, on_progress=told)
    _show("freshness", {**result, **_measured_here(began, seeds)}, plots, as_json=as_json)


@app.command()
def arms(
    *,
    seeds: Seeds = 4,
    first_seed: FirstSeed = FRESH_SEED,
    days: Annotated[int, typer.Option(help="Days of a canary; both arms are trained every evening but the last.", min=2)] = 3,
    share: Annotated[float, typer.Option(help="The canary's share of the users, in percent.", min=1, max=99)] = 50.0,
    plots: Plots = DEFAULT_PLOTS,
    threads: Threads = 1,
    as_json: AsJson = False,
) -> None:
    """Canaries whose arms go on training, on the shared log and each on its own: how often is the sign right?

    Example: roost paper arms --json
    """
    from lab.paper.arms.study import ArmsSettings  # noqa: PLC0415 - torch takes seconds to load
    from lab.paper.arms.study import arms as run  # noqa: PLC0415 - as above

    settings = ArmsSettings(days=days, share=share / 100, threads=threads)
    began = time.monotonic()
    with values_bar("day", seeds * (days + 1)) as told:
        result = run(range(first_seed, first_seed + seeds), settings, on_progress=told)
    _show("arms", {**result, **_measured_here(began, seeds)}, plots, as_json=as_json)


@app.command()
def sweep(
    *,
    seeds: Annotated[int, typer.Option(help="How many seeds; settings are compared by their means.", min=1)] = 3,
    first_seed: Annotated[int, typer.Option(help="The first of them; no table may report any.", min=0)] = SELECTION_SEED,
    rate: Annotated[
        list[float] | None,
        typer.Option(help="A learning rate to try in place of the grid's; give it again for another.", min=0.0),
    ] = None,
    plots: Plots = DEFAULT_PLOTS,
    threads: Threads = 1,
    as_json: AsJson = False,
) -> None:
    """Settings of Table 1's models, each at its best as an opponent, on seeds that no table reports; a quarter of an hour a seed.

    Example: roost paper sweep --rate .003 --json
    """
    from lab.paper.experiment import ExperimentSettings  # noqa: PLC0415 - torch takes seconds to load
    from lab.paper.sweep.study import SweepSettings  # noqa: PLC0415 - as above
    from lab.paper.sweep.study import sweep as run  # noqa: PLC0415 - as above

    settings = SweepSettings(ExperimentSettings(threads=threads))
    if rate:
        settings = settings.at(tuple(rate))
    began = time.monotonic()
    with models_bar(seeds, settings.trainings) as told:
        result = run(range(first_seed, first_seed + seeds), settings, on_progress=told)
    _show("sweep", {**result, **_measured_here(began, seeds)}, plots, as_json=as_json)


@app.command()
def page(
    *,
    results: Annotated[Path, typer.Option(help="Folder of the kept results, JSON, one file an experiment.")] = Path("docs/bench"),
    document: Annotated[Path, typer.Option(help="The page whose tables are redrawn.")] = Path("docs/paper.md"),
    plots: Plots = Path("docs/paper"),
    as_json: AsJson = False,
) -> None:
    """Draw docs/paper.md's tables and the plots anew from the kept results; runs no experiment.

    Example: roost paper page
    """
    from lab.paper.shown.page import draw_all, kept, rewritten  # noqa: PLC0415 - matplotlib takes a second to load

    found = kept(results)
    if not found:
        raise RoostError(f"{results} holds no result of `roost paper`; name their folder with --results")
    if not document.is_file():
        raise RoostError(f"there is no page {document}; name one with --document, or run this where Roost's sources are")
    write_whole(document, rewritten(document.read_text("utf-8"), found))
    drawn = [str(path) for path in draw_all(found, plots)]
    emit({"page": str(document), "plots": drawn}, as_json=as_json, show=lambda: tell(f"{document} and {', '.join(drawn)}"))


def _settings(threads: int, swept: Path | None) -> "ExperimentSettings":
    """Return what Tables 1 and 2 run: the shipped settings, or those that another sweep chose."""
    from lab.paper.experiment import ExperimentSettings  # noqa: PLC0415 - torch takes seconds to load
    from lab.paper.shown.page import read  # noqa: PLC0415 - as above
    from lab.paper.sweep.chosen import with_chosen  # noqa: PLC0415 - as above

    settings = ExperimentSettings(threads=threads)
    return settings if swept is None else with_chosen(settings, read(swept, "sweep"))


def _show(name: str, result: Mapping[str, Any], plots: Path, *, as_json: bool) -> None:
    from lab.paper.shown import plots as drawn  # noqa: PLC0415 - matplotlib takes a second to load
    from lab.paper.shown import tables  # noqa: PLC0415 - as above

    header, rows = getattr(tables, name)(result)
    # before the plot: what took minutes to measure is not lost where that cannot be written
    emit(result, as_json=as_json, show=lambda: table([header[0], *(f"{title} #" for title in header[1:])], rows))
    picture = plots / f"{name}.png"
    drawn.save(getattr(drawn, name)(result), picture)
    say(f"the plot is in {picture}")


def _measured_here(began: float, seeds: int) -> dict[str, Any]:
    """Return where a result was measured, and how long a seed took since `began`, in seconds of `time.monotonic()`."""
    seconds = round((time.monotonic() - began) / seeds, 1)
    return {"machine": {**machine(), "torch": version("torch")}, "commit": commit(), "seconds_per_seed": seconds}
