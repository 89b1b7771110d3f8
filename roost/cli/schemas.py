"""`roost schemas …`: this release's schemas, checked and registered. The work is `roost.subjects`'."""

from dataclasses import asdict
from typing import Annotated

import typer

from roost.cli.output import EXIT_FAILURE, emit, table, tell
from roost.cli.phases_bar import phases_bar
from roost.cli.target import SCHEMA_REGISTRY_HELP, AsJson, checked_url
from schemas.codec import schema_json, subjects, versions

app = typer.Typer(no_args_is_help=True, add_completion=False, help="The schemas of this release, here and at a schema registry.")

# the second as where --registry is the bundles' folder
_WORDS = ("--registry", "--schema-registry")


@app.command()
def register(
    *,
    registry: Annotated[str, typer.Option(*_WORDS, envvar="ROOST_SCHEMA_REGISTRY_URL", help=SCHEMA_REGISTRY_HELP)],
    as_json: AsJson = False,
) -> None:
    """Register every version of every subject in order, and allow only versions that all readers of all others can read.

    Done twice, it changes nothing the second time. The topics that others produce to get theirs as <topic>-value too.

    Example: roost schemas register --registry http://127.0.0.1:8081
    """
    from roost.subjects.registered import Registry  # noqa: PLC0415 - a second of imports, `--help` needs none

    with (
        Registry(checked_url(registry, example="http://127.0.0.1:8081")) as opened,
        phases_bar() as progress,
    ):
        done = opened.register(on_progress=progress)
    new = sum(one.new for one in done)

    def show() -> None:
        rows = ((one.subject, one.version, one.schema_id, "new" if one.new else "was there") for one in done)
        table(["subject", "version #", "id #", ""], rows)
        tell(f"{len(done)} versions are registered, {new} of them new")

    emit({"registered": [asdict(one) for one in done], "new": new}, as_json=as_json, show=show)


@app.command()
def check(
    *,
    registry: Annotated[str | None, typer.Option(*_WORDS, envvar="ROOST_SCHEMA_REGISTRY_URL", help=SCHEMA_REGISTRY_HELP)] = None,
    as_json: AsJson = False,
) -> None:
    """Check that each version of a subject reads every other, and, with a registry, that it holds the same; exit code 1 if not.

    Example: roost schemas check --registry http://127.0.0.1:8081
    """
    from roost.subjects.compatibility import incompatibilities  # noqa: PLC0415 - as above
    from roost.subjects.registered import Registry  # noqa: PLC0415 - as above

    count, faults = 0, []
    for subject in subjects():
        released = {f"version {version}": schema_json(subject, version) for version in versions(subject)}
        count += len(released)
        faults += [f"{subject}: {sentence}" for sentence in incompatibilities(released)]
    if registry is not None:
        with (
            Registry(checked_url(registry, example="http://127.0.0.1:8081")) as opened,
            phases_bar() as progress,
        ):
            faults += [fault.sentence for fault in opened.faults(on_progress=progress)]

    def show() -> None:
        for fault in faults:
            tell(fault)
        if not faults:
            there = "" if registry is None else ", and the registry holds them"
            tell(f"{count} versions of {len(subjects())} subjects read each other{there}")

    emit({"ok": not faults, "subjects": len(subjects()), "versions": count, "faults": faults}, as_json=as_json, show=show)
    if faults:
        raise typer.Exit(EXIT_FAILURE)
