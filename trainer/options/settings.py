"""How bundles are trained and judged, as operators set it: the paper's options of each recipe, and the gates' limits.

Read once from the environment; what the command line gives goes before. `trainer.settings` says when a surface is trained.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Annotated, Self

from pydantic import BeforeValidator, Field, create_model, field_validator, model_validator
from pydantic_settings import NoDecode, SettingsConfigDict

from schemas.manifest import Metric
from schemas.settings import RoostSettings
from trainer.gates import GateLimits
from trainer.learning.ensemble import check_weights
from trainer.learning.negatives import Kind, Negatives, Source
from trainer.learning.objectives import Loss, Objective
from trainer.learning.towers import Frozen, TowerConfig
from trainer.recipes import LEARNING_RATE, NEGATIVES, PARTS, EnsembleConfig, FinetuneConfig, PretrainConfig

# of a factor, 1 allows no change at all
_FACTORS = ("max_volume_change", "max_label_rate_change")


def shares_of(text: object) -> object:
    """Return the shares that "uniform=0.5,in_batch=0.5" names; what is no text is left for others to judge."""
    if not isinstance(text, str):
        return text
    pairs = [pair.partition("=") for pair in text.split(",") if pair.strip()]
    return {name.strip(): share.strip() for name, _, share in pairs}


class _LearningOptions(RoostSettings):
    """What both recipes have.

    Attributes:
        loss: `cross_entropy`, `triplet` (equation 1) or `sampled_softmax`, corrected for how often each negative is drawn.
        margin: of the triplet loss; .3 unless told otherwise.
        negatives: `uniform` over the corpus, by `frequency` in what was served, `in_batch`, `implicit` (what the user was served
            and left), or `mixed`. Cross-entropy on implicit ones reads served pairs with their labels.
        ratio: negatives for each positive, 1 to 4000; 16 unless told otherwise. In-batch ones are all others of the batch.
        mix: shares of mixed negatives, such as `uniform=0.5,in_batch=0.5`.
        popularity_t: t of the weight .5 + .5 exp(-popularity / t) of a negative (section 5.3); unset weighs all alike.
        learning_rate: of Adam.
        epochs: times that the examples are gone through.
        batch_size: examples in a batch.
    """

    loss: Loss = "cross_entropy"
    margin: float | None = Field(default=None, gt=0)
    negatives: Kind = "uniform"
    ratio: int | None = Field(default=None, ge=1, le=4_000)
    mix: Annotated[Mapping[Source, float], NoDecode, BeforeValidator(shares_of)] = Field(default_factory=dict)
    popularity_t: float | None = Field(default=None, gt=0)
    learning_rate: float = Field(default=LEARNING_RATE, gt=0)
    epochs: int = Field(default=1, ge=1)
    batch_size: int = Field(default=256, ge=2)

    @model_validator(mode="after")
    def _fit_together(self) -> Self:
        # which itself refuses negatives that cannot be drawn
        objective = self.objective
        if self.margin is not None and self.loss != "triplet":
            raise ValueError(f"a margin is of the triplet loss, and the loss is {self.loss}: leave one out")
        if self.ratio is not None and self.negatives == "in_batch":
            raise ValueError("in_batch negatives are all others of the batch: leave the ratio out, and set the batch size")
        if self.ratio is not None and objective.is_pointwise:
            raise ValueError("cross_entropy on implicit negatives reads served pairs as they come: leave the ratio out")
        return self

    @property
    def objective(self) -> Objective:
        """The loss with its negatives; raises `ValueError` where these cannot be drawn so."""
        negatives = Negatives(self.negatives, self.ratio or NEGATIVES.per_positive, self.mix)
        margin = Objective().margin if self.margin is None else self.margin
        return Objective(self.loss, negatives, margin=margin, popularity_t=self.popularity_t)


class PretrainOptions(_LearningOptions):
    """Of pre-trainings: `ROOST_PRETRAIN_` and the field's name.

    Attributes:
        metric: how vectors are compared: `cosine`, `inner_product` or `euclidean`.
        sparse_gradients: touch only those rows of the embeddings that a batch names; wins on tables far larger than a batch.
    """

    model_config = SettingsConfigDict(env_prefix="ROOST_PRETRAIN_")

    epochs: int = Field(default=5, ge=1)
    metric: Metric = "cosine"
    sparse_gradients: bool = False

    def config(self, *, limits: GateLimits, min_steps: int, seed: int, threads: int, accept_window: bool = False) -> PretrainConfig:
        """Return the recipe's configuration."""
        return PretrainConfig(
            TowerConfig(metric=self.metric, sparse_gradients=self.sparse_gradients),
            (self.objective,),
            learning_rate=self.learning_rate,
            epochs=self.epochs,
            batch_size=self.batch_size,
            min_steps=min_steps,
            accept_window=accept_window,
            seed=seed,
            threads=threads,
            limits=limits,
        )


