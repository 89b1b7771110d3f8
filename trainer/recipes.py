"""The recipes: pre-train on random negatives, fine-tune on implicit ones (paper, section 6), or both at once, as an ensemble.

They read no topic and start no rollout.

Each takes records, trains, exports, compares with the live bundle on the same held-out window, and publishes; what a gate refuses
is not published.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from schemas.bundle import Bundle, read_bundle
from schemas.errors import BundleMismatch
from schemas.features.catalog import CATALOG
from schemas.progress import OnProgress, untold
from schemas.registry.place import RegistryPlace
from schemas.surfaces import Surface
from trainer.ancestry import anchor_of
from trainer.evaluation import EvaluationConfig
from trainer.export import unpack_towers
from trainer.gates import GateLimits, GatesRefused
from trainer.ladder import climb
from trainer.learning.checkpoint import Checkpoint
from trainer.learning.ensemble import Ensemble, EnsembleShape, Tunable
from trainer.learning.ensemble_fit import EnsembleFit, Part, fit_ensemble
from trainer.learning.fit import FitConfig, fit
from trainer.learning.negatives import Negatives
from trainer.learning.objectives import Objective
from trainer.learning.towers import Frozen, TowerConfig, TwoTowers
from trainer.lineage import code_version, lineage_of
from trainer.registry import Origin
from trainer.training import Fitted, Fitting, Judged, Progress, Training, TrainingData

PRETRAIN = "pretrain"
FINETUNE = "fine-tune"
ENSEMBLE = "ensemble"
LEARNING_RATE = 3e-3
# measured on simulated worlds of 3,600 to 12,000 training examples: 64 left twice the mismatch, and 300 steps on the small ones
# memorised the positives (AUC against the corpus .84 to .88, instead of .88 to .92 at 100)
NEGATIVES = Negatives("uniform", 16)


@dataclass(frozen=True, slots=True)
class PretrainConfig:
    """How the first bundle is trained.

    Attributes:
        towers: the dimension is the surface's whatever stands here.
        min_steps: a small window is gone through more often, until this many steps are made.
        accept_window: as in `FinetuneConfig`.
        threads: of torch; results are equal only for equal threads.
    """

    towers: TowerConfig = field(default_factory=TowerConfig)
    objectives: tuple[Objective, ...] = (Objective(negatives=NEGATIVES),)
    learning_rate: float = LEARNING_RATE
    epochs: int = 5
    batch_size: int = 256
    min_steps: int = 120
    accept_window: bool = False
    seed: int = 0
    threads: int = 1
    limits: GateLimits = field(default_factory=GateLimits)


@dataclass(frozen=True, slots=True)
class PartConfig:
    """One of an ensemble's parts: what it is pulled towards, how often its examples are gone through, the weight of its cosine."""

    name: str
    objective: Objective
    epochs: int
    weight: float


# Served AUC needs implicit negatives, which order users and candidates by how much is engaged at all; languages need random ones.
# Those in the batch are served candidates: they teach least of popularity, most of language. `roost paper sweep` chose the rest.
PARTS = (
    PartConfig("implicit", Objective(negatives=Negatives("implicit", 1)), epochs=4, weight=0.6),
    PartConfig("random", Objective(negatives=Negatives("uniform", 256)), epochs=8, weight=0.3),
    PartConfig("random_in_batch", Objective(negatives=Negatives("in_batch")), epochs=6, weight=0.1),
)


