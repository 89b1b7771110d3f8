"""One training and the trainer's own gates on it: the data gates, the quality gates against the live towers and the
anchor, the canary gate.

`trainer.recipes` does the same from records and refuses to publish; here the verdicts are the result, so that a line of towers can
also go on against them.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from schemas.bundle import Gate
from schemas.features.spec import FeatureSpec
from trainer.data.columns import Corpus, Examples
from trainer.data.profile import WindowProfile
from trainer.evaluation import canary_shift, evaluate
from trainer.export import export
from trainer.gates import GateLimits, canary_gate, data_gates, drift_gates, quality_gates
from trainer.learning.ensemble import Ensemble, Tunable, untrained
from trainer.learning.ensemble_fit import fit_ensemble
from trainer.learning.fit import FitConfig, fit
from trainer.learning.towers import TorchEmbedder, TowerConfig, TwoTowers
from trainer.recipes import EnsembleConfig, FinetuneConfig, PretrainConfig

ENSEMBLE = EnsembleConfig()


@dataclass(frozen=True, slots=True, eq=False)
class Window:
    """What one training sees: as `trainer.recipes.TrainingData`, encoded."""

    train: Examples
    evaluation: Examples
    corpus: Corpus
    profile: WindowProfile


@dataclass(frozen=True, slots=True, eq=False)
class Candidate:
    """New towers and what was said of them.

    Attributes:
        metrics, live_metrics: `trainer.evaluation.evaluate` of these towers and of the live ones, on the window's held-out share;
            of these also how far their canary rows' similarities are from the live ones'.
        again: they are a second attempt, since a first was refused for drift.
        share: they are so much of the way from the anchor to what the last attempt came to.
    """

    towers: Tunable
    gates: tuple[Gate, ...]
    metrics: Mapping[str, float]
    live_metrics: Mapping[str, float]
    again: bool = False
    share: float = 1.0

    @property
    def auc(self) -> float:
        """Served AUC of the new towers; NaN where the window does not allow to measure it."""
        return self.metrics.get("auc", float("nan"))

    @property
    def live_auc(self) -> float:
        """Likewise, of the live towers."""
        return self.live_metrics.get("auc", float("nan"))

    @property
    def refused_by(self) -> list[str]:
        """Names of the gates that said no."""
        return [gate.name for gate in self.gates if not gate.passed]


def pretrained(window: Window, spec: FeatureSpec, shape: TowerConfig, config: PretrainConfig, *, seed: int) -> TwoTowers:
    """Return new towers, trained as the first bundle is."""
    towers = TwoTowers(spec, shape, seed=seed)
    fit_config = FitConfig(config.objectives, config.learning_rate, config.epochs, config.batch_size, config.min_steps, seed)
    fit(towers, window.train, window.corpus, fit_config)
    return towers


def ensembled(window: Window, spec: FeatureSpec, shape: TowerConfig, *, seed: int) -> Ensemble:
    """Return a new ensemble of the dimension of one of its parts, trained as the first bundle is."""
    config = replace(ENSEMBLE, towers=shape, seed=seed)
    ensemble = Ensemble.untrained(spec, config.shape(shape.dim), seed=seed)
    fit_ensemble(ensemble, window.train, window.corpus, config.fit)
    return ensemble


def tuned(live: Tunable, window: Window, config: FinetuneConfig, *, seed: int) -> Tunable:
    """Return a fine-tuned copy of the live towers."""
    towers, seeded = untrained(live.spec, live.config, seed=seed), replace(config, seed=seed)
    towers.load_weights(live.weights())
    if isinstance(towers, Ensemble):
        fit_ensemble(towers, window.train, window.corpus, seeded.fit_of_parts(ENSEMBLE.fit.parts))
    else:
        fit(towers, window.train, window.corpus, seeded.fit)
    return towers


def judge(
    towers: Tunable,
    live: Tunable,
    window: Window,
    limits: GateLimits,
    *,
    anchor: Tunable | None = None,
    against_live: bool = True,
    last: Sequence[WindowProfile] = (),
) -> Candidate:
    """Hold towers against the live ones, and against older ones, on one window.

    Args:
        anchor: see `trainer.gates.drift_gates`.
        against_live: as in `FinetuneConfig`.
        last: profiles of the windows that the live towers and their forebears were trained on.
    """

    def measured(one: Tunable) -> dict[str, float]:
        return evaluate(TorchEmbedder(one), window.evaluation, window.corpus)

    new, old = measured(towers), measured(live)
    exported = export(towers)
    new["canary_shift"] = canary_shift(exported.canary, export(live).canary)
    gates = (
        *data_gates(window.train, window.evaluation, window.corpus, limits, window=window.profile, last=last),
        *quality_gates(new, old if against_live else None, limits),
        *drift_gates(new, measured(anchor) if anchor else None, limits),
        canary_gate(exported.canary, exported.metric),
    )
    return Candidate(towers, gates, new, old)


def profile(examples: Examples, languages: Sequence[str]) -> WindowProfile:
    """Return what `WindowProfile.of` says of the records, from columns.

    Args:
        examples: the window.
        languages: of each example's candidate.
    """
    positives = len(examples.positives)
    return WindowProfile.counted(
        examples.event_time_ms,
        positives=positives,
        implicit_negatives=len(examples.implicit) - positives,
        languages=Counter(languages),
        unresolved=0,
    )
