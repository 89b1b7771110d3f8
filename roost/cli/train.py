"""`roost train …`: one training, made. Parses words; `trainer` does the work."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from roost.cli.bundle_bar import read_shown
from roost.cli.checked import options_of, settings_of
from roost.cli.evaluate import evaluate
from roost.cli.export import export
from roost.cli.learning import (
    BatchSize,
    Epochs,
    Freeze,
    LearningRate,
    Loss,
    Margin,
    Metric,
    MinSteps,
    Mix,
    Negatives,
    PopularityT,
    Ratio,
    Replay,
    SparseGradients,
    Weights,
)
from roost.cli.models import gate_results, summary
from roost.cli.output import emit, out, table
from roost.cli.reproduce import reproduce
from roost.cli.running import (
    AcceptWindow,
    Cache,
    CheckpointEvery,
    Checkpoints,
    Kept,
    Seed,
    ServedBy,
    TensorBoard,
    Threads,
)
from roost.cli.schedule import schedule
from roost.cli.skew import skew
from roost.cli.target import (
    DEFAULT_DATA_DIR,
    DEFAULT_SURFACE,
    AsJson,
    Bootstrap,
    DataDir,
    Registry,
    Surface,
    SurfacesFile,
    broker_of,
    bundle_id_of,
    checked_bundle,
    checkpoints_of,
    surfaces_file_of,
    writable_registry_of,
)
from roost.cli.training_bar import training_bar
from schemas.bundle import read_bundle
from schemas.errors import Refused, RoostError
from schemas.registry.place import RegistryPlace

if TYPE_CHECKING:
    from roost.cli.training import Job
    from trainer.recipes import EnsembleConfig, PretrainConfig

app = typer.Typer(no_args_is_help=True, add_completion=False, help="Train towers and publish them as bundles.")
app.command()(skew)
app.command()(evaluate)
app.command()(export)
app.command()(schedule)


@app.command()
def pretrain(
    *,
    surface: Surface = DEFAULT_SURFACE,
    metric: Metric = None,
    loss: Loss = None,
    margin: Margin = None,
    negatives: Negatives = None,
    ratio: Ratio = None,
    mix: Mix = None,
    popularity_t: PopularityT = None,
    learning_rate: LearningRate = None,
    epochs: Epochs = None,
    batch_size: BatchSize = None,
    min_steps: MinSteps = 120,
    sparse_gradients: SparseGradients = None,
    accept_window: AcceptWindow = False,
    cache: Cache = None,
    kept: Kept = None,
    checkpoints: Checkpoints = None,
    checkpoint_every: CheckpointEvery = 30.0,
    tensorboard: TensorBoard = None,
    seed: Seed = 0,
    threads: Threads = 1,
    surfaces: SurfacesFile = None,
    bootstrap: Bootstrap = None,
    registry: Registry = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: AsJson = False,
) -> None:
    """Train new towers on the positives of the examples topic and random negatives of the corpus.

    The same command goes on with a training that was cut off, on the data that one had read. Several processes train together under
    `torchrun --standalone --nproc-per-node 2 -m roost train pretrain --kept FOLDER`, a fine-tune likewise.

    A refusal is exit code 3, with --json the figures of every gate, passed or not.

    Example: roost train pretrain --surface home-timeline --cache ./trainings
    """
    from trainer.options.settings import GateOptions, PretrainOptions  # noqa: PLC0415 - torch takes seconds to load
    from trainer.recipes import PRETRAIN  # noqa: PLC0415 - as above
    from trainer.recipes import pretrain as run  # noqa: PLC0415 - as above

    options = options_of(PretrainOptions, locals())
    limits = settings_of(GateOptions).limits
    config = options.config(limits=limits, min_steps=min_steps, seed=seed, threads=threads, accept_window=accept_window)
    _from_scratch(
        PRETRAIN,
        run,
        config,
        surface=surface,
        cache=cache,
        kept=kept,
        checkpoints=checkpoints,
        checkpoint_every=checkpoint_every,
        tensorboard=tensorboard,
        surfaces=surfaces,
        bootstrap=bootstrap,
        registry=registry,
        data_dir=data_dir,
        as_json=as_json,
    )


@app.command()
def ensemble(
    *,
    surface: Surface = DEFAULT_SURFACE,
    weights: Weights = None,
    learning_rate: LearningRate = None,
    batch_size: BatchSize = None,
    min_steps: MinSteps = 120,
    accept_window: AcceptWindow = False,
    cache: Cache = None,
    kept: Kept = None,
    checkpoints: Checkpoints = None,
    checkpoint_every: CheckpointEvery = 30.0,
    tensorboard: TensorBoard = None,
    seed: Seed = 0,
    threads: Threads = 1,
    surfaces: SurfacesFile = None,
    bootstrap: Bootstrap = None,
    registry: Registry = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: AsJson = False,
) -> None:
    """Train towers on implicit negatives, on random ones and on those of the batch, and join them in one bundle.

    It has the dimension of any other, takes three trainings, and embeds at about three times the cost; on simulated worlds it
    retrieves what engages more than what a fine-tune does (docs/paper.md). `roost train finetune` tunes it as it tunes any bundle.

    A refusal is exit code 3, with --json the figures of every gate, passed or not.

    Example: roost train ensemble --surface home-timeline --weights implicit=0.6,random=0.3,random_in_batch=0.1
    """
    from trainer.options.settings import EnsembleOptions, GateOptions  # noqa: PLC0415 - torch takes seconds to load
    from trainer.recipes import ENSEMBLE  # noqa: PLC0415 - as above
    from trainer.recipes import ensemble as run  # noqa: PLC0415 - as above

    options = options_of(EnsembleOptions, locals())
    limits = settings_of(GateOptions).limits
    config = options.config(limits=limits, min_steps=min_steps, seed=seed, threads=threads, accept_window=accept_window)
    _from_scratch(
        ENSEMBLE,
        run,
        config,
        surface=surface,
        cache=cache,
        kept=kept,
        checkpoints=checkpoints,
        checkpoint_every=checkpoint_every,
        tensorboard=tensorboard,
        surfaces=surfaces,
        bootstrap=bootstrap,
        registry=registry,
        data_dir=data_dir,
        as_json=as_json,
    )


@app.command()
def finetune(
    *,
    surface: Surface = DEFAULT_SURFACE,
    parent: Annotated[
        str | None, typer.Option(help="The bundle to start from, or its alias; the live one by default.", callback=checked_bundle)
    ] = None,
    replay: Replay = 1.0,
    freeze: Freeze = None,
    loss: Loss = None,
    margin: Margin = None,
    negatives: Negatives = None,
    ratio: Ratio = None,
    mix: Mix = None,
    popularity_t: PopularityT = None,
    learning_rate: LearningRate = None,
    epochs: Epochs = None,
    batch_size: BatchSize = None,
    served_by: ServedBy = None,
    accept_window: AcceptWindow = False,
    cache: Cache = None,
    kept: Kept = None,
    checkpoints: Checkpoints = None,
    checkpoint_every: CheckpointEvery = 30.0,
    tensorboard: TensorBoard = None,
    seed: Seed = 0,
    threads: Threads = 1,
    surfaces: SurfacesFile = None,
    bootstrap: Bootstrap = None,
    registry: Registry = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: AsJson = False,
) -> None:
    """Tune a bundle on the implicit negatives that came since it was trained: a tenth of the learning rate, one epoch.

    Of an ensemble each part is tuned on negatives of its own kind, by its own loss: it takes no other.

    The same command goes on with a training that was cut off, on the data that one had read.

    A refusal is exit code 3, with --json the figures of every gate, passed or not.

    Example: roost train finetune --surface home-timeline --parent 3f9a0c11d2e4b567 --served-by 3f9a0c11d2e4b567
    """
    from roost.cli.training import job_of  # noqa: PLC0415 - torch takes seconds to load
    from trainer.lineage import training_digest  # noqa: PLC0415 - as above
    from trainer.options.settings import FinetuneOptions, GateOptions  # noqa: PLC0415 - as above
    from trainer.recipes import FINETUNE  # noqa: PLC0415 - as above
    from trainer.recipes import finetune as run  # noqa: PLC0415 - as above

    options = options_of(FinetuneOptions, locals())
    limits = settings_of(GateOptions).limits
    config = options.config(limits=limits, replay=replay, seed=seed, threads=threads, accept_window=accept_window)
    root = writable_registry_of(registry, data_dir)
    parent, served_by = (
        named and bundle_id_of(named, surface, registry=registry, data_dir=data_dir) for named in (parent, served_by)
    )
    # what is kept needs none
    broker = broker_of(bootstrap, data_dir) if kept is None else ""
    with job_of(surface, surfaces_file_of(surfaces, data_dir), broker) as job, _refusals_shown(job, as_json=as_json):
        job.require_room(cache)
        live = job.live() if kept is None else None
        start = parent or live
        if start is None:
            raise RoostError(f"{surface} has no live bundle to start from; name one with --parent, or run `roost train pretrain`")
        asked = training_digest(job.surface, FINETUNE, config, parent=start, served_by=served_by)
        with job.checkpointed(checkpoints_of(checkpoints, data_dir), asked, every_s=checkpoint_every):
            if kept is None:
                since = read_shown(root, surface, start)
                data = job.data(since, served_by=served_by, audited=not accept_window)
            else:
                data = job.data_in(kept, served_by=served_by)
            with training_bar("fine-tune", leads=job.leads) as (progress, on_progress):
                bundle = run(
                    job.surface,
                    start,
                    data,
                    config,
                    registry=root,
                    live=live,
                    progress=progress,
                    on_progress=on_progress,
                    checkpoint=job.checkpoint,
                    tensorboard=tensorboard,
                )
        job.keep(cache, bundle)
    if job.leads:
        _show(root, surface, bundle, as_json=as_json)


# not above with the others: the help names it last
app.command()(reproduce)


def _from_scratch(
    recipe: str,
    run: Callable[..., str],
    config: "PretrainConfig | EnsembleConfig",
    *,
    surface: str,
    cache: Path | None,
    kept: Path | None,
    checkpoints: Path | None,
    checkpoint_every: float,
    tensorboard: Path | None,
    surfaces: Path | None,
    bootstrap: str | None,
    registry: str | None,
    data_dir: Path,
    as_json: bool,
) -> None:
    """Train by a recipe that starts from no bundle, and show what was published."""
    from roost.cli.training import job_of  # noqa: PLC0415 - torch takes seconds to load
    from trainer.lineage import training_digest  # noqa: PLC0415 - as above

    root = writable_registry_of(registry, data_dir)
    # what is kept needs none
    broker = broker_of(bootstrap, data_dir) if kept is None else ""
    with job_of(surface, surfaces_file_of(surfaces, data_dir), broker) as job, _refusals_shown(job, as_json=as_json):
        job.require_room(cache)
        asked = training_digest(job.surface, recipe, config)
        with job.checkpointed(checkpoints_of(checkpoints, data_dir), asked, every_s=checkpoint_every):
            audited = not config.accept_window
            data, live = (job.data(served_by=None, audited=audited), job.live()) if kept is None else (job.data_in(kept), None)
            with training_bar(recipe, leads=job.leads) as (progress, on_progress):
                bundle = run(
                    job.surface,
                    data,
                    config,
                    registry=root,
                    live=live,
                    progress=progress,
                    on_progress=on_progress,
                    checkpoint=job.checkpoint,
                    tensorboard=tensorboard,
                )
        job.keep(cache, bundle)
    if job.leads:
        _show(root, surface, bundle, as_json=as_json)


@contextmanager
def _refusals_shown(job: "Job", *, as_json: bool) -> Iterator[None]:
    """Let programs read what a refused training's gates measured, of those too that passed; the exit code stays 3."""
    from trainer.gates import GatesRefused  # noqa: PLC0415 - only an extra brings the trainer's packages

    try:
        yield
    except Refused as refusal:
        if as_json and job.leads:
            gates = refusal.gates if isinstance(refusal, GatesRefused) else ()
            data = {"surface": job.surface.name, "refused": str(refusal), "gate_results": gate_results(gates)}
            emit(data, as_json=True, show=lambda: None)
        raise


def _show(root: RegistryPlace, surface: str, bundle: str, *, as_json: bool) -> None:
    data = {"id": bundle, "surface": surface, **summary(read_bundle(root, surface, bundle).manifest)}
    emit(data, as_json=as_json, show=lambda: table(["", ""], data.items(), to=out))