@dataclass(frozen=True, slots=True)
class EnsembleConfig:
    """How three pairs of towers are trained as one, from scratch. Attributes as in `PretrainConfig`."""

    towers: TowerConfig = field(default_factory=TowerConfig)
    parts: tuple[PartConfig, ...] = PARTS
    learning_rate: float = LEARNING_RATE
    batch_size: int = 256
    min_steps: int = 120
    accept_window: bool = False
    seed: int = 0
    threads: int = 1
    limits: GateLimits = field(default_factory=GateLimits)

    def shape(self, dim: int) -> EnsembleShape:
        """Return the shape for an index of `dim` dimensions, which are each part's too."""
        return EnsembleShape(self.towers.of_served_dim(dim), len(self.parts), dim)

    @property
    def fit(self) -> EnsembleFit:
        """How the parts are fitted."""
        return EnsembleFit(
            tuple(
                Part(
                    part.name,
                    part.weight,
                    FitConfig((part.objective,), self.learning_rate, part.epochs, self.batch_size, self.min_steps, self.seed),
                )
                for part in self.parts
            ),
            self.seed,
        )


@dataclass(frozen=True, slots=True)
class FinetuneConfig:
    """How a bundle is tuned to fresh examples: a tenth of the learning rate and one epoch, so that it forgets little (section 6.2).

    An ensemble's parts are tuned one by one, each by the objective that it was trained by, and its heads stay.

    Attributes:
        objective: of towers; an ensemble's parts have their own.
        learning_rate: of towers, and of an ensemble's parts.
        replay: weight of random negatives of the corpus trained on alongside; 0 is the paper's recipe. Replay keeps many
            fine-tunes in a row from forgetting what only random negatives teach.
        frozen: weights that stay the parent's.
        anchor_fine_tunes: the anchor of `trainer.gates.drift_gates` is the ancestor that came of so many fine-tunes. 1, since the
            first one trades language for AUC on purpose (section 6.2): what that came to is what was chosen, and further ones are
            not to add to it.
        against_live: False holds the new bundle against the anchor alone, where there is one. The live bundle's AUC on what it
            served itself has risen with its drift: what takes the drift back cannot have it.
        draw_back_steps: new towers that are refused for drift are drawn back towards the anchor, or the parent where there is none,
            until nothing refuses them any more, to a whole number of so many even steps; held against that one alone. 0 publishes
            all of the way or nothing.
        accept_window: judge the window by no earlier one and by no feature's skew: somebody has looked at what the data gates said.
    """

    objective: Objective = field(default_factory=lambda: Objective(negatives=Negatives("implicit", NEGATIVES.per_positive)))
    replay: float = 0.0
    replay_negatives: Negatives = field(default_factory=lambda: NEGATIVES)
    learning_rate: float = LEARNING_RATE / 10
    epochs: int = 1
    batch_size: int = 128
    frozen: Frozen = "nothing"
    anchor_fine_tunes: int = 1
    against_live: bool = True
    draw_back_steps: int = 0
    accept_window: bool = False
    seed: int = 0
    threads: int = 1
    limits: GateLimits = field(default_factory=GateLimits)

    @property
    def objectives(self) -> tuple[Objective, ...]:
        """The objective, and the replay when it has a weight."""
        replay = Objective(negatives=self.replay_negatives, weight=self.replay)
        return (self.objective, replay) if self.replay else (self.objective,)

    @property
    def fit(self) -> FitConfig:
        """How towers are tuned."""
        return FitConfig(self.objectives, self.learning_rate, self.epochs, self.batch_size, seed=self.seed, frozen=self.frozen)

    def fit_of_parts(self, parts: Sequence[Part]) -> EnsembleFit:
        """Return how an ensemble is tuned whose parts were fitted so, from scratch or in a fine-tune."""
        return EnsembleFit(
            tuple(replace(part, fit=replace(self, objective=part.fit.objectives[0]).fit) for part in parts),
            # other heads would be other vectors, between which and the anchor's nothing lies
            seed=None,
        )


def attempts(config: FinetuneConfig, *, drift_replay: float) -> tuple[FinetuneConfig, ...]:
    """Return how to tune, and how to tune once more what was refused for drift: with more replay, held against the anchor alone.

    What the last attempt comes to is drawn back; before that a further training is worth more.
    """
    if not drift_replay:
        return (config,)
    return replace(config, draw_back_steps=0), replace(config, replay=drift_replay, against_live=False)


