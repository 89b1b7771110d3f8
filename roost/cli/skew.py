"""`roost train skew`: the features that were served against those computed again. Parses words; `trainer.data.skew` compares."""

from typing import Annotated

import typer

from roost.cli.checked import surface_named, surfaces_of
from roost.cli.output import emit, out, say, table
from roost.cli.phases_bar import phases_bar
from roost.cli.target import (
    DEFAULT_DATA_DIR,
    DEFAULT_SURFACE,
    AsJson,
    Bootstrap,
    DataDir,
    Surface,
    SurfacesFile,
    broker_of,
    surfaces_file_of,
)
from schemas.errors import Refused
from schemas.features.catalog import CATALOG


def skew(
    *,
    surface: Surface = DEFAULT_SURFACE,
    sample: Annotated[int, typer.Option(help="The newest served examples that are computed again.", min=1)] = 2_000,
    allowed: Annotated[float, typer.Option(help="Share of a field's examples that may differ.", min=0.0, max=1.0)] = 0.05,
    surfaces: SurfacesFile = None,
    bootstrap: Bootstrap = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: AsJson = False,
) -> None:
    """Compare the features that were served with those computed again from the raw records, field by field.

    Exit code 3: a field differs in more of its examples than is allowed, or there is no example.

    Example: roost train skew --surface home-timeline
    """
    from trainer.data.skew import audit  # noqa: PLC0415 - the trainer's packages need not be installed for other commands
    from trainer.data.topics import TopicSources  # noqa: PLC0415 - as above

    known = surfaces_of(surfaces_file_of(surfaces, data_dir))
    configured = surface_named(surface, known)
    broker = broker_of(bootstrap, data_dir)
    with (
        phases_bar() as progress,
        TopicSources(broker, configured, known, max_examples=4 * sample, on_progress=progress) as sources,
    ):
        say(f"reading the newest of what {surface} served, and the records behind it")
        evidence = sources.evidence(sources.window().examples(), sample=sample)
    if not evidence.examples:
        raise Refused(f"no served example of {surface} can be computed again; wait for some")
    audits = sorted(audit(evidence, CATALOG[configured.feature_spec]), key=lambda one: -one.share)
    skewed = [one.name for one in audits if one.share > allowed]
    columns = ("name", "side", "compared", "differing", "example")
    fields = [{name: getattr(one, name) for name in columns} for one in audits]
    emit(
        {"surface": surface, "examples": len(evidence.examples), "allowed": allowed, "skewed": skewed, "fields": fields},
        as_json=as_json,
        show=lambda: table(columns, [list(map(str, one.values())) for one in fields], to=out),
    )
    if skewed:
        raise Refused(
            f"{len(skewed)} features were served otherwise than they are trained on: {', '.join(skewed)}; compare the releases of "
            "node, embedder and trainer before the next training"
        )
