"""The `roost` command: parses words and hands them to the part that does the work. Does no work of its own."""

from typing import Annotated

import typer

from roost import __version__

__all__ = ["app", "main"]

app = typer.Typer(name="roost", no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)


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
    app()
