"""How a training is run, not what it learns: options that `roost train`'s commands share."""

from pathlib import Path
from typing import Annotated

import typer

from roost.cli.target import checked_bundle

Seed = Annotated[int, typer.Option(help="Equal seeds and data give equal towers on one machine.", min=0)]
AcceptWindow = Annotated[
    bool,
    typer.Option(
        "--accept-window",
        help="Judge the window by no earlier one and by no feature's skew: you have looked at what the data gates said.",
    ),
]
ServedBy = Annotated[
    str | None,
    typer.Option(
        help="Learn only from what this bundle answered: one arm's examples, while a canary runs.",
        callback=checked_bundle,
    ),
]
Cache = Annotated[
    Path | None,
    typer.Option(help="Folder that trainings' data are kept in, as Parquet: CACHE/SURFACE/BUNDLE.", envvar="ROOST_TRAIN_CACHE"),
]
Kept = Annotated[
    Path | None, typer.Option(help="Train on the data kept in this folder; no topic is read, no live bundle compared.")
]
Checkpoints = Annotated[
    Path | None,
    typer.Option(
        help="Folder of the states of trainings under way, to go on from after a crash; the local deployment's by default.",
        envvar="ROOST_TRAIN_CHECKPOINTS",
    ),
]
CheckpointEvery = Annotated[
    float, typer.Option(help="Seconds between two states of a training.", envvar="ROOST_TRAIN_CHECKPOINT_EVERY_S", min=0.0)
]
TensorBoard = Annotated[
    Path | None,
    typer.Option(
        "--tensorboard",
        help="Folder that loss, learning rate, examples/s, metrics and gates are written under, for TensorBoard.",
        envvar="ROOST_TRAIN_TENSORBOARD",
    ),
]
Threads = Annotated[int, typer.Option(help="Threads of torch.", min=1)]
