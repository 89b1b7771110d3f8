"""The table of commands, and a group that imports a command's module only when it is called. Runs nothing itself.

`roost --help` and a mistyped word need none of what the commands need: Kafka, HTTP and numpy take most of a second to import.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup
from typer.exceptions import TyperException
from typer.main import get_command

from roost.cli.output import fail


@dataclass(frozen=True, slots=True)
class Entry:
    """A command: `module` holds it as `name`, a function or a `typer.Typer`; `line` is the first sentence of its help.

    `extras` are those of the distribution that hold what it needs beyond the base install.
    """

    module: str
    name: str
    line: str
    extras: str = ""

    def load(self, word: str) -> Any:
        """Import the command, under the word it is called by."""
        part = getattr(import_module(self.module), self.name)
        if isinstance(part, typer.Typer):
            command = get_command(part)
            command.name = word
        else:
            single = typer.Typer(add_completion=False)
            single.command(word)(part)
            command = get_command(single)
        _refuse_numbers_without_end(command)
        return command


def _refuse_numbers_without_end(command: Any) -> None:
    """Have every option of a command, and of those below it, refuse nan and inf: they pass a check of least and most."""
    for below in getattr(command, "commands", {}).values():
        _refuse_numbers_without_end(below)
    for parameter in command.params:
        parameter.callback = partial(_checked, parameter.callback)


def _checked(then: Callable[..., Any] | None, ctx: Any, parameter: Any, value: Any) -> Any:
    for number in value if isinstance(value, list) else [value]:
        if isinstance(number, float) and not math.isfinite(number):
            raise typer.BadParameter(f"{number} is no finite number", ctx=ctx, param=parameter)
    return value if then is None else then(ctx, parameter, value)


COMMANDS: dict[str, Entry] = {
    "up": Entry("roost.cli.machine", "up", "Start all roles on this machine, on a real broker.", "streams,serving,trainer,console"),
    "down": Entry("roost.cli.machine", "down", "Stop what `roost up` started: every role flushed and committed."),
    "status": Entry(
        "roost.cli.machine", "status", "Say what runs, where, whether the node is ready, and what embedders say is wrong."
    ),
    "doctor": Entry("roost.cli.doctor", "doctor", "Look for what is wrong, and print what mends it."),
    "demo": Entry(
        "roost.cli.demo", "app", "Run the whole loop on a simulated world, in some three minutes.", "streams,serving,trainer"
    ),
    "replay": Entry("roost.cli.data", "replay", "Play recorded interactions through the same topics as live traffic."),
    "publish": Entry("roost.cli.data", "publish", "Publish events from a file; returns once the broker acknowledged them all."),
    "query": Entry("roost.cli.data", "query", "Retrieve candidates for a user."),
    "explain": Entry("roost.cli.explain", "explain", "Say why a candidate is, or is not, in a user's answer.", "streams"),
    "embed": Entry("roost.cli.roles", "embed", "Embed candidates as they change, for every bundle in use.", "streams"),
    "label": Entry("roost.cli.roles", "label", "Join impressions with engagements into examples, and fold user states.", "streams"),
    "control": Entry("roost.cli.roles", "control", "Answer rollout commands and take bundles through their stages.", "streams"),
    "serve": Entry("roost.cli.roles", "serve", "Keep a live index per bundle and answer queries over HTTP.", "serving"),
    "console": Entry(
        "roost.cli.console", "console", "Show the deployment in a browser: overview, rollouts, playground, paper.", "console"
    ),
    "train": Entry("roost.cli.train", "app", "Train towers and publish them as bundles.", "trainer"),
    "models": Entry("roost.cli.models", "app", "The bundles in the registry.", "streams"),
    "rollout": Entry("roost.cli.rollout", "app", "Roll a tower version out, watch it, and roll it back."),
    "index": Entry("roost.cli.index", "app", "The nodes' indexes: snapshots on disk, and audits.", "serving"),
    "users": Entry("roost.cli.users", "users", "Delete a user, and search every place for what is left.", "serving"),
    "authors": Entry(
        "roost.cli.users", "authors", "Take down all that an author published, and search for what is left.", "serving"
    ),
    "topics": Entry("roost.cli.topics", "app", "Create the topics on your own cluster, check or alter them."),
    "dlq": Entry("roost.cli.dlq", "app", "Records that could not be processed."),
    "schemas": Entry("roost.cli.schemas", "app", "The schemas of this release, here and at a schema registry.", "streams"),
    "bench": Entry("roost.cli.bench", "app", "Benchmarks against baselines, measured in the same run.", "streams,serving,trainer"),
    "paper": Entry("roost.cli.paper", "app", "The paper's tables and figures, next to what it prints.", "paper"),
}


class CommandTable(TyperGroup):
    """The group of `COMMANDS`. Its help is drawn from the table; only the command that is called is imported."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.commands = {word: TyperCommand(word, help=entry.line) for word, entry in COMMANDS.items()}

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Return the called command itself, imported; a word that is none ends with a usage error."""
        word, _, rest = super().resolve_command(ctx, args)
        return word, COMMANDS[word].load(word) if word else None, rest

    def invoke(self, ctx: Any) -> Any:
        """Run the called command; of a usage error, which typer prints, `--json` has its object too."""
        try:
            return super().invoke(ctx)
        except TyperException as error:
            fail(error.format_message(), error.exit_code)
            raise
