"""The paper's options as words of `roost train`'s commands. What fits together `trainer.options.settings` says."""

from typing import Annotated, Literal

import typer

_PANEL = "What is learned, and how fast"

Metric = Annotated[
    Literal["cosine", "inner_product", "euclidean"] | None,
    typer.Option(
        help="How vectors are compared in training, cosine by default; each is exported so that an index, which ranks by cosine, "
        "ranks by it.",
        rich_help_panel=_PANEL,
    ),
]
Loss = Annotated[
    Literal["cross_entropy", "triplet", "sampled_softmax"] | None,
    typer.Option(help="The loss; cross_entropy by default.", rich_help_panel=_PANEL),
]
Margin = Annotated[float | None, typer.Option(help="Of the triplet loss; .3 by default.", min=0.0, rich_help_panel=_PANEL)]
Negatives = Annotated[
    Literal["uniform", "frequency", "in_batch", "implicit", "mixed"] | None,
    typer.Option(
        help="Where negatives come from: the corpus, what was served, the batch, what the user left, or shares of the first three.",
        rich_help_panel=_PANEL,
    ),
]
Ratio = Annotated[
    int | None,
    typer.Option(help="Negatives for each positive; 16 by default.", min=1, max=4_000, rich_help_panel=_PANEL),
]
Mix = Annotated[
    str | None, typer.Option(help="Shares of mixed negatives, such as uniform=0.5,in_batch=0.5.", rich_help_panel=_PANEL)
]
PopularityT = Annotated[
    float | None,
    typer.Option(
        help="t of the weight .5 + .5 exp(-popularity / t) of a negative; all weigh alike by default.",
        min=0.0,
        rich_help_panel=_PANEL,
    ),
]
LearningRate = Annotated[
    float | None,
    typer.Option(help="Of Adam; .003 from scratch, and a tenth of that for a fine-tune.", rich_help_panel=_PANEL),
]
Epochs = Annotated[
    int | None,
    typer.Option(help="Times that the examples are gone through; 5, in a fine-tune 1.", min=1, rich_help_panel=_PANEL),
]
BatchSize = Annotated[int | None, typer.Option(help="Examples in a batch; 256, in a fine-tune 128.", min=2, rich_help_panel=_PANEL)]
MinSteps = Annotated[
    int,
    typer.Option(
        help="A small window is gone through more often, until so many steps are made.",
        min=1,
        envvar="ROOST_PRETRAIN_MIN_STEPS",
        rich_help_panel=_PANEL,
    ),
]
SparseGradients = Annotated[
    bool | None,
    typer.Option(
        "--sparse-gradients/--dense-gradients",
        help="Touch only the embeddings that a batch names; wins on tables far larger than a batch.",
        rich_help_panel=_PANEL,
    ),
]
Weights = Annotated[
    str | None,
    typer.Option(
        help="Of the parts' cosines, adding up to 1; implicit=0.6,random=0.3,random_in_batch=0.1 by default. "
        "A part that is not named is not trained.",
        rich_help_panel=_PANEL,
    ),
]
Freeze = Annotated[
    Literal["nothing", "embeddings", "all_but_last"] | None,
    typer.Option(
        help="Weights that stay the parent's: none, which is the default, the embeddings, or all but the towers' last layers.",
        rich_help_panel=_PANEL,
    ),
]
Replay = Annotated[
    float,
    typer.Option(help="Weight of replayed random negatives; 0 is the paper's recipe.", min=0.0, rich_help_panel=_PANEL),
]