def pretrain(
    surface: Surface,
    data: TrainingData,
    config: PretrainConfig | None = None,
    *,
    registry: RegistryPlace,
    live: str | None = None,
    progress: Progress = lambda _: None,
    on_progress: OnProgress = untold,
    checkpoint: Checkpoint | None = None,
    tensorboard: Path | None = None,
    created_ms: int | None = None,
) -> str:
    """Train new towers on random negatives, publish the bundle and return its id.

    Args:
        live: the live bundle to compare with, if there is one.
        on_progress: of the rows that are embedded to judge the towers, after the fit.
        checkpoint: where the fit's state is kept while it runs, and gone on from; the caller removes it at the end.
        tensorboard: folder that the fit's scalars, metrics and gates are written under.
        created_ms: now by default; given, equal arguments give an equal bundle.

    Raises:
        Refused: a data or quality gate said no, with the figures; nothing was published.
        BundleError: the live bundle cannot be read.
    """
    config = config or PretrainConfig()
    towers = TwoTowers(CATALOG[surface.feature_spec], config.towers.of_served_dim(surface.dim), seed=config.seed)
    how = FitConfig(config.objectives, config.learning_rate, config.epochs, config.batch_size, config.min_steps, config.seed)
    return _from_scratch(
        PRETRAIN,
        surface,
        data,
        config,
        towers=towers,
        how=how,
        fitting=partial(fit, towers, config=how),
        registry=registry,
        live=live,
        progress=progress,
        on_progress=on_progress,
        checkpoint=checkpoint,
        tensorboard=tensorboard,
        created_ms=created_ms,
    )


def ensemble(
    surface: Surface,
    data: TrainingData,
    config: EnsembleConfig | None = None,
    *,
    registry: RegistryPlace,
    live: str | None = None,
    progress: Progress = lambda _: None,
    on_progress: OnProgress = untold,
    checkpoint: Checkpoint | None = None,
    tensorboard: Path | None = None,
    created_ms: int | None = None,
) -> str:
    """Train an ensemble of towers on implicit and random negatives, publish it as one bundle and return its id.

    Arguments and errors are `pretrain`'s. The bundle serves as any other does, and embeds at about three times the cost.
    """
    config = config or EnsembleConfig()
    towers = Ensemble.untrained(CATALOG[surface.feature_spec], config.shape(surface.dim), seed=config.seed)
    return _from_scratch(
        ENSEMBLE,
        surface,
        data,
        config,
        towers=towers,
        how=config.fit,
        fitting=partial(fit_ensemble, towers, config=config.fit),
        registry=registry,
        live=live,
        progress=progress,
        on_progress=on_progress,
        checkpoint=checkpoint,
        tensorboard=tensorboard,
        created_ms=created_ms,
    )


