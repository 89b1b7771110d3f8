"""`roost bench …`: the benchmarks, one JSON object each. Measures nothing itself: `lab.bench` does."""

from typing import Annotated, Any

import typer

from roost.cli.output import emit, say, table
from roost.cli.target import AsJson

app = typer.Typer(no_args_is_help=True, help="Benchmarks against baselines, measured in the same run.")

Live = Annotated[int, typer.Option(help="Live candidates in the index.", min=1_000)]
Seeds = Annotated[int, typer.Option(help="How many seeds, from 1 up.", min=1)]


@app.command()
def recall(*, live: Live = 50_000, seeds: Seeds = 3, turnovers: float = 5.0, as_json: AsJson = False) -> None:
    """Recall under churn, divided by a graph rebuilt from the same rows at the same moment.

    Example: roost bench recall --live 50000 --json
    """
    from lab.bench import recall as bench  # noqa: PLC0415 - the index and its baselines are heavy to load

    say(f"recall: {live:,} live, {turnovers:g} turnovers, {seeds} seeds")
    _show(bench.run(live=live, turnovers=turnovers, seeds=range(1, seeds + 1)), as_json=as_json)


@app.command()
def ingest(*, live: Live = 50_000, seeds: Seeds = 1, turnovers: float = 2.0, as_json: AsJson = False) -> None:
    """Upserts per CPU-second, background work counted, against updating one graph in place and replacing in it.

    Example: roost bench ingest --live 50000 --json
    """
    from lab.bench import ingest as bench  # noqa: PLC0415 - as above

    say(f"ingest: {live:,} live, {turnovers:g} turnovers, {seeds} seeds")
    _show(bench.run(live=live, turnovers=turnovers, seeds=range(1, seeds + 1)), as_json=as_json)


@app.command()
def query(*, live: Live = 50_000, seeds: Seeds = 1, as_json: AsJson = False) -> None:
    """CPU a query at k=200 against a freshly rebuilt graph and others; latency idle and while writing.

    Example: roost bench query --live 50000 --json
    """
    from lab.bench import query as bench  # noqa: PLC0415 - as above

    say(f"query: {live:,} live, {seeds} seeds")
    _show(bench.run(live=live, seeds=range(1, seeds + 1)), as_json=as_json)


def _show(figures: dict[str, Any], *, as_json: bool) -> None:
    def show() -> None:
        table(["", " #"], ((name, value) for name, value in figures.items() if not isinstance(value, list | dict)))

    emit(figures, as_json=as_json, show=show)
