"""`roost models …`: the bundles in the registry. Reads; trains and publishes nothing."""

from typing import Annotated, Any

import typer

from roost.cli.output import emit, table, tell
from roost.cli.target import DEFAULT_DATA_DIR, AsJson, BundleId, DataDir, Registry, registry_of
from schemas.bundle import Manifest, list_bundles, read_bundle, surfaces_in
from schemas.remote import BundleRegistry

app = typer.Typer(no_args_is_help=True, add_completion=False, help="The bundles in the registry.")

Surface = Annotated[str, typer.Option("--surface", "-s", help="The product surface.")]
DEFAULT_SURFACE = "home-timeline"


@app.command("list")
def list_(
    *, surface: Surface = DEFAULT_SURFACE, registry: Registry = None, data_dir: DataDir = DEFAULT_DATA_DIR, as_json: AsJson = False
) -> None:
    """List a surface's bundles, oldest first.

    Example: roost models list --surface home-timeline
    """
    root = registry_of(registry, data_dir)
    rows = []
    for bundle_id in list_bundles(root, surface):
        manifest = read_bundle(root, surface, bundle_id).manifest
        rows.append({"id": bundle_id, **summary(manifest)})

    def show() -> None:
        if not rows:
            others = _surfaces_with_bundles(root)
            hint = f"there are bundles of {', '.join(others)}" if others else "`roost train pretrain` makes the first"
            tell(f"no bundles of {surface} in {root}; {hint}")
            return
        columns = ["id", "recipe", "parent", "auc #", "per_user_auc #", "language_mismatch #", "gates"]
        table(columns, ([_cell(row.get(column.removesuffix(" #"))) for column in columns] for row in rows))

    emit({"surface": surface, "bundles": rows}, as_json=as_json, show=show)


@app.command()
def show(
    bundle: BundleId,
    *,
    surface: Surface = DEFAULT_SURFACE,
    registry: Registry = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: AsJson = False,
) -> None:
    """Show one bundle's manifest: lineage, metrics, gates, files.

    Example: roost models show 3f9a0c11d2e4b567
    """
    manifest = read_bundle(registry_of(registry, data_dir), surface, bundle).manifest
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
        "gate_results": [
            {"name": gate.name, "value": gate.value, "limit": gate.limit, "passed": gate.passed, "sentence": gate.sentence}
            for gate in manifest.gates
        ],
    }
    emit(data, as_json=as_json, show=lambda: table(["", ""], ((name, value) for name, value in data.items())))


@app.command()
def verify(
    bundle: BundleId,
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

    Towers(read_bundle(registry_of(registry, data_dir), surface, bundle))
    emit(
        {"id": bundle, "valid": True},
        as_json=as_json,
        show=lambda: tell(f"{bundle} is whole and its towers answer as trained"),
    )


def summary(manifest: Manifest) -> dict[str, Any]:
    """Return a bundle's lineage and main metrics as plain JSON data."""
    return {
        "recipe": manifest.recipe,
        "parent": manifest.parent,
        **{name: manifest.metrics.get(name) for name in ("auc", "per_user_auc", "language_mismatch")},
        "gates": "passed" if all(gate.passed for gate in manifest.gates) else "failed",
    }


def _cell(value: object) -> str:
    return "" if value is None else f"{value:.3f}" if isinstance(value, float) else str(value)


def _surfaces_with_bundles(root: BundleRegistry) -> list[str]:
    return [surface for surface in surfaces_in(root) if list_bundles(root, surface)]
