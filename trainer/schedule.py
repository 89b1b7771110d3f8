"""When to train: watches the live bundle and the fresh examples, and runs a recipe. Starts no rollout: it hands the bundle over."""

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Protocol

from schemas.bundle import Bundle, read_bundle
from schemas.errors import BundleError, BundlesUnavailable, Refused
from schemas.features.catalog import CATALOG
from schemas.records.control import Rollout
from schemas.records.feedback import Example
from schemas.registry.place import RegistryPlace
from schemas.rollout import UNDER_WAY
from schemas.surfaces import Surface
from schemas.topics import DAY_MS, INPUTS_KEPT_MS
from trainer.data.keeping import KeptTrainings
from trainer.data.passed_over import Kept, PassedOver, WindowStart
from trainer.data.skew import Evidence, FieldAudit, audit
from trainer.data.windows import CorpusAt, Window, next_offsets
from trainer.export import ARCHITECTURE, WEIGHTS, shape_of
from trainer.gates import GatesRefused, lacks_examples
from trainer.learning.ensemble import EnsembleShape
from trainer.learning.fit import FitProgress
from trainer.lineage import examples_topic_of
from trainer.monitoring import TrainerMetrics
from trainer.options.settings import Options
from trainer.recipes import (
    ENSEMBLE,
    FINETUNE,
    PRETRAIN,
    EnsembleConfig,
    FinetuneConfig,
    PretrainConfig,
    ensemble,
    finetune,
    pretrain,
)
from trainer.settings import TrainerSettings
from trainer.training import TrainingData

log = logging.getLogger(__name__)


class Sources(Kept, Protocol):
    """What a schedule reads of one surface, and the one thing that it has kept."""

    def rollout(self) -> Rollout:
        """Return the surface's rollout state now."""
        ...

    def window(self, start: Mapping[int, int] | None = None, *, of: str | None = None) -> Window:
        """Return the examples from `start`, by partition, to the present; all where it is not of the topic of this id."""
        ...

    def candidates(self, now_ms: int) -> CorpusAt:
        """Return what a retrieval could return at `now_ms`."""
        ...

    def evidence(self, examples: Sequence[Example], *, sample: int) -> Evidence:
        """Return what an audit of the newest `sample` served ones compares."""
        ...


@dataclass(frozen=True, slots=True)
class Plan:
    """When a surface is trained, and how.

    Attributes:
        pretrain_at, corpus_at: examples and candidates needed for the first bundle.
        finetune_at: fresh examples needed for a fine-tune.
        interval_s: shortest time between two trainings.
        evaluation_share: newest share of a window held out.
        drift_replay: weight of replay in the second attempt at a fine-tune that was refused for drift; 0 makes none.
        skew_sample: the newest served examples whose features are computed again before each training; 0 audits none.
        cache: folder that each training's data are kept in, by surface and bundle; None keeps none.
        caches_kept: the newest that are kept, of each surface.
        caches_kept_s: how long they are kept at the most.
        tensorboard: folder that trainings' scalars are written under; None writes none.
        diverted: fine-tune on nothing but what the bundle that is tuned served itself.
        ensemble: the first bundle is one, in place of pre-trained towers, and follows on towers that are live; None pre-trains.
    """

    pretrain_at: int
    corpus_at: int
    finetune_at: int
    interval_s: float
    evaluation_share: float
    pretrain: PretrainConfig
    finetune: FinetuneConfig
    drift_replay: float = 0.0
    skew_sample: int = 0
    cache: Path | None = None
    caches_kept: int = 10
    caches_kept_s: float = INPUTS_KEPT_MS / 1000
    tensorboard: Path | None = None
    diverted: bool = False
    ensemble: EnsembleConfig | None = None

    @property
    def from_scratch(self) -> str:
        """The recipe of a bundle that comes of no other."""
        return PRETRAIN if self.ensemble is None else ENSEMBLE

    @classmethod
    def of(cls, settings: TrainerSettings, options: Options) -> "Plan":
        """Return the plan that the settings ask for."""
        limits, seed, threads = options.limits, settings.seed, settings.torch_threads
        min_steps = settings.pretrain_min_steps
        ensembles = settings.train_recipe == "ensemble"
        return cls(
            pretrain_at=settings.min_pretrain_examples,
            corpus_at=settings.min_corpus,
            finetune_at=settings.min_fresh_examples,
            interval_s=settings.interval_s,
            evaluation_share=settings.evaluation_share,
            pretrain=options.pretrain.config(limits=limits, min_steps=min_steps, seed=seed, threads=threads),
            finetune=replace(
                options.finetune.config(limits=limits, replay=settings.replay, seed=seed, threads=threads),
                anchor_fine_tunes=settings.anchor_fine_tunes,
                draw_back_steps=settings.draw_back_steps,
            ),
            drift_replay=settings.drift_replay,
            skew_sample=settings.skew_sample,
            cache=settings.train_cache,
            caches_kept=settings.train_caches_kept,
            caches_kept_s=settings.train_caches_kept_days * DAY_MS / 1000,
            tensorboard=settings.train_tensorboard,
            diverted=settings.train_served_by == "parent",
            ensemble=options.ensemble.config(limits=limits, min_steps=min_steps, seed=seed, threads=threads) if ensembles else None,
        )


