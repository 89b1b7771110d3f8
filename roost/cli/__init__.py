"""The `roost` command: parses words and hands them to the part that does the work. Does no work of its own."""

import sys
from typing import Annotated

import typer

from roost import __version__
from roost.cli.commands import COMMANDS, CommandTable
from roost.cli.output import EXIT_FAILURE, Unwound, exit_code, fail, file_fault, owe_object, say, unwind_on_signals
from roost.cli.settings import keep_model_use_private
from schemas.errors import RoostError

__all__ = ["app", "main"]

app = typer.Typer(name="roost", cls=CommandTable, no_args_is_help=True, pretty_exceptions_enable=False)


def _print_version(wanted: bool) -> None:  # noqa: FBT001 - the signature typer calls
    if wanted:
        typer.echo(f"roost {__version__}")
        raise typer.Exit


@app.callback()
def _roost(
    *,
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Keeps a retrieval index true to what is happening now."""


def main() -> None:
    """Run the command line; the console script `roost`."""
    unwind_on_signals()
    keep_model_use_private()
    sys.exit(run(sys.argv[1:]))


def run(arguments: list[str]) -> int:
    """Run one command and return its exit code: 0 ok, 1 failure, 2 usage, 3 refused, 4 compare-and-set lost, 130/143 signals."""
    owe_object("--json" in arguments)
    try:
        app(arguments, prog_name="roost")
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else EXIT_FAILURE
    except RoostError as error:
        say(f"roost: {error}")
        return fail(str(error), exit_code(error))
    except ModuleNotFoundError as error:
        entry = COMMANDS.get(arguments[0]) if arguments else None
        if entry is None or not entry.extras:
            raise
        lacks = f"{error.name} is not installed; `pip install 'roost[{entry.extras}]'` brings what `roost {arguments[0]}` needs"
        say(f"roost: {lacks}")
        return fail(lacks, EXIT_FAILURE)
    except OSError as error:
        if (fault := file_fault(error)) is None:
            raise
        say(f"roost: {fault}")
        return fail(fault, EXIT_FAILURE)
    except Unwound as unwound:
        return unwound.exit_code
    return 0