class FinetuneOptions(_LearningOptions):
    """Of fine-tunes: `ROOST_FINETUNE_` and the field's name.

    Attributes:
        learning_rate: of Adam, of towers and of an ensemble's parts.
        freeze: weights that stay the parent's: `nothing`, `embeddings` or `all_but_last`.
    """

    model_config = SettingsConfigDict(env_prefix="ROOST_FINETUNE_")

    negatives: Kind = "implicit"
    learning_rate: float = Field(default=FinetuneConfig().learning_rate, gt=0)
    batch_size: int = Field(default=128, ge=2)
    freeze: Frozen = "nothing"

    def config(self, *, limits: GateLimits, replay: float, seed: int, threads: int, accept_window: bool = False) -> FinetuneConfig:
        """Return the recipe's configuration."""
        return FinetuneConfig(
            self.objective,
            replay=replay,
            learning_rate=self.learning_rate,
            epochs=self.epochs,
            batch_size=self.batch_size,
            frozen=self.freeze,
            accept_window=accept_window,
            seed=seed,
            threads=threads,
            limits=limits,
        )


class EnsembleOptions(RoostSettings):
    """Of ensembles: `ROOST_ENSEMBLE_` and the field's name.

    Attributes:
        weights: of the parts' cosines, which add up to 1: `implicit`, `random` and `random_in_batch` say by what negatives a part
            is trained. One that is not named is not trained.
        learning_rate: of Adam.
        batch_size: examples in a batch.
    """

    model_config = SettingsConfigDict(env_prefix="ROOST_ENSEMBLE_")

    weights: Annotated[Mapping[str, float], NoDecode, BeforeValidator(shares_of)] = {part.name: part.weight for part in PARTS}
    learning_rate: float = Field(default=EnsembleConfig().learning_rate, gt=0)
    batch_size: int = Field(default=EnsembleConfig().batch_size, ge=2)

    @field_validator("weights")
    @classmethod
    def _of_parts(cls, weights: Mapping[str, float]) -> Mapping[str, float]:
        if unknown := weights.keys() - {part.name for part in PARTS}:
            raise ValueError(f"there is no part {sorted(unknown)}, but {', '.join(part.name for part in PARTS)}")
        check_weights(list(weights.values()))
        return weights

    def config(self, *, limits: GateLimits, min_steps: int, seed: int, threads: int, accept_window: bool = False) -> EnsembleConfig:
        """Return the recipe's configuration."""
        return EnsembleConfig(
            parts=tuple(replace(part, weight=self.weights[part.name]) for part in PARTS if part.name in self.weights),
            learning_rate=self.learning_rate,
            batch_size=self.batch_size,
            min_steps=min_steps,
            accept_window=accept_window,
            seed=seed,
            threads=threads,
            limits=limits,
        )


class _GateOptions(RoostSettings):
    model_config = SettingsConfigDict(env_prefix="ROOST_GATE_")

    @property
    def limits(self) -> GateLimits:
        """What the gates are given."""
        return GateLimits(**self.model_dump())


# one field a limit, so that whoever adds a limit adds its setting
GateOptions = create_model(  # type: ignore[call-overload]  # which fields there are is known at run time alone
    "GateOptions",
    __base__=_GateOptions,
    __doc__=GateLimits.__doc__,
    **{one.name: (one.type, Field(default=one.default, ge=1 if one.name in _FACTORS else 0)) for one in fields(GateLimits)},
)


@dataclass(frozen=True, slots=True)
class Options:
    """What the schedule trains and judges by."""

    pretrain: PretrainOptions
    finetune: FinetuneOptions
    ensemble: EnsembleOptions
    limits: GateLimits
