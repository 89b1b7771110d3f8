"""`roost train export`: a bundle handed to another registry, under the same id. Parses words; `schemas.bundle` does the work."""

from typing import Annotated

import typer

from roost.cli.output import emit, say, tell
from roost.cli.phases_bar import phases_bar
from roost.cli.target import (
    DEFAULT_DATA_DIR,
    DEFAULT_SURFACE,
    AsJson,
    DataDir,
    NamedBundle,
    Registry,
    Surface,
    bundle_id_of,
    registry_of,
    writable_registry_of,
)
from schemas.bundle import read_bundle, write_bundle
from schemas.errors import BundleCorrupt, BundleMismatch, Refused


def export(
    bundle: NamedBundle,
    *,
    to: Annotated[str, typer.Option(help="Folder of the other registry, or its URL, such as s3://…; it may be empty.")],
    surface: Surface = DEFAULT_SURFACE,
    registry: Registry = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: AsJson = False,
) -> None:
    """Publish a bundle in another registry too, such as production's, under the id that it has.

    Every byte is checked against the id before it goes and once it is there, and the towers against their canary vectors.
    Aliases stay: what they name is decided where they stand. Exit code 3: it is damaged, or of another surface, and not published.

    Example: roost train export stable --to s3://production/bundles
    """
    from schemas.towers import Towers  # noqa: PLC0415 - loads ONNX Runtime

    source = registry_of(registry, data_dir)
    bundle = bundle_id_of(bundle, surface, registry=registry, data_dir=data_dir)
    try:
        with phases_bar() as progress:
            read = read_bundle(source, surface, bundle, on_progress=progress)
            Towers(read)
            target = writable_registry_of(to, data_dir)
            size = sum(map(len, read.files.values()))
            say(f"{bundle} is whole, {len(read.files)} files of {size / 1e6:.1f} MB together; publishing it in {target}")
            write_bundle(target, read.manifest, read.files, on_progress=progress)
    except (BundleCorrupt, BundleMismatch) as error:
        raise Refused(str(error)) from error
    data = {"id": bundle, "surface": surface, "from": str(source), "to": str(target), "files": len(read.files), "bytes": size}
    emit(
        data,
        as_json=as_json,
        show=lambda: tell(
            f"{bundle} is in {target}; where that is the registry, `roost rollout start {bundle} --surface {surface}` rolls it out"
        ),
    )
