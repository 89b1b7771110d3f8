"""`roost models …`: the bundles in the registry, and the aliases that name them. Trains and publishes nothing."""

import math
import time
from collections.abc import Iterable
from typing import Annotated, Any

import typer

from roost.cli.bundle_bar import read_shown
from roost.cli.checked import check_surface_known, surfaces_of
from roost.cli.output import emit, table, tell
from roost.cli.phases_bar import phases_bar
from roost.cli.target import (
    DEFAULT_DATA_DIR,
    DEFAULT_SURFACE,
    AsJson,
    DataDir,
    NamedBundle,
    Registry,
    Surface,
    SurfacesFile,
    bundle_id_of,
    checked_bundle,
    registry_of,
    surfaces_file_of,
)
from schemas.aliases import aliases_in, bundle_at, is_alias, move_alias, moves_of
from schemas.bundle import Gate, Manifest, bundles_in, list_bundles, read_bundle, surfaces_in
from schemas.errors import BundleCorrupt, BundleMismatch, RoostError
from schemas.ids import actor_of_process
from schemas.progress import told
from schemas.registry.place import RegistryPlace

app = typer.Typer(no_args_is_help=True, add_completion=False, help="The bundles in the registry.")

NO_BUNDLE = "none"


def _checked_alias(text: str) -> str:
    if not is_alias(text) or text == NO_BUNDLE:
        raise typer.BadParameter(
            f"{text[:64]!r} is no name for an alias: a letter, then letters, digits, - and _, and no bundle's id"
        )
    return text


@app.command("list")
def list_(
    *,
    surface: Surface = DEFAULT_SURFACE,
    surfaces: SurfacesFile = None,
    registry: Registry = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: AsJson = False,
) -> None:
    """List a surface's bundles, oldest first, and its aliases; a damaged one with what is wrong with it.

    Example: roost models list --surface home-timeline
    """
    root = registry_of(registry, data_dir)
    check_surface_known(surface, surfaces_of(surfaces_file_of(surfaces, data_dir)), surfaces_in(root))
    aliases = aliases_in(root, surface)
    readable = list_bundles(root, surface)
    # of the others nobody can tell how old they are
    bundles = (*readable, *(other for other in bundles_in(root, surface) if other not in readable))
    rows: list[dict[str, Any]] = []
    with phases_bar() as progress:
        for bundle_id in told("bundles", bundles, progress):
            named = [alias for alias, named_id in aliases.items() if named_id == bundle_id]
            row = {"id": bundle_id, "aliases": named}
            try:
                rows.append({**row, **summary(read_bundle(root, surface, bundle_id).manifest), "fault": None})
            except (BundleCorrupt, BundleMismatch) as error:
                rows.append({**row, "fault": str(error)})

    def show() -> None:
        if not rows:
            others = _surfaces_with_bundles(root)
            hint = f"there are bundles of {', '.join(others)}" if others else "`roost train pretrain` makes the first"
            tell(f"no bundles of {surface} in {root}; {hint}")
            return
        columns = ["id", "aliases", "recipe", "parent", "auc #", "per_user_auc #", "language_mismatch #", "gates"]
        table(columns, ([_cell(row.get(column.removesuffix(" #"))) for column in columns] for row in rows))
        for fault in (row["fault"] for row in rows if row["fault"]):
            tell(f"unusable: {fault}")

    emit({"surface": surface, "bundles": rows, "aliases": aliases}, as_json=as_json, show=show)


@app.command()
def show(
    bundle: NamedBundle,
    *,
    surface: Surface = DEFAULT_SURFACE,
    registry: Registry = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: AsJson = False,
) -> None:
    """Show one bundle's manifest: lineage, metrics, gates, files.

    Example: roost models show 3f9a0c11d2e4b567
    """
    bundle = bundle_id_of(bundle, surface, registry=registry, data_dir=data_dir)
    manifest = read_shown(registry_of(registry, data_dir), surface, bundle).manifest
    data = {
        "id": bundle,
        **summary(manifest),
        "surface": surface,
        "dim": manifest.dim,
        "metric": manifest.metric,
        "feature_spec": {"name": manifest.feature_spec.name, "digest": manifest.feature_spec.digest},
        "files": dict(manifest.files),
        "examples": {partition: list(offsets) for partition, offsets in manifest.examples.items()},
        "seeds": dict(manifest.seeds),
        "code_version": manifest.code_version,
        "created_ms": manifest.created_ms,
        "metrics": dict(manifest.metrics),
        "gate_results": gate_results(manifest.gates),
    }
    emit(data, as_json=as_json, show=lambda: table(["", ""], ((name, value) for name, value in data.items())))


