"""`roost train evaluate`: a bundle on what came since it was trained. Parses words; `trainer.evaluation` measures."""

import time

from roost.cli.bundle_bar import read_shown
from roost.cli.checked import surface_named, surfaces_of
from roost.cli.output import emit, out, say, table
from roost.cli.phases_bar import phases_bar
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
from schemas.errors import Refused


def evaluate(
    bundle: NamedBundle,
    *,
    surface: Surface = DEFAULT_SURFACE,
    surfaces: SurfacesFile = None,
    bootstrap: Bootstrap = None,
    registry: Registry = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: AsJson = False,
) -> None:
    """Measure a bundle on the examples that came since those it was trained on, and on what can be retrieved now.

    Exit code 3: no example came since.

    Example: roost train evaluate 3f9a0c11d2e4b567 --surface who-to-follow
    """
    from roost.cli.training import window_since  # noqa: PLC0415 - the trainer's packages need not be installed for other commands
    from trainer.data.columns import Encoder  # noqa: PLC0415 - as above
    from trainer.data.topics import TopicSources  # noqa: PLC0415 - as above
    from trainer.evaluation import evaluate as measure  # noqa: PLC0415 - as above
    from trainer.export import OnnxTowers  # noqa: PLC0415 - as above

    known = surfaces_of(surfaces_file_of(surfaces, data_dir))
    configured = surface_named(surface, known)
    bundle = bundle_id_of(bundle, surface, registry=registry, data_dir=data_dir)
    read = read_shown(registry_of(registry, data_dir), surface, bundle)
    with (
        phases_bar() as progress,
        TopicSources(broker_of(bootstrap, data_dir), configured, known, on_progress=progress) as sources,
    ):
        say(f"reading what {surface} showed since {bundle} was trained, and what can be retrieved now")
        examples = window_since(sources, read).begun_within().examples()
        candidates = sources.candidates(time.time_ns() // 1_000_000).candidates
    if not examples:
        raise Refused(f"no example of {surface} came since those that {bundle} was trained on; wait for some")
    say(f"{len(examples):,} examples; embedding them and a corpus of {len(candidates):,}")
    encoder = Encoder(read.manifest.feature_spec, configured.popularity)
    with phases_bar() as progress:
        towers = OnnxTowers(read.files, metric=read.manifest.metric, on_progress=progress)
        metrics = measure(towers, encoder.examples(examples), encoder.corpus(candidates))
    data = {"id": bundle, "surface": surface, "examples": len(examples), "corpus": len(candidates), **metrics}
    emit(data, as_json=as_json, show=lambda: table(["", ""], data.items(), to=out))