def finetune(
    surface: Surface,
    parent: str,
    data: TrainingData,
    config: FinetuneConfig | None = None,
    *,
    registry: RegistryPlace,
    live: str | None = None,
    drift_replay: float = 0.0,
    on_again: Callable[[GatesRefused], None] = lambda _: None,
    progress: Progress = lambda _: None,
    on_progress: OnProgress = untold,
    checkpoint: Checkpoint | None = None,
    tensorboard: Path | None = None,
    created_ms: int | None = None,
) -> str:
    """Tune a published bundle's towers on implicit negatives, publish the new bundle and return its id.

    The feature spec is the parent's; a new spec needs pre-training. Of an ensemble each part is tuned on negatives of its own kind.

    Args:
        live: the bundle to compare with; the parent by default.
        drift_replay: weight of replay in a second attempt where the first is refused for drift; 0 makes none.
        on_again: told why a second attempt is made.
        on_progress: as in `pretrain`.
        checkpoint: as in `pretrain`, of the first attempt.
        tensorboard: as in `pretrain`.

    Raises:
        Refused: a data or quality gate said no, with the figures; nothing was published.
        BundleError: the parent or the live bundle cannot be read, or the parent carries no weights, or is an ensemble and the
            configuration has an objective of its own.
    """
    config = config or FinetuneConfig()
    bundle = read_bundle(registry, surface.name, parent)
    anchor = anchor_of(registry, surface.name, bundle, fine_tunes=config.anchor_fine_tunes)
    base = anchor or bundle
    job = Training(
        surface,
        data,
        bundle.manifest.feature_spec,
        config,
        recipe=FINETUNE,
        registry=registry,
        live=live or parent,
        parent=bundle,
        anchor=anchor,
        tensorboard=tensorboard,
        on_progress=on_progress,
    )
    first, *further = attempts(config, drift_replay=drift_replay)

    def tune(one: FinetuneConfig) -> tuple[Tunable, Fitted]:
        towers = unpack_towers(bundle)
        how: FitConfig | EnsembleFit
        fitting: Fitting
        if isinstance(towers, Ensemble):
            how = one.fit_of_parts(_parts_of(bundle, config))
            fitting = partial(fit_ensemble, towers, config=how)
        else:
            how = one.fit
            fitting = partial(fit, towers, config=how)
        kept = checkpoint if one is first else None
        return towers, job.train(fitting, how, threads=one.threads, progress=progress, checkpoint=kept)

    def judge(towers: Tunable, *, against_live: bool) -> Judged:
        return job.judge(towers, against_live=against_live or anchor is None)

    made = climb(
        (first, *further),
        tune=tune,
        judge=judge,
        base=lambda: unpack_towers(base),
        on_again=lambda fitted, judged: on_again(job.refused(judged, fitted)),
    )
    fitted = made.fit
    if made.share < 1.0:
        fitted = replace(fitted, lineage=replace(fitted.lineage, drawn_back_to=base.id, share=made.share))
    origin = Origin(
        recipe=FINETUNE,
        code_version=code_version(),
        created_ms=_now_ms() if created_ms is None else created_ms,
        parent=parent,
        examples=data.offsets,
        seeds={"fit": config.seed, "evaluation": EvaluationConfig().seed},
    )
    return job.publish(made.judged, fitted, origin)


def _from_scratch(
    recipe: str,
    surface: Surface,
    data: TrainingData,
    config: PretrainConfig | EnsembleConfig,
    *,
    towers: Tunable,
    how: FitConfig | EnsembleFit,
    fitting: Fitting,
    registry: RegistryPlace,
    live: str | None,
    progress: Progress,
    on_progress: OnProgress,
    checkpoint: Checkpoint | None,
    tensorboard: Path | None,
    created_ms: int | None,
) -> str:
    job = Training(
        surface,
        data,
        towers.spec,
        config,
        recipe=recipe,
        registry=registry,
        live=live,
        tensorboard=tensorboard,
        on_progress=on_progress,
    )
    fitted = job.train(fitting, how, threads=config.threads, towers_seed=config.seed, progress=progress, checkpoint=checkpoint)
    origin = Origin(
        recipe=recipe,
        code_version=code_version(),
        created_ms=_now_ms() if created_ms is None else created_ms,
        examples=data.offsets,
        seeds={"towers": config.seed, "fit": config.seed, "evaluation": EvaluationConfig().seed},
    )
    return job.publish(job.judge(towers), fitted, origin)


def _parts_of(bundle: Bundle, config: FinetuneConfig) -> tuple[Part, ...]:
    how = lineage_of(bundle).fit
    if not isinstance(how, EnsembleFit):
        raise BundleMismatch(f"the lineage of bundle {bundle.id} is not of the towers in it; use the release that wrote it")
    if config.objective != FinetuneConfig().objective:
        raise BundleMismatch(
            f"bundle {bundle.id} is an ensemble, each part of which keeps the loss and negatives that it was trained with; "
            "leave the fine-tune's own out"
        )
    return how.parts


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
