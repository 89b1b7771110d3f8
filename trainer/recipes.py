"""The two recipes: pre-train on random negatives, fine-tune on implicit ones (paper, section 6). Read no topic, start no rollout.

Each takes records, trains, exports, compares with the live bundle on the same held-out window, and publishes; what a gate refuses
is not published.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import torch

from schemas.bundle import Bundle, Gate, read_bundle
from schemas.features.catalog import CATALOG
from schemas.features.spec import FeatureSpec
from schemas.records.candidates import Candidate
from schemas.records.feedback import Example
from schemas.remote import BundleRegistry
from schemas.surfaces import Surface
from trainer.ancestry import anchor_of
from trainer.data.columns import Corpus, Encoder, Examples
from trainer.data.profile import WINDOW, WindowProfile, last_profiles
from trainer.data.skew import FieldAudit
from trainer.data.windows import CorpusAt, Window
from trainer.evaluation import EvaluationConfig, evaluate
from trainer.export import Exported, OnnxTowers, export, unpack_towers
from trainer.gates import (
    GateLimits,
    canary_gate,
    data_gates,
    drift_gates,
    label_rate,
    quality_gates,
    refuse_unless_passed,
    refused_for_drift,
)
from trainer.learning.checkpoint import Checkpoint
from trainer.learning.fit import FitConfig, FitProgress, FitReport, fit
from trainer.learning.interpolation import drawn_back
from trainer.learning.negatives import Negatives
from trainer.learning.objectives import Objective
from trainer.learning.ranks import leads, on_leader, processes
from trainer.learning.towers import Frozen, TowerConfig, TwoTowers
from trainer.lineage import LINEAGE, Lineage, code_version, inputs_digest
from trainer.registry import Origin, publish
from trainer.scalars import folder_of, scalars_in

PRETRAIN = "pretrain"
FINETUNE = "fine-tune"
LEARNING_RATE = 3e-3
# a training window is held against as many before it
LAST_WINDOWS = 5
# measured on simulated worlds of 3,600 to 12,000 training examples: 64 left twice the mismatch, and 300 steps on the small ones
# memorised the positives (AUC against the corpus .84 to .88, instead of .88 to .92 at 100)
NEGATIVES = Negatives("uniform", 16)


@dataclass(frozen=True, slots=True)
class TrainingData:
    """Records of one surface, and where they came from.

    Attributes:
        train, evaluation: one example an id; the newer ones evaluate.
        corpus: what a retrieval could return now.
        offsets: per partition of the examples topic, [first, next) of `train`.
        corpus_offsets: per partition of the candidates topic, the next offset when the corpus was read.
        corpus_at_ms: when that was.
        skew: what an audit of the newest served examples found, field by field; empty where none was made.
        served_by: the one bundle whose answers the examples are; None where it does not matter whose they are.
        passed_over: examples between the parent's offsets and these that were refused, and are trained on by nobody.
    """

    train: Sequence[Example]
    evaluation: Sequence[Example]
    corpus: Sequence[Candidate]
    offsets: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    corpus_offsets: Mapping[str, int] = field(default_factory=dict)
    corpus_at_ms: int = 0
    skew: Sequence[FieldAudit] = ()
    served_by: str | None = None
    passed_over: int = 0

    @classmethod
    def of_window(cls, window: Window, corpus: CorpusAt, *, evaluation_share: float = 0.2) -> "TrainingData":
        """Split a window by offset: the newest share evaluates, and is where the next window begins."""
        older, newer = window.split(evaluation_share)
        return cls(
            older.examples(),
            newer.examples(),
            corpus.candidates,
            older.manifest_offsets(),
            corpus.manifest_offsets(),
            corpus.at_ms,
            served_by=window.served_by,
        )


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
class FinetuneConfig:
    """How a bundle is tuned to fresh examples: a tenth of the learning rate and one epoch, so that it forgets little (section 6.2).

    Attributes:
        replay: weight of random negatives of the corpus trained on alongside; 0 is the paper's recipe. Replay keeps many
            fine-tunes in a row from forgetting what only random negatives teach.
        frozen: weights that stay the parent's.
        anchor_fine_tunes: the anchor of `trainer.gates.drift_gates` is the ancestor that came of so many fine-tunes. 1, since the
            first one trades language for AUC on purpose (section 6.2): what that came to is what was chosen, and further ones are
            not to add to it.
        against_live: False holds the new bundle against the anchor alone, where there is one. The live bundle's AUC on what it
            served itself has risen with its drift: what takes the drift back cannot have it.
        draw_back_steps: new towers that are refused for drift are drawn back towards the anchor, or the parent where there is none,
            in so many even steps until nothing refuses them any more; held against that one alone. 0 publishes all of the way or
            nothing.
        accept_window: judge the window by no earlier one and by no feature's skew: somebody has looked at what the data gates said.
    """

    objective: Objective = field(default_factory=lambda: Objective(negatives=Negatives("implicit")))
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


def attempts(config: FinetuneConfig, *, drift_replay: float) -> tuple[FinetuneConfig, ...]:
    """Return how to tune, and how to tune once more what was refused for drift: with more replay, held against the anchor alone.

    What the last attempt comes to is drawn back; before that a further training is worth more.
    """
    if not drift_replay:
        return (config,)
    return replace(config, draw_back_steps=0), replace(config, replay=drift_replay, against_live=False)


Progress = Callable[[FitProgress], None]


def pretrain(
    surface: Surface,
    data: TrainingData,
    config: PretrainConfig | None = None,
    *,
    registry: BundleRegistry,
    live: str | None = None,
    progress: Progress = lambda _: None,
    checkpoint: Checkpoint | None = None,
    tensorboard: Path | None = None,
    created_ms: int | None = None,
) -> str:
    """Train new towers on random negatives, publish the bundle and return its id.

    Args:
        live: the live bundle to compare with, if there is one.
        checkpoint: where the fit's state is kept while it runs, and gone on from; the caller removes it at the end.
        tensorboard: folder that the fit's scalars, metrics and gates are written under.
        created_ms: now by default; given, equal arguments give an equal bundle.

    Raises:
        Refused: a data or quality gate said no, with the figures; nothing was published.
        BundleError: the live bundle cannot be read.
    """
    config = config or PretrainConfig()
    spec = CATALOG[surface.feature_spec]
    job = _Job(surface, data, spec, config, registry=registry, live=live, scalars=folder_of(tensorboard, surface.name, PRETRAIN))
    towers = TwoTowers(spec, config.towers.of_served_dim(surface.dim), seed=config.seed)
    fit_config = FitConfig(config.objectives, config.learning_rate, config.epochs, config.batch_size, config.min_steps, config.seed)
    report = job.train(towers, fit_config, threads=config.threads, progress=progress, checkpoint=checkpoint)
    lineage = job.lineage(fit_config, threads=config.threads, towers_seed=config.seed)
    judged = job.judge(towers)
    origin = Origin(
        recipe=PRETRAIN,
        code_version=code_version(),
        created_ms=_now_ms() if created_ms is None else created_ms,
        examples=data.offsets,
        seeds={"towers": config.seed, "fit": config.seed, "evaluation": EvaluationConfig().seed},
    )
    return job.publish(judged, report, origin, lineage)


def finetune(
    surface: Surface,
    parent: str,
    data: TrainingData,
    config: FinetuneConfig | None = None,
    *,
    registry: BundleRegistry,
    live: str | None = None,
    progress: Progress = lambda _: None,
    checkpoint: Checkpoint | None = None,
    tensorboard: Path | None = None,
    created_ms: int | None = None,
) -> str:
    """Tune a published bundle's towers on implicit negatives, publish the new bundle and return its id.

    The feature spec is the parent's; a new spec needs pre-training.

    Args:
        live: the bundle to compare with; the parent by default.
        checkpoint, tensorboard: as in `pretrain`.

    Raises:
        Refused: a data or quality gate said no, with the figures; nothing was published.
        BundleError: the parent or the live bundle cannot be read, or the parent carries no weights.
    """
    config = config or FinetuneConfig()
    bundle = read_bundle(registry, surface.name, parent)
    towers = unpack_towers(bundle)
    anchor = anchor_of(registry, surface.name, bundle, fine_tunes=config.anchor_fine_tunes)
    spec, compared = bundle.manifest.feature_spec, (live or parent) if config.against_live or anchor is None else None
    scalars = folder_of(tensorboard, surface.name, FINETUNE)
    job = _Job(surface, data, spec, config, registry=registry, live=compared, parent=bundle, anchor=anchor, scalars=scalars)
    fit_config = FitConfig(
        config.objectives, config.learning_rate, config.epochs, config.batch_size, seed=config.seed, frozen=config.frozen
    )
    report = job.train(towers, fit_config, threads=config.threads, progress=progress, checkpoint=checkpoint)
    lineage = job.lineage(fit_config, threads=config.threads, towers_seed=None)
    judged = job.judge(towers)
    if config.draw_back_steps and refused_for_drift(judged.gates):
        base = anchor or bundle
        found = drawn_back(
            unpack_towers(base), towers, config.draw_back_steps, judge=lambda one: job.judge(one, against_live=anchor is None)
        )
        if found is not None:
            judged, share = found
            lineage = replace(lineage, drawn_back_to=base.id, share=share)
    origin = Origin(
        recipe=FINETUNE,
        code_version=code_version(),
        created_ms=_now_ms() if created_ms is None else created_ms,
        parent=parent,
        examples=data.offsets,
        seeds={"fit": config.seed, "evaluation": EvaluationConfig().seed},
    )
    return job.publish(judged, report, origin, lineage)


@dataclass(frozen=True, slots=True)
class _Judged:
    """Towers ready to be published, unless a gate refuses them."""

    exported: Exported
    metrics: Mapping[str, float]
    gates: tuple[Gate, ...]


class _Job:
    """What both recipes share: encoded data, gates, and publishing."""

    def __init__(
        self,
        surface: Surface,
        data: TrainingData,
        spec: FeatureSpec,
        config: PretrainConfig | FinetuneConfig,
        *,
        registry: BundleRegistry,
        live: str | None,
        parent: Bundle | None = None,
        anchor: Bundle | None = None,
        scalars: Path | None = None,
    ) -> None:
        self._scalars = scalars if leads() else None
        self._surface = surface
        self._data = data
        self._spec = spec
        self._registry = registry
        self._limits = config.limits
        self._parent = parent
        self._anchor = anchor
        # read before the training: a bundle that cannot be read should not cost one
        self._live = None if live is None else parent if parent and parent.id == live else read_bundle(registry, surface.name, live)
        encoder = Encoder(spec, surface.popularity)
        self._train = encoder.examples(data.train)
        self._evaluation = encoder.examples(data.evaluation)
        self._corpus = encoder.corpus(data.corpus)
        self._inputs = inputs_digest(self._train, self._corpus)
        self._window = WindowProfile.of(data.train)
        self._measured: dict[str, dict[str, float]] = {}
        forebear = None if config.accept_window else parent or self._live
        last = last_profiles(registry, surface.name, forebear, count=LAST_WINDOWS)
        self._data_gates = data_gates(
            self._train,
            self._evaluation,
            self._corpus,
            config.limits,
            window=self._window,
            last=last,
            skew=() if config.accept_window else data.skew,
        )
        refuse_unless_passed(self._data_gates, what=f"the training window of {surface.name}")

    def train(
        self, towers: TwoTowers, config: FitConfig, *, threads: int, progress: Progress, checkpoint: Checkpoint | None
    ) -> FitReport:
        torch.set_num_threads(threads)
        checkpoint = checkpoint and checkpoint.of_inputs(self._inputs)
        with scalars_in(self._scalars) as scalars:
            on_step = partial(scalars.step, learning_rate=config.learning_rate)
            return fit(towers, self._train, self._corpus, config, progress=progress, on_step=on_step, checkpoint=checkpoint)

    def lineage(self, config: FitConfig, *, threads: int, towers_seed: int | None) -> Lineage:
        return Lineage(
            fit=config,
            threads=threads,
            towers_seed=towers_seed,
            corpus_at_ms=self._data.corpus_at_ms,
            corpus_offsets=self._data.corpus_offsets,
            inputs=self._inputs,
            torch=torch.__version__,
            served_by=self._data.served_by,
            processes=processes(),
        )

    def judge(self, towers: TwoTowers, *, against_live: bool = True) -> _Judged:
        exported = export(towers, graphs=self._parent.files if self._parent else None)
        metrics = evaluate(OnnxTowers(exported.files, metric=exported.metric), self._evaluation, self._corpus)
        gates = (
            *self._data_gates,
            *quality_gates(metrics, self._metrics_of(self._live) if against_live else None, self._limits),
            *drift_gates(metrics, self._metrics_of(self._anchor), self._limits),
            canary_gate(exported.canary, exported.metric),
        )
        return _Judged(exported, metrics, gates)

    def publish(self, judged: _Judged, report: FitReport, origin: Origin, lineage: Lineage) -> str:
        return on_leader(lambda: self._publish(judged, report, origin, lineage))

    def _publish(self, judged: _Judged, report: FitReport, origin: Origin, lineage: Lineage) -> str:
        exported, gates = judged.exported, judged.gates
        with scalars_in(self._scalars) as scalars:
            scalars.judged(judged.metrics, gates, step=report.steps)
        refuse_unless_passed(gates, what=f"the new bundle of {self._surface.name}")
        return publish(
            self._registry,
            replace(exported, files={**exported.files, LINEAGE: lineage.to_bytes(), WINDOW: self._window.to_bytes()}),
            surface=self._surface.name,
            spec=self._spec,
            origin=origin,
            metrics={
                **judged.metrics,
                "label_rate": label_rate(self._train),
                "train_examples": float(len(self._train)),
                "passed_over_examples": float(self._data.passed_over),
                "evaluation_examples": float(len(self._evaluation)),
                "corpus": float(len(self._corpus)),
                "steps": float(report.steps),
                "loss": report.loss,
                "tuned_share": lineage.share,
                "learning_rate": lineage.fit.learning_rate,
            },
            gates=gates,
        )

    def _metrics_of(self, other: Bundle | None) -> dict[str, float] | None:
        if other is None:
            return None
        if other.id not in self._measured:
            self._measured[other.id] = self._evaluate(other)
        return self._measured[other.id]

    def _evaluate(self, other: Bundle) -> dict[str, float]:
        evaluation: Examples = self._evaluation
        corpus: Corpus = self._corpus
        spec = other.manifest.feature_spec
        if spec.digest != self._spec.digest:
            # it reads other features of the same records
            encoder = Encoder(spec, self._surface.popularity)
            evaluation, corpus = encoder.examples(self._data.evaluation), encoder.corpus(self._data.corpus)
        return evaluate(OnnxTowers(other.files, metric=other.manifest.metric), evaluation, corpus)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