@app.command()
def verify(
    bundle: NamedBundle,
    *,
    surface: Surface = DEFAULT_SURFACE,
    registry: Registry = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: AsJson = False,
) -> None:
    """Check every byte of a bundle against its id, load both towers, and compare their canary vectors.

    Example: roost models verify 3f9a0c11d2e4b567
    """
    from schemas.towers import Towers  # noqa: PLC0415 - listing bundles needs no ONNX Runtime

    bundle = bundle_id_of(bundle, surface, registry=registry, data_dir=data_dir)
    Towers(read_shown(registry_of(registry, data_dir), surface, bundle))
    emit(
        {"id": bundle, "valid": True},
        as_json=as_json,
        show=lambda: tell(f"{bundle} is whole and its towers answer as trained"),
    )


@app.command()
def alias(
    name: Annotated[str, typer.Argument(callback=_checked_alias, help="A letter, then letters, digits, - and _.")],
    bundle: Annotated[
        str | None,
        typer.Argument(callback=checked_bundle, help="The bundle, or another alias; without it the alias' history is shown."),
    ] = None,
    *,
    expect: Annotated[
        str | None,
        typer.Option(
            callback=checked_bundle, help="Only if it names this bundle until then, or `none` if it is new (exit code 4 otherwise)."
        ),
    ] = None,
    surface: Surface = DEFAULT_SURFACE,
    registry: Registry = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: AsJson = False,
) -> None:
    """Let a name stand for a bundle, in every command that takes one; whoever moves it at the same time loses (exit code 4).

    Example: roost models alias stable 3f9a0c11d2e4b567 --expect 0b7d91c2e4a85f36
    """
    root = registry_of(registry, data_dir)
    if bundle is not None:
        bundle = bundle_id_of(bundle, surface, registry=registry, data_dir=data_dir)
        # a name for what nobody can load would be found out by whoever rolls it out
        read_shown(root, surface, bundle)
        if expect is None:
            expected = bundle_at(root, surface, name)
        else:
            expected = None if expect == NO_BUNDLE else bundle_id_of(expect, surface, registry=registry, data_dir=data_dir)
        move_alias(root, surface, name, bundle, expected=expected, actor=actor_of_process(), time_ms=time.time_ns() // 1_000_000)
    moves = moves_of(root, surface, name)
    if not moves:
        raise RoostError(f"{surface} has no alias {name} in {root}; `roost models alias {name} BUNDLE` makes it")
    history = [{"bundle": move.bundle, "previous": move.previous, "actor": move.actor, "time_ms": move.time_ms} for move in moves]

    def show() -> None:
        tell(f"{name} names {moves[-1].bundle}")
        when = (time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(move.time_ms / 1000)) for move in moves)
        table(["bundle", "since", "by"], ((move.bundle, since, move.actor) for move, since in zip(moves, when, strict=True)))

    emit({"surface": surface, "alias": name, "bundle": moves[-1].bundle, "history": history}, as_json=as_json, show=show)


def summary(manifest: Manifest) -> dict[str, Any]:
    """Return a bundle's lineage and main metrics as plain JSON data."""
    return {
        "recipe": manifest.recipe,
        "parent": manifest.parent,
        **{name: manifest.metrics.get(name) for name in ("auc", "per_user_auc", "language_mismatch")},
        "gates": "passed" if all(gate.passed for gate in manifest.gates) else "failed",
    }


def gate_results(gates: Iterable[Gate]) -> list[dict[str, Any]]:
    """Return every gate's figures and verdict as plain JSON data."""
    return [
        {
            "name": gate.name,
            # a figure that is not a number failed, and is no JSON
            "value": gate.value if math.isfinite(gate.value) else None,
            "limit": gate.limit,
            "passed": gate.passed,
            "sentence": gate.sentence,
        }
        for gate in gates
    ]


def _cell(value: object) -> str:
    if isinstance(value, list):
        return ", ".join(value)
    return "" if value is None else f"{value:.3f}" if isinstance(value, float) else str(value)


def _surfaces_with_bundles(root: RegistryPlace) -> list[str]:
    return [surface for surface in surfaces_in(root) if list_bundles(root, surface)]
