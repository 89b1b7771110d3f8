"""`roost console`: the operators' pages in this process. Wires the console to the controller's client; draws nothing."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from lab.paper.shown import gate_tables, tables
from roost import __version__
from roost.cli.checked import settings_of
from roost.cli.roles import JsonLines, announce, run_until_stopped
from roost.cli.target import DEFAULT_DATA_DIR, Bootstrap, DataDir, Registry, registry_of
from roost.machine.deployment import Deployment
from schemas.records.control import Rollout, RolloutCommand
from serving.console.readings import WrittenTable

_WAIT_S = 15.0
_Draw = Callable[[Mapping[str, Any]], tuple[list[str], list[list[str]]]]
_SEEDS = "Below each figure, the lowest and highest seed"
# by result, and by the key of the rows in it
_DRAWN: Mapping[str, Mapping[str, tuple[str, _Draw]]] = {
    "table1": {"rows": (_SEEDS, tables.table1)},
    "table2": {"rows": (_SEEDS, tables.table2)},
    "fig3": {"rows": (_SEEDS, tables.fig3)},
    "fig5": {"rows": (_SEEDS, tables.fig5)},
    "fig6": {"rows": (_SEEDS, tables.fig6)},
    "continual": {"rows": (_SEEDS, tables.continual)},
    "gates": {
        "verdicts": ("Verdicts against the sign of the A/B test, with 95% intervals", gate_tables.summary_rows),
        "metrics": ("How well each metric's change tells that sign, with 95% intervals", tables.gates),
        "gates": ("What each gate refused", gate_tables.refusal_rows),
        "rows": ("Every training; below each figure, the lowest and highest seed", gate_tables.training_rows),
    },
}


class ControllerSender:
    """`CommandSender` over the broker: one connection a command, since a person gives few."""

    def __init__(self, bootstrap: str) -> None:
        self._bootstrap = bootstrap

    def send(self, command: RolloutCommand) -> Rollout:
        """See `CommandSender.send`."""
        from streams.controller.client import RolloutClient  # noqa: PLC0415 - only when somebody gives a command

        with RolloutClient(self._bootstrap) as client:
            return client.send(command, timeout_s=_WAIT_S)


class PaperTables:
    """`PaperTables` of the console, as docs/paper.md has them."""

    def tables(self, name: str, result: Mapping[str, object]) -> dict[str, WrittenTable]:
        """See `PaperTables.tables`."""
        try:
            return {key: _written(caption, *draw(result)) for key, (caption, draw) in _DRAWN.get(name, {}).items()}
        except (LookupError, TypeError, ValueError, AttributeError):
            # of another release, or by somebody else's hand: shown as it is
            return {}


def _written(caption: str, header: Sequence[str], rows: Sequence[Sequence[str]]) -> WrittenTable:
    if not all(isinstance(cell, str) for row in rows for cell in row):
        raise TypeError(f"a cell of {caption!r} is no text")
    return WrittenTable(caption, header, rows)


def console(
    *,
    port: Annotated[
        int | None, typer.Option(envvar="ROOST_CONSOLE_PORT", help="Port on 127.0.0.1; 8780 by default.", min=0, max=65_535)
    ] = None,
    results: Annotated[Path | None, typer.Option(help="Folder of experiments' results, JSON; docs/bench by default.")] = None,
    bootstrap: Bootstrap = None,
    registry: Registry = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    json_lines: JsonLines = False,
) -> None:
    """Show the deployment in a browser: overview, rollouts, playground, paper.

    It reads, and sends only rollout commands.

    Example: roost console --port 8780
    """
    from serving.console.role import run_console  # noqa: PLC0415 - each role loads only what its extra installs
    from serving.console.settings import ConsoleSettings  # noqa: PLC0415 - as above

    given: dict[str, object] = {"console_port": port, "console_results": results, "bootstrap": bootstrap}
    if registry:
        given["registry"] = registry_of(registry, data_dir)
    if bootstrap is None:
        running = Deployment.require(data_dir.resolve())
        given["bootstrap"] = running.bootstrap
        given.setdefault("registry", Path(running.registry))
        given["surfaces"] = Path(running.surfaces) if running.surfaces else None
    chosen = {name: value for name, value in given.items() if value is not None}
    settings = settings_of(ConsoleSettings).model_copy(update=chosen)
    sender = ControllerSender(settings.bootstrap)
    announce("console", settings, json_lines=json_lines)
    run_until_stopped("console", lambda stop: run_console(settings, sender, stop, paper=PaperTables(), version=__version__))
