"""`roost train reproduce`: a bundle trained once more from the data it names. Parses words; `trainer` does the work."""

from pathlib import Path

from roost.cli.bundle_bar import read_shown
from roost.cli.output import emit, out, say, table
from roost.cli.running import Cache
from roost.cli.target import (
    DEFAULT_DATA_DIR,
    DEFAULT_SURFACE,
    AsJson,
    Bootstrap,
    DataDir,
    NamedBundle,
    Registry,
    Surface,
    SurfacesFile,
    broker_of,
    bundle_id_of,
    registry_of,
    surfaces_file_of,
)
from roost.cli.training_bar import training_bar
from schemas.errors import RoostError


def reproduce(
    bundle: NamedBundle,
    *,
    surface: Surface = DEFAULT_SURFACE,
    cache: Cache = None,
    surfaces: SurfacesFile = None,
    bootstrap: Bootstrap = None,
    registry: Registry = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: AsJson = False,
) -> None:
    """Train a bundle once more from the data it names, and compare the towers byte for byte; nothing is published.

    The data come from the cache where it holds the bundle, and from the topics where it does not. Exit code 1: other towers came
    out; 3: the data are no longer what they were.

    Example: roost train reproduce 3f9a0c11d2e4b567 --cache ./trainings
    """
    from roost.cli.training import job_of  # noqa: PLC0415 - torch takes seconds to load
    from trainer.reproduce import reproduce as run  # noqa: PLC0415 - as above

    root = registry_of(registry, data_dir)
    bundle = bundle_id_of(bundle, surface, registry=registry, data_dir=data_dir)
    read = read_shown(root, surface, bundle)
    kept = None if cache is None else _kept_in(cache, surface, bundle)
    # what is kept needs none
    broker = broker_of(bootstrap, data_dir) if kept is None else ""
    with job_of(surface, surfaces_file_of(surfaces, data_dir), broker) as job:
        window, corpus, source = job.again(read, kept)
        with training_bar("reproduce", leads=job.leads) as (progress, _):
            made = run(job.surface, read, window, corpus, registry=root, progress=progress)
    data = {
        "id": bundle,
        "surface": surface,
        "equal": made.equal,
        "data": source,
        "files": {name: {"published": then, "rebuilt": now} for name, (then, now) in made.hashes.items()},
        "code_version": {"published": made.code[0], "rebuilt": made.code[1]},
        "torch": {"published": made.torch[0], "rebuilt": made.torch[1]},
    }
    if job.leads:
        emit(data, as_json=as_json, show=lambda: table(["", ""], data.items(), to=out))
    if not made.equal:
        raise RoostError(f"{bundle} was rebuilt from the same data with other towers; compare code, torch and machine")


def _kept_in(cache: Path, surface: str, bundle: str) -> Path | None:
    """Return the folder of a bundle's data; None, and a word of it, where the cache has none."""
    if not cache.is_dir():
        raise RoostError(f"there is no folder {cache}; name the one that trainings' data are kept in, or none to read the topics")
    folder = cache / surface / bundle
    if folder.is_dir():
        return folder
    say(f"{cache} holds no data of {bundle}: they are read from the topics")
    return None
