"""`roost console`: the operators' pages in this process. Wires the console to the controller's client; draws nothing."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from lab.paper.shown import tables
from roost import __version__
from roost.cli.checked import settings_of
from roost.cli.roles import announce, run_until_stopped
from roost.cli.target import DEFAULT_DATA_DIR, Bootstrap, DataDir, Registry, registry_of
from roost.machine.deployment import Deployment
from schemas.records.control import Rollout, RolloutCommand

_WAIT_S = 15.0
_DRAWN: Mapping[str, Callable[[Mapping[str, Any]], tuple[list[str], list[list[str]]]]] = {
    "table1": tables.table1,
    "table2": tables.table2,
    "fig3": tables.fig3,
    "fig5": tables.fig5,
    "fig6": tables.fig6,
    "continual": tables.continual,
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

    def table(self, name: str, result: Mapping[str, object]) -> tuple[list[str], list[list[str]]] | None:
        """See `PaperTables.table`."""
        draw = _DRAWN.get(name)
        try:
            return None if draw is None else draw(result)
        except (KeyError, TypeError, ValueError, AttributeError):
            # of another release, or by somebody else's hand: shown as it is
            return None


def console(
    *,
    port: Annotated[
        int | None, typer.Option(envvar="ROOST_CONSOLE_PORT", help="Port on 127.0.0.1; 8780 by default.", min=0, max=65_535)
    ] = None,
    results: Annotated[Path | None, typer.Option(help="Folder of experiments' results, JSON; docs/bench by default.")] = None,
    bootstrap: Bootstrap = None,
    registry: Registry = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
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
    announce("console", settings)
    run_until_stopped("console", lambda stop: run_console(settings, sender, stop, paper=PaperTables(), version=__version__))