@dataclass(frozen=True, slots=True)
class Waiting:
    """Why nothing is trained now. `kind` stays the same while only figures change."""

    kind: str
    reason: str


@dataclass(frozen=True, slots=True)
class _Due:
    """What is to be trained now; from scratch without a parent."""

    live: str | None
    parent: Bundle | None
    passed_over: PassedOver
    window: Window
    corpus: CorpusAt
    skew: Sequence[FieldAudit]
    now_ms: int


@dataclass(frozen=True, slots=True)
class _Attempt:
    """A training that was tried: from which live bundle, up to which offsets of which topic, and when."""

    live: str | None
    offsets: Mapping[int, int]
    topic_id: str | None
    monotonic_s: float


class SurfaceSchedule:
    """One surface's schedule. `step` is called again and again; it trains when it is time and returns the new bundle's id."""

    def __init__(
        self,
        surface: Surface,
        sources: Sources,
        plan: Plan,
        *,
        registry: RegistryPlace,
        metrics: TrainerMetrics | None = None,
        wall_clock_s: Callable[[], float] = time.time,
        monotonic_s: Callable[[], float] = time.monotonic,
    ) -> None:
        """Look at nothing yet.

        Args:
            wall_clock_s: decides what is within the recency window, and the bundle's creation time.
            monotonic_s: paces trainings.
        """
        self._surface = surface
        self._sources = sources
        self._plan = plan
        self._registry = registry
        self._metrics = metrics or TrainerMetrics()
        self._wall_clock_s = wall_clock_s
        self._monotonic_s = monotonic_s
        self._last: _Attempt | None = None
        self._start = WindowStart(surface.name, sources, registry, topic_of=examples_topic_of)
        self._topic_id: str | None = None
        self._said = ""
        self._erased_ms: Mapping[str, int] = {}
        self._kept = (
            KeptTrainings(surface.name, plan.cache, newest=plan.caches_kept, kept_s=plan.caches_kept_s, wall_clock_s=wall_clock_s)
            if plan.cache is not None
            else None
        )

    def step(self) -> str | None:
        """Train if it is time, and return the id of the published bundle.

        Raises:
            BrokerUnavailable: the topics cannot be read; nothing changed.
            BundleError: the live bundle cannot be read, or the new one not be published.
            OSError: a disk that trainings write to is full, or failed.
            Refused: the gates refused the data or the bundle; it is tried again when enough further examples have come.
        """
        due = self._due()
        if isinstance(due, Waiting):
            # once a reason, not once a poll
            if due.kind != self._said:
                log.info("%s: waiting: %s", self._surface.name, due.reason)
            self._said = due.kind
            return None
        self._said = ""
        self._last = _Attempt(due.live, _ends(due.window), due.window.topic_id, self._monotonic_s())
        try:
            return self._train(due)
        except (BundlesUnavailable, OSError):
            # of a place, not of the data: these are trained on again once the interval is over
            self._last = replace(self._last, offsets={})
            raise

    def _due(self) -> _Due | Waiting:
        if self._kept is not None:
            # whatever is waited for, and however long: what is kept ends with its time
            self._kept.clear(self._erased_ms)
        state = self._sources.rollout()
        if under_way := state.in_stage(*UNDER_WAY):
            # a bundle trained now could not start: the newest is taken when this one has gone live or ended
            return Waiting("rollout", f"{under_way[0].bundle} is {under_way[0].state}")
        if self._last is not None and self._monotonic_s() - self._last.monotonic_s < self._plan.interval_s:
            return Waiting("interval", f"the last training was less than {self._plan.interval_s:.0f} s ago")
        live = self._live(state.live)
        parent = self._tunable(live)
        passed_over, window = self._window(parent, state)
        self._erased_ms = window.erased_ms
        if self._kept is not None:
            self._kept.clear(window.erased_ms)
        if parent and self._plan.diverted:
            window = window.of_arm(parent.id)
        self._metrics.fresh(self._surface.name, passed_over.examples + len(window.logged))
        needed = self._plan.finetune_at if parent else self._plan.pretrain_at
        if len(window.logged) < needed:
            return Waiting("examples", f"{len(window.logged)} of {needed} examples are there")
        if seen := self._seen(live, window.topic_id):
            ends = _ends(window)
            # an offset behind the end belongs to a topic that was recreated since
            seen = {p: offset for p, offset in seen.items() if offset <= ends.get(p, -1)}
            since = sum(entry.offset >= seen.get(entry.partition, 0) for entry in window.logged)
            if since < self._plan.finetune_at:
                return Waiting("further examples", f"{since} of {self._plan.finetune_at} examples came since the last attempt")
        now_ms = int(self._wall_clock_s() * 1000)
        corpus = self._sources.candidates(now_ms)
        if len(corpus) < self._plan.corpus_at:
            return Waiting("candidates", f"{len(corpus)} of {self._plan.corpus_at} candidates are there")
        return _Due(state.live, parent, passed_over, window, corpus, self._skew(window), now_ms)

    def _window(self, parent: Bundle | None, state: Rollout) -> tuple[PassedOver, Window]:
        passed_over = self._start.of(parent, state, topic_id=self._topic_id)
        window = self._sources.window(passed_over.offsets, of=passed_over.topic_id)
        if passed_over.topic_id not in (None, window.topic_id):
            # what lay before is gone with its topic; what was passed over of this one is not
            passed_over = self._start.of(parent, state, topic_id=window.topic_id)
            window = self._sources.window(passed_over.offsets, of=passed_over.topic_id)
        self._topic_id = window.topic_id
        return passed_over, window

    def _pass_over(self, parent: Bundle, before: PassedOver, data: TrainingData) -> None:
        passed_over = self._start.refuse(before, data.offsets, len(data.train), topic_id=data.examples_topic)
        self._metrics.passed_over(self._surface.name, len(data.train))
        log.warning(
            "%s: %d examples are passed over, %d since those that %s was trained on",
            self._surface.name,
            len(data.train),
            passed_over.examples,
            parent.id,
        )

    def _skew(self, window: Window) -> Sequence[FieldAudit]:
        if not self._plan.skew_sample:
            return ()
        evidence = self._sources.evidence(window.examples(), sample=self._plan.skew_sample)
        return audit(evidence, CATALOG[self._surface.feature_spec])

    def _train(self, due: _Due) -> str:
        data = TrainingData.of_window(due.window, due.corpus, evaluation_share=self._plan.evaluation_share)
        data = replace(data, skew=due.skew, passed_over=due.passed_over.examples)
        recipe = FINETUNE if due.parent else self._plan.from_scratch
        what = f"{recipe} of {due.parent.id}" if due.parent else recipe
        log.info("%s: %s on %d examples, %d candidates", self._surface.name, what, len(data.train), len(data.corpus))
        begin_s = self._monotonic_s()
        outcome = "failed"
        try:
            bundle = self._run_recipe(due, data)
            outcome = "published"
            manifest = read_bundle(self._registry, self._surface.name, bundle).manifest
            self._metrics.judged(self._surface.name, manifest.gates)
            self._metrics.newest(manifest)
        except Refused as refusal:
            outcome = "refused"
            if isinstance(refusal, GatesRefused):
                self._metrics.judged(self._surface.name, refusal.gates)
                if due.parent and not lacks_examples(refusal.gates):
                    self._pass_over(due.parent, due.passed_over, data)
            raise
        finally:
            took_s = self._monotonic_s() - begin_s
            self._metrics.ended(self._surface.name, recipe, outcome, took_s=took_s, examples=len(data.train))
        fields = {"surface": self._surface.name, "bundle": bundle}
        log.info("%s: published %s after %.1f s", self._surface.name, bundle, took_s, extra=fields)
        if (share := manifest.metrics["tuned_share"]) < 1.0:
            log.warning("%s: %s is drawn back, to %g of the way from its anchor", self._surface.name, bundle, share, extra=fields)
        if self._kept is not None:
            self._kept.keep(bundle, due.window, due.corpus)
        return bundle

    def _run_recipe(self, due: _Due, data: TrainingData) -> str:
        if due.parent:
            return finetune(
                self._surface,
                due.parent.id,
                data,
                self._plan.finetune,
                registry=self._registry,
                drift_replay=self._plan.drift_replay,
                on_again=self._again,
                progress=self._progress,
                tensorboard=self._plan.tensorboard,
                created_ms=due.now_ms,
            )
        train = (
            partial(pretrain, config=self._plan.pretrain)
            if self._plan.ensemble is None
            else partial(ensemble, config=self._plan.ensemble)
        )
        return train(
            self._surface,
            data,
            registry=self._registry,
            live=due.live,
            progress=self._progress,
            tensorboard=self._plan.tensorboard,
            created_ms=due.now_ms,
        )

    def _again(self, refusal: GatesRefused) -> None:
        self._metrics.judged(self._surface.name, refusal.gates)
        # of the parent, not of the anchor: what was learned since is kept, what was forgotten is taught again
        log.warning("%s: %s; once more, with replay of weight %g", self._surface.name, refusal, self._plan.drift_replay)

    def _seen(self, live: Bundle | None, topic_id: str | None) -> Mapping[int, int]:
        """Return the next offsets of a topic after examples that need not be trained on again; empty where any are worth it."""
        if self._last is not None and self._last.live == (live and live.id):
            # whatever came of the last attempt from this bundle, the same data would end the same way
            return self._last.offsets if self._last.topic_id == topic_id else {}
        # a fine-tune's window begins after these, that of an ensemble in the place of towers at the beginning
        if live is None or not self._is_replaced(live) or examples_topic_of(live) not in (None, topic_id):
            return {}
        return next_offsets(live.manifest.examples)

    def _is_replaced(self, live: Bundle) -> bool:
        """Return whether towers are live where an ensemble is asked for."""
        is_ensemble = ARCHITECTURE in live.files and isinstance(shape_of(live), EnsembleShape)
        return self._plan.ensemble is not None and not is_ensemble

    def _live(self, live: str | None) -> Bundle | None:
        try:
            return None if live is None else read_bundle(self._registry, self._surface.name, live)
        except BundleError as error:
            raise type(error)(f"the live bundle cannot be read: {error}") from error

    def _tunable(self, bundle: Bundle | None) -> Bundle | None:
        """Return the live bundle if it is to be fine-tuned; None when the next one is trained from scratch."""
        if bundle is None:
            return None
        if not {WEIGHTS, ARCHITECTURE} <= bundle.files.keys():
            log.warning(
                "%s: live bundle %s carries no weights; the next one is trained from scratch", self._surface.name, bundle.id
            )
            return None
        if self._is_replaced(bundle):
            return None
        if bundle.manifest.feature_spec.digest != CATALOG[self._surface.feature_spec].digest:
            log.info(
                "%s: the feature spec has changed since %s; the next bundle is trained from scratch", self._surface.name, bundle.id
            )
            return None
        return bundle

    def _progress(self, progress: FitProgress) -> None:
        self._metrics.went_round()
        log.info(
            "%s: step %d of %d, loss %.4f, %.0f examples/s, %.0f s to go",
            self._surface.name,
            progress.step,
            progress.steps,
            progress.loss,
            progress.examples_per_s,
            progress.eta_s,
        )


def _ends(window: Window) -> Mapping[int, int]:
    return {partition: following for partition, (_, following) in window.offsets.items()}
