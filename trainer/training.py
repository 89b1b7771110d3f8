"""One training of a surface, of any recipe: window judged, towers fitted, exported, judged, published. Decides no setting."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Protocol

import torch

from schemas.bundle import Bundle, CanaryVectors, Gate, Metric, read_bundle
from schemas.features.spec import FeatureSpec
from schemas.progress import OnProgress, untold
from schemas.records.candidates import Candidate
from schemas.records.feedback import Example
from schemas.registry.place import RegistryPlace
from schemas.surfaces import Surface
from trainer.data.columns import Corpus, Encoder, Examples
from trainer.data.profile import WINDOW, WindowProfile, last_profiles
from trainer.data.skew import FieldAudit
from trainer.data.windows import CorpusAt, Window
from trainer.evaluation import canary_shift, evaluate
from trainer.export import Exported, OnnxTowers, export
from trainer.gates import (
    GateLimits,
    GatesRefused,
    canary_gate,
    data_gates,
    drift_gates,
    label_rate,
    quality_gates,
    refuse_unless_passed,
)
from trainer.learning.checkpoint import Checkpoint
from trainer.learning.ensemble import Tunable
from trainer.learning.ensemble_fit import EnsembleFit
from trainer.learning.fit import FitConfig, FitProgress, FitReport
from trainer.learning.ranks import leads, on_leader, processes
from trainer.lineage import LINEAGE, Lineage, inputs_digest
from trainer.registry import Origin, publish
from trainer.scalars import folder_of, scalars_in

# a training window is held against as many before it
LAST_WINDOWS = 5

Progress = Callable[[FitProgress], None]


class Fitting(Protocol):
    """Fits some towers."""

    def __call__(
        self, examples: Examples, corpus: Corpus, *, progress: Progress, on_step: Progress, checkpoint: Checkpoint | None
    ) -> FitReport:
        """Fit them in place."""
        ...


class Judging(Protocol):
    """What a recipe's configuration says of gates."""

    @property
    def limits(self) -> GateLimits:
        """What is allowed."""
        ...

    @property
    def accept_window(self) -> bool:
        """Whether the window is judged by no earlier one and by no feature's skew."""
        ...


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
        examples_topic: id of the topic that `offsets` are of; None where nobody knows.
        read_to: by partition, the next offset behind all that was read, `evaluation` included: a delete among it voids of both.
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
    examples_topic: str | None = None
    read_to: Mapping[str, int] = field(default_factory=dict)

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
            examples_topic=window.topic_id,
            read_to={partition: following for partition, (_, following) in window.manifest_offsets().items()},
        )


@dataclass(frozen=True, slots=True)
class Fitted:
    """A fit, beside its towers.

    Attributes:
        lineage: what it takes to fit these towers again.
        scalars: folder that its figures are written into.
    """

    report: FitReport
    lineage: Lineage
    scalars: Path | None


@dataclass(frozen=True, slots=True)
class Judged:
    """Towers ready to be published, unless a gate refuses them."""

    exported: Exported
    metrics: Mapping[str, float]
    gates: tuple[Gate, ...]


class Training:
    """Encoded data, the bundles that the new towers are held against, and what becomes of them."""

    def __init__(
        self,
        surface: Surface,
        data: TrainingData,
        spec: FeatureSpec,
        config: Judging,
        *,
        recipe: str,
        registry: RegistryPlace,
        live: str | None,
        parent: Bundle | None = None,
        anchor: Bundle | None = None,
        tensorboard: Path | None = None,
        on_progress: OnProgress = untold,
    ) -> None:
        """Encode the data and judge the window.

        Args:
            live, parent, anchor: bundles that the new one is held against; see `trainer.gates`.
            tensorboard: folder that each fit's figures are written under.
            on_progress: of the rows that are embedded to judge towers.

        Raises:
            Refused: a data gate said no.
            BundleError: the live bundle cannot be read.
        """
        self._recipe = recipe
        self._tensorboard = tensorboard if leads() else None
        self._on_progress = on_progress
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
        self,
        fitting: Fitting,
        config: FitConfig | EnsembleFit,
        *,
        threads: int,
        towers_seed: int | None = None,
        progress: Progress,
        checkpoint: Checkpoint | None,
    ) -> Fitted:
        """Fit towers in place.

        Args:
            fitting: `fit` or `fit_ensemble` of the towers, as `config` says.
            towers_seed: of their first weights; None where they are the parent's.
        """
        torch.set_num_threads(threads)
        checkpoint = checkpoint and checkpoint.of_inputs(self._inputs)
        folder = folder_of(self._tensorboard, self._surface.name, self._recipe)
        with scalars_in(folder) as scalars:
            on_step = partial(scalars.step, learning_rate=config.learning_rate)
            report = fitting(self._train, self._corpus, progress=progress, on_step=on_step, checkpoint=checkpoint)
        return Fitted(report, self._lineage(config, threads=threads, towers_seed=towers_seed), folder)

    def _lineage(self, config: FitConfig | EnsembleFit, *, threads: int, towers_seed: int | None) -> Lineage:
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
            examples_topic=self._data.examples_topic,
            read_to=self._data.read_to,
        )

    def judge(self, towers: Tunable, *, against_live: bool = True) -> Judged:
        """Export towers and hold them against the others."""
        exported = export(towers, graphs=self._parent.files if self._parent else None)
        metrics = evaluate(self._towers(exported.files, exported.metric), self._evaluation, self._corpus)
        metrics |= self._shift(exported.canary)
        gates = (
            *self._data_gates,
            *quality_gates(metrics, self._metrics_of(self._live) if against_live else None, self._limits),
            *drift_gates(metrics, self._metrics_of(self._anchor), self._limits),
            canary_gate(exported.canary, exported.metric),
        )
        return Judged(exported, metrics, gates)

    def _shift(self, canary: CanaryVectors) -> dict[str, float]:
        """Return how far canary vectors are from the live bundle's; nothing where that one reads other features, or other rows."""
        if self._live is None or self._live.manifest.feature_spec.digest != self._spec.digest:
            return {}
        live = self._live.manifest.canary
        if (live.query_ids, live.candidate_ids) != (canary.query_ids, canary.candidate_ids):
            return {}
        return {"canary_shift": canary_shift(canary, live)}

    def refused(self, judged: Judged, fitted: Fitted) -> GatesRefused:
        """Return why judged towers are not to be published."""
        self._note(judged, fitted)
        return GatesRefused.of(judged.gates, what=self._what)

    def publish(self, judged: Judged, fitted: Fitted, origin: Origin) -> str:
        """Publish judged towers and return the bundle's id; raises `Refused` where a gate says no."""
        return on_leader(lambda: self._publish(judged, fitted, origin))

    @property
    def _what(self) -> str:
        return f"the new bundle of {self._surface.name}"

    def _note(self, judged: Judged, fitted: Fitted) -> None:
        with scalars_in(fitted.scalars) as scalars:
            scalars.judged(judged.metrics, judged.gates, step=fitted.report.steps)

    def _publish(self, judged: Judged, fitted: Fitted, origin: Origin) -> str:
        exported, report, lineage = judged.exported, fitted.report, fitted.lineage
        self._note(judged, fitted)
        refuse_unless_passed(judged.gates, what=self._what)
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
            gates=judged.gates,
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
        return evaluate(self._towers(other.files, other.manifest.metric), evaluation, corpus)

    def _towers(self, files: Mapping[str, bytes], metric: Metric) -> OnnxTowers:
        return OnnxTowers(files, metric=metric, on_progress=self._on_progress)
