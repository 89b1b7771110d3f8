"""The schedule, with a log in memory: when it trains, from what, and what it hands over."""

import errno
import logging
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import fsspec
import pytest
from prometheus_client import CollectorRegistry

from schemas.bundle import Gate, list_bundles, read_bundle
from schemas.errors import (
    BrokerUnavailable,
    BundleCorrupt,
    BundlesUnavailable,
    CompareAndSetLost,
    ControllerUnavailable,
    Refused,
    RoostError,
)
from schemas.records.candidates import Candidate
from schemas.records.control import BundleStage, Rollout, Stage
from schemas.records.feedback import Engagement, EngagementKind, Example, Label
from schemas.registry.remote import RemoteRegistry
from schemas.surfaces import load_surfaces
from tests.bundles import publish_bundle
from tests.gate_limits import UNCOMPARED
from tests.tiny_world import START_MS, tiny_world
from trainer.data.evidence import newest_served
from trainer.data.passed_over import PassedOver
from trainer.data.skew import Evidence
from trainer.data.windows import CorpusAt, LoggedExample, Window
from trainer.gates import GateLimits
from trainer.learning.negatives import Negatives
from trainer.learning.objectives import Objective
from trainer.lineage import lineage_of
from trainer.monitoring import TrainerMetrics
from trainer.recipes import ENSEMBLE, FINETUNE, PARTS, PRETRAIN, EnsembleConfig, FinetuneConfig, PartConfig, PretrainConfig
from trainer.role import note_newest, step
from trainer.schedule import Plan, SurfaceSchedule

SURFACE = load_surfaces()["home-timeline"]
WORLD = tiny_world(users=120, tweets=300, impressions=3_000)
PLAN = Plan(
    pretrain_at=1_000,
    corpus_at=100,
    finetune_at=800,
    interval_s=60,
    evaluation_share=0.25,
    pretrain=PretrainConfig(epochs=2, min_steps=50, objectives=(Objective(negatives=Negatives("uniform", 32)),)),
    finetune=FinetuneConfig(replay=1.0),
)


@dataclass
class LogInMemory:
    """Sources as a list: example n stands at offset n // 2 of partition n % 2."""

    examples: list[Example] = field(default_factory=list)
    corpus: list[Candidate] = field(default_factory=list)
    state: Rollout = field(default_factory=lambda: Rollout(SURFACE.name, 0))
    erased_ms: dict[str, int] = field(default_factory=dict)
    evidence_is_away: bool = False
    kept: PassedOver = field(default_factory=PassedOver)
    keeping_is_away: bool = False
    topic_id: str = "first"

    def fill(self) -> None:
        """Hold enough for a first bundle: 1,200 examples and the whole corpus."""
        self.examples, self.corpus = WORLD.examples[:1_200], WORLD.corpus

    def passed_over(self) -> PassedOver:
        """See `Kept`."""
        return self.kept

    def pass_over(self, passed_over: PassedOver) -> None:
        """See `Kept`."""
        if self.keeping_is_away:
            raise BrokerUnavailable("no broker answers")
        self.kept = passed_over

    def rollout(self) -> Rollout:
        """See `Sources`."""
        return self.state

    def window(self, start: Mapping[int, int] | None = None, *, of: str | None = None) -> Window:
        """See `Sources`."""
        begin = {p: (start or {}).get(p, 0) if of in (None, self.topic_id) else 0 for p in (0, 1)}
        logged = tuple(LoggedExample(n % 2, n // 2, e) for n, e in enumerate(self.examples) if n // 2 >= begin[n % 2])
        offsets = {p: (begin[p], (len(self.examples) + 1 - p) // 2) for p in (0, 1)}
        return Window(logged, offsets, erased_ms=dict(self.erased_ms), topic_id=self.topic_id)

    def candidates(self, now_ms: int) -> CorpusAt:
        """See `Sources`."""
        return CorpusAt(self.corpus, {0: len(self.corpus)}, now_ms)

    def evidence(self, examples: Sequence[Example], *, sample: int) -> Evidence:
        """See `Sources`; no user has a state, and each favorite that is counted was given before the first impression."""
        if self.evidence_is_away:
            raise BrokerUnavailable("no broker answers")
        engagements = {
            one.candidate_id: [
                Engagement(f"e{n}", "u", one.candidate_id, EngagementKind.FAVORITE, START_MS - 1)
                for n in range(one.counters.favorite)
            ]
            for one in self.corpus
        }
        return Evidence(newest_served(examples, sample), {}, {one.candidate_id: one for one in self.corpus}, engagements)

    def stage(self, *bundles: tuple[str, Stage]) -> None:
        """Let the controller have brought these bundles to these stages."""
        entries = tuple(BundleStage(bundle, stage) for bundle, stage in bundles)
        self.state = replace(self.state, revision=self.state.revision + 1, bundles=entries)


@dataclass
class Clock:
    """A clock that stands still until it is told."""

    now_s: float = 1_700_000_100.0

    def __call__(self) -> float:
        """Return the time, in seconds."""
        return self.now_s


@dataclass
class Setting:
    """A schedule and all it looks at."""

    log: LogInMemory
    clock: Clock
    registry: Path
    schedule: SurfaceSchedule
    metrics: CollectorRegistry
    plan: Plan

    def restarted(self) -> "Setting":
        """Return the setting of another process on the same topics and registry."""
        schedule = SurfaceSchedule(
            SURFACE, self.log, self.plan, registry=self.registry, wall_clock_s=self.clock, monotonic_s=self.clock
        )
        return replace(self, schedule=schedule)

    def measured(self, name: str, **labels: str) -> float | None:
        """Return a sample of what the schedule measured of the surface."""
        return self.metrics.get_sample_value(name, {"surface": SURFACE.name, **labels})


@pytest.fixture
def setting(tmp_path: Path) -> Setting:
    """A surface that has never had a bundle, and nothing logged."""
    return a_setting(tmp_path, PLAN)


def a_setting(registry: Path, plan: Plan) -> Setting:
    """Return a schedule on an empty log."""
    log, clock, measured = LogInMemory(), Clock(), CollectorRegistry()
    metrics = TrainerMetrics(measured)
    schedule = SurfaceSchedule(SURFACE, log, plan, registry=registry, metrics=metrics, wall_clock_s=clock, monotonic_s=clock)
    return Setting(log, clock, registry, schedule, measured, plan)


def test_a_deleted_users_examples_leave_the_kept_trainings_when_the_schedule_next_looks(tmp_path: Path) -> None:
    """The operator is told by when the last copy is gone; nobody else knows of this folder."""
    setting = a_setting(tmp_path / "registry", replace(PLAN, cache=tmp_path / "trainings"))
    setting.log.fill()
    bundle = setting.schedule.step()
    kept = tmp_path / "trainings" / SURFACE.name
    assert [path.name for path in kept.iterdir()] == [bundle]
    shown = WORLD.examples[0]
    setting.log.erased_ms[shown.user_id] = shown.event_time_ms
    setting.clock.now_s += 3_600
    setting.schedule.step()
    assert list(kept.iterdir()) == []


def a_kept_training(folder: Path) -> tuple[Setting, Path]:
    """Return a schedule that has trained once, and where its training is kept, written at its clock's time."""
    setting = a_setting(folder / "registry", replace(PLAN, cache=folder / "kept"))
    setting.log.fill()
    bundle = setting.schedule.step()
    assert bundle is not None
    kept = folder / "kept" / SURFACE.name / bundle
    os.utime(kept, (setting.clock.now_s, setting.clock.now_s))
    return setting, kept


def test_a_kept_training_ends_with_its_time_though_nothing_is_trained_any_more(tmp_path: Path) -> None:
    """An erased author's tweets are in its corpus; the stated bound must hold where no further training pushes it out."""
    setting, folder = a_kept_training(tmp_path)
    setting.clock.now_s += 29 * 86_400
    setting.schedule.step()
    assert folder.is_dir()
    setting.clock.now_s += 2 * 86_400
    setting.schedule.step()
    assert not folder.exists()


def test_a_kept_training_ends_with_its_time_while_a_rollout_stands_still(tmp_path: Path) -> None:
    """A canary that somebody paused kept what an erased author wrote for as long as it was paused."""
    setting, folder = a_kept_training(tmp_path)
    setting.log.stage((folder.name, Stage.CANARY))
    setting.clock.now_s += 31 * 86_400
    assert setting.schedule.step() is None
    assert not folder.exists()


def test_a_bundle_whose_training_cannot_be_kept_is_handed_over_all_the_same(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The disk of the kept trainings is full: that must not cost the trained towers."""
    (tmp_path / "full").write_bytes(b"")
    setting = a_setting(tmp_path / "registry", replace(PLAN, cache=tmp_path / "full"))
    setting.log.fill()
    bundle = setting.schedule.step()
    assert bundle is not None
    assert list_bundles(setting.registry, SURFACE.name) == [bundle]
    assert f"the training of {bundle} cannot be kept in {tmp_path / 'full' / SURFACE.name} (" in caplog.text
    assert "make room there, or name another folder by ROOST_TRAIN_CACHE" in caplog.text
    assert "Traceback" not in caplog.text


def test_a_deleted_users_kept_training_that_cannot_be_removed_is_never_said_to_be(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a read-only disk it stayed, and the log told the operator that the last copy was gone."""
    caplog.set_level(logging.INFO)
    setting = a_setting(tmp_path / "registry", replace(PLAN, cache=tmp_path / "trainings", interval_s=0, finetune_at=10_000))
    setting.log.fill()
    bundle = setting.schedule.step()
    kept = tmp_path / "trainings" / SURFACE.name / str(bundle)
    shown = WORLD.examples[0]
    setting.log.erased_ms[shown.user_id] = shown.event_time_ms

    def read_only(*_: object, **__: object) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), "examples.parquet")

    with monkeypatch.context() as context:
        context.setattr(os, "unlink", read_only)
        for _ in range(3):
            assert setting.schedule.step() is None
    assert kept.is_dir()
    assert "is removed" not in caplog.text
    assert caplog.text.count(f"the kept training {kept} is due to be removed and stays (Read-only file system)") == 1
    setting.schedule.step()
    assert not kept.exists()
    assert f"the kept training of {bundle} held a deleted user's examples and is removed" in caplog.text


def test_a_disk_without_room_for_a_trainings_figures_does_not_end_the_role(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """It trains other surfaces too, and went down with a trace at every start for what nobody but TensorBoard reads."""
    (tmp_path / "full").write_bytes(b"")
    setting = a_setting(tmp_path / "registry", replace(PLAN, tensorboard=tmp_path / "full"))
    setting.log.fill()
    untold: dict[str, str] = {}
    step(SURFACE.name, setting.schedule, lambda *_: None, untold, TrainerMetrics())
    assert (untold, list_bundles(setting.registry, SURFACE.name)) == ({}, [])
    assert f"{SURFACE.name}: {tmp_path / 'full'}" in caplog.text
    assert "make room there, or name another folder" in caplog.text


def test_the_loop_pretrains_once_there_is_enough_and_fine_tunes_what_went_live_on_fresh_examples(setting: Setting) -> None:
    """The whole of a trainer's life: wait, pre-train, wait for the rollout, wait for examples, fine-tune."""
    log, schedule = setting.log, setting.schedule
    assert schedule.step() is None
    log.examples = WORLD.examples[:1_200]
    assert schedule.step() is None
    log.corpus = WORLD.corpus
    first = schedule.step()
    assert first is not None
    manifest = read_bundle(setting.registry, SURFACE.name, first).manifest
    assert (manifest.recipe, manifest.parent) == (PRETRAIN, None)
    assert manifest.examples == {"0": (0, 450), "1": (0, 450)}

    log.examples = WORLD.examples[:2_400]
    setting.clock.now_s += 3_600
    log.stage((first, Stage.BUILDING))
    assert schedule.step() is None

    log.stage((first, Stage.LIVE))
    log.examples = WORLD.examples[:1_690]
    assert schedule.step() is None
    log.examples = WORLD.examples[:2_400]
    second = schedule.step()
    assert second is not None
    manifest = read_bundle(setting.registry, SURFACE.name, second).manifest
    assert (manifest.recipe, manifest.parent) == (FINETUNE, first)
    # what was held out of the first window is the beginning of the second
    assert manifest.examples["0"][0] == 450
    for recipe, examples in ((PRETRAIN, 900), (FINETUNE, manifest.metrics["train_examples"])):
        assert setting.measured("roost_trainings_total", recipe=recipe, outcome="published") == 1
        assert setting.measured("roost_training_seconds_count", recipe=recipe) == 1
        assert setting.measured("roost_training_examples_total", recipe=recipe) == examples
    assert setting.measured("roost_gate_verdicts_total", gate="auc_against_live", verdict="passed") == 1
    assert setting.measured("roost_bundle_created_timestamp_seconds") == setting.clock.now_s
    assert setting.measured("roost_fresh_examples") == 1_500


def test_a_diverted_schedule_tunes_the_live_bundle_on_what_it_served_and_counts_nothing_else(tmp_path: Path) -> None:
    """After a canary the log holds what two bundles served: who learns from the other's answers is compared with himself."""
    setting = a_setting(tmp_path, replace(PLAN, diverted=True, finetune=FinetuneConfig(replay=1.0, accept_window=True)))
    log, clock = setting.log, setting.clock
    log.fill()
    first = setting.schedule.step()
    assert first is not None
    log.stage((first, Stage.LIVE))
    log.examples += [
        replace(example, bundle=first if int(example.user_id[1:]) % 2 else "b" * 16) for example in WORLD.examples[1_200:2_400]
    ]
    clock.now_s += 60
    assert setting.schedule.step() is None, "of its own there are not enough"
    log.examples += [replace(example, bundle=first) for example in WORLD.examples[2_400:]]
    tuned = setting.schedule.step()
    assert tuned is not None
    bundle = read_bundle(setting.registry, SURFACE.name, tuned)
    assert (bundle.manifest.parent, lineage_of(bundle).served_by) == (first, first)
    own = sum(example.bundle == first for example in log.examples)
    assert own > bundle.manifest.metrics["train_examples"] > 0.7 * own


def test_no_training_follows_another_within_the_interval_or_on_the_same_data(setting: Setting) -> None:
    """A bundle that was handed over and is not yet in the rollout log must not be trained a second time."""
    log = setting.log
    log.fill()
    assert setting.schedule.step() is not None
    log.examples = WORLD.examples[:2_400]
    assert setting.schedule.step() is None
    setting.clock.now_s += 61
    log.examples = WORLD.examples[:1_300]
    assert setting.schedule.step() is None
    assert len(list_bundles(setting.registry, SURFACE.name)) == 1


def test_a_refusal_is_raised_once_and_tried_again_only_with_further_examples(tmp_path: Path) -> None:
    """The same data would be refused again, at the price of a training each time."""
    strict = replace(PLAN, pretrain=replace(PLAN.pretrain, limits=GateLimits(min_auc=0.999)), interval_s=0)
    setting = a_setting(tmp_path, strict)
    setting.log.fill()
    with pytest.raises(Refused, match="auc"):
        setting.schedule.step()
    assert setting.schedule.step() is None
    setting.log.examples = WORLD.examples[:2_100]
    with pytest.raises(Refused):
        setting.schedule.step()
    assert list_bundles(tmp_path, SURFACE.name) == []
    assert setting.measured("roost_trainings_total", recipe=PRETRAIN, outcome="refused") == 2
    assert setting.measured("roost_gate_verdicts_total", gate="auc", verdict="failed") == 2
    assert setting.measured("roost_gate_verdicts_total", gate="corpus", verdict="passed") == 2
    assert setting.measured("roost_bundle_created_timestamp_seconds") is None


def test_what_was_refused_is_passed_over_and_the_next_bundle_says_how_much(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A larger window forgets more: grown by every refusal it would be refused for good, and the line stand still."""
    setting = refused_once(tmp_path)
    log, first = setting.log, setting.log.state.live
    second = setting.schedule.step()
    assert second is not None
    manifest = read_bundle(setting.registry, SURFACE.name, second).manifest
    # 300 that the first held out and 900 that came: a quarter is held out; then those and 900 more
    assert (manifest.examples, manifest.metrics["train_examples"]) == ({"0": (900, 1_350), "1": (900, 1_350)}, 900)
    assert manifest.metrics["passed_over_examples"] == 900
    assert setting.measured("roost_passed_over_examples_total") == 900
    assert f"900 examples are passed over, 900 since those that {first} was trained on" in caplog.text
    assert setting.measured("roost_fresh_examples") == 900 + 1_200, "how long nothing was learned shows all the same"

    # another bundle's windows are its own
    log.stage((second, Stage.LIVE))
    setting.clock.now_s += 3_600
    setting.schedule.step()
    assert setting.measured("roost_fresh_examples") == 3_000 - 2 * 1_350


def refused_once(folder: Path, **log: bool) -> Setting:
    """Return a setting whose live bundle's first window, up to offset 900 of each partition, was refused."""
    setting = a_setting(folder, replace(PLAN, skew_sample=500, finetune=FinetuneConfig(replay=1.0, limits=UNCOMPARED)))
    setting.log.fill()
    first = setting.schedule.step()
    assert first is not None
    setting.log.stage((first, Stage.LIVE))
    setting.log.keeping_is_away = log.get("keeping_is_away", False)
    setting.log.examples += [replace(one, candidate=replace(one.candidate, topics=())) for one in WORLD.examples[1_200:2_100]]
    setting.clock.now_s += 3_600
    with pytest.raises(Refused, match="feature_skew"):
        setting.schedule.step()
    setting.log.examples += WORLD.examples[2_100:]
    setting.clock.now_s += 3_600
    return setting


def test_what_was_passed_over_stays_so_when_the_trainer_is_restarted(tmp_path: Path) -> None:
    """A trainer that is deployed anew every day would otherwise begin every day with all that was ever refused."""
    setting = refused_once(tmp_path).restarted()
    second = setting.schedule.step()
    assert second is not None
    manifest = read_bundle(setting.registry, SURFACE.name, second).manifest
    assert (manifest.examples, manifest.metrics["passed_over_examples"]) == ({"0": (900, 1_350), "1": (900, 1_350)}, 900)

    # it was said of another live bundle
    setting.log.stage((second, Stage.LIVE))
    setting.clock.now_s += 3_600
    again = setting.restarted()
    again.log.examples += WORLD.examples
    third = again.schedule.step()
    assert third is not None
    assert read_bundle(setting.registry, SURFACE.name, third).manifest.examples["0"][0] == 1_350


def test_a_refusal_that_cannot_be_kept_holds_until_the_restart(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The broker went away during the training: the refusal is what must be told, and this process still knows of it."""
    setting = refused_once(tmp_path, keeping_is_away=True)
    assert "what is passed over is forgotten at a restart: no broker answers" in caplog.text
    second = setting.schedule.step()
    assert second is not None
    assert read_bundle(setting.registry, SURFACE.name, second).manifest.examples["0"][0] == 900


def tried_after_live(tmp_path: Path) -> tuple[Setting, str, str]:
    """Return a setting with its first bundle, which is live, and its second, which is only published."""
    setting = a_setting(tmp_path, replace(PLAN, finetune=FinetuneConfig(replay=1.0, limits=UNCOMPARED)))
    setting.log.fill()
    first = setting.schedule.step()
    assert first is not None
    setting.log.stage((first, Stage.LIVE))
    setting.log.examples = WORLD.examples[:1_832]
    setting.clock.now_s += 3_600
    second = setting.schedule.step()
    assert second is not None
    return setting, first, second


@pytest.mark.parametrize(
    ("stages", "begin"),
    [
        ((Stage.LIVE, Stage.ABORTED), 800),
        ((Stage.LIVE, Stage.DRAINING), 800),
        ((Stage.LIVE, Stage.REJECTED), 450),
    ],
    ids=["aborted canary", "rolled back", "no node could load it"],
)
def test_after_a_bundle_that_was_tried_and_not_kept_windows_begin_as_after_an_accepted_one(
    tmp_path: Path, stages: tuple[Stage, Stage], begin: int
) -> None:
    """Grown by every canary that users did not want, the next window would forget more, and its canary be aborted too."""
    setting, first, second = tried_after_live(tmp_path)
    trained = read_bundle(setting.registry, SURFACE.name, second).manifest
    assert trained.examples["0"] == (450, 800)

    setting.log.stage(*zip((first, second), stages, strict=True))
    setting.log.examples = WORLD.examples
    setting.clock.now_s += 3_600
    third = setting.restarted().schedule.step()
    assert third is not None
    manifest = read_bundle(setting.registry, SURFACE.name, third).manifest
    assert (manifest.parent, manifest.examples["0"][0]) == (first, begin)
    assert manifest.metrics["passed_over_examples"] == (0 if begin == 450 else trained.metrics["train_examples"])


def test_what_was_refused_of_a_topic_is_passed_over_whatever_was_tried_of_the_one_before(tmp_path: Path) -> None:
    """The canary of before had learned from more: windows began at the new topic's beginning, and grew with every refusal."""
    setting, first, second = tried_after_live(tmp_path)
    assert read_bundle(setting.registry, SURFACE.name, second).manifest.metrics["train_examples"] > 600

    setting.log.stage((first, Stage.LIVE), (second, Stage.ABORTED))
    setting.log.topic_id, setting.log.examples = "second", WORLD.examples[1_200:]
    setting.log.kept = PassedOver(first, {0: 300, 1: 300}, 600, "second")
    setting.clock.now_s += 3_600
    third = setting.restarted().schedule.step()
    assert third is not None
    manifest = read_bundle(setting.registry, SURFACE.name, third).manifest
    assert (manifest.parent, manifest.examples["0"][0], manifest.metrics["passed_over_examples"]) == (first, 300, 600)


def test_a_window_that_lacked_nothing_but_examples_grows_until_it_has_enough(tmp_path: Path) -> None:
    """Passed over, a surface with few positives would never be tuned: no window of its would hold enough."""
    positives = sum(one.label == Label.POSITIVE for one in WORLD.examples[900:2_400])
    limits = replace(UNCOMPARED, min_positives=positives // 2)
    setting = a_setting(tmp_path, replace(PLAN, finetune=FinetuneConfig(replay=1.0, limits=limits)))
    setting.log.fill()
    first = setting.schedule.step()
    assert first is not None
    setting.log.stage((first, Stage.LIVE))
    setting.log.examples = WORLD.examples[:1_700]
    setting.clock.now_s += 3_600
    with pytest.raises(Refused, match="train_positives"):
        setting.schedule.step()
    setting.log.examples = WORLD.examples[:2_900]
    setting.clock.now_s += 3_600
    second = setting.schedule.step()
    assert second is not None
    manifest = read_bundle(setting.registry, SURFACE.name, second).manifest
    assert (manifest.examples["0"][0], manifest.metrics["passed_over_examples"]) == (450, 0)
    assert setting.measured("roost_passed_over_examples_total") is None


def test_a_window_that_met_too_few_candidates_is_trained_on_once_there_are_more(tmp_path: Path) -> None:
    """The refusal says to wait for candidates: whoever does must not lose what came meanwhile."""
    limits = replace(UNCOMPARED, min_corpus=200)
    setting = a_setting(tmp_path, replace(PLAN, finetune=FinetuneConfig(replay=1.0, limits=limits)))
    setting.log.fill()
    first = setting.schedule.step()
    assert first is not None
    setting.log.stage((first, Stage.LIVE))
    setting.log.examples, setting.log.corpus = WORLD.examples[:2_100], WORLD.corpus[:150]
    setting.clock.now_s += 3_600
    with pytest.raises(Refused, match=r"corpus 150 is below 200 \(wait for more candidates\)"):
        setting.schedule.step()
    assert setting.measured("roost_passed_over_examples_total") is None
    setting.log.examples, setting.log.corpus = WORLD.examples, WORLD.corpus
    setting.clock.now_s += 3_600
    second = setting.schedule.step()
    assert second is not None
    manifest = read_bundle(setting.registry, SURFACE.name, second).manifest
    assert (manifest.examples["0"][0], manifest.metrics["passed_over_examples"]) == (450, 0)


def test_a_fine_tune_refused_for_drift_is_made_once_more_with_heavier_replay(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """From the same parent on the same window: nobody has to come by, and what was learned since the anchor is kept."""
    name = "popularity_correlation_against_anchor"
    forgetful = FinetuneConfig(learning_rate=3e-3, epochs=2, anchor_fine_tunes=0)

    def tuned(folder: str, *, replay: float, rise: float, drift_replay: float, steps: int = 0) -> Setting:
        """Pre-train, fine-tune what is live, and return the schedule that did."""
        limits = GateLimits(
            popularity_correlation_rise=2.0, popularity_correlation_free=-1.0, anchor_popularity_correlation_rise=rise
        )
        plan = replace(
            PLAN, finetune=replace(forgetful, replay=replay, limits=limits, draw_back_steps=steps), drift_replay=drift_replay
        )
        setting = a_setting(tmp_path / folder, plan)
        setting.log.fill()
        first = setting.schedule.step()
        assert first is not None
        setting.log.stage((first, Stage.LIVE))
        setting.log.examples = WORLD.examples[:2_400]
        setting.clock.now_s += 3_600
        setting.schedule.step()
        return setting

    # what each weight of replay comes to, where nothing is refused
    light, heavy = (
        newest_gates(tuned(f"free-{replay:g}", replay=replay, rise=2.0, drift_replay=0.0))[name] for replay in (0.0, 16.0)
    )
    assert heavy.value < light.value
    between = (light.value + heavy.value) / 2 - (light.limit - 2.0)

    setting = tuned("again", replay=0.0, rise=between, drift_replay=16.0)
    assert newest_gates(setting)[name].value == heavy.value
    assert "once more, with replay of weight 16" in caplog.text
    assert setting.measured("roost_gate_verdicts_total", gate=name, verdict="failed") == 1
    assert setting.measured("roost_gate_verdicts_total", gate=name, verdict="passed") == 1
    assert "auc_against_live" not in newest_gates(setting), "the live bundle's AUC is what its drift has bought"
    with pytest.raises(Refused, match=name):
        tuned("never", replay=0.0, rise=between, drift_replay=0.0)

    # more than even the second may: neither is refused for good
    least = max(heavy.value - (light.limit - 2.0), 0.0) / 2
    for folder, drift_replay in (("back", 16.0), ("back-at-once", 0.0)):
        setting = tuned(folder, replay=0.0, rise=least, drift_replay=drift_replay, steps=50)
        assert newest_gates(setting)[name].value <= light.limit - 2.0 + least
        assert "is drawn back, to 0." in caplog.text
        assert setting.measured("roost_trainings_total", recipe=FINETUNE, outcome="published") == 1
        caplog.clear()


def newest_gates(setting: Setting) -> dict[str, Gate]:
    """Return the verdicts on the newest bundle by name."""
    bundle = list_bundles(setting.registry, SURFACE.name)[-1]
    return {gate.name: gate for gate in read_bundle(setting.registry, SURFACE.name, bundle).manifest.gates}


def test_nothing_is_trained_while_a_feature_is_served_otherwise_than_the_trainer_computes_it(tmp_path: Path) -> None:
    """An embedder of another release cuts the topics: towers trained on the others would be wrong in silence."""
    setting = a_setting(tmp_path, replace(PLAN, skew_sample=500, interval_s=0))
    setting.log.corpus = WORLD.corpus
    setting.log.examples = [replace(one, candidate=replace(one.candidate, topics=())) for one in WORLD.examples[:1_200]]
    with pytest.raises(Refused, match=r"feature_skew 1 is above 0\.05 \(candidate feature topics, .*: served \(\), computed"):
        setting.schedule.step()
    assert list_bundles(tmp_path, SURFACE.name) == []
    # mended: of the newest 500 served ones none differs any more
    setting.log.examples += WORLD.examples[1_200:2_100]
    bundle = setting.schedule.step()
    assert bundle is not None
    gates = read_bundle(tmp_path, SURFACE.name, bundle).manifest.gates
    assert [gate.value for gate in gates if gate.name == "feature_skew"] == [0.0]


def test_a_broker_that_goes_away_before_the_audit_costs_no_attempt(tmp_path: Path) -> None:
    """Counted as one, the training would wait for further examples, and there may be none for hours."""
    setting = a_setting(tmp_path, replace(PLAN, skew_sample=500))
    setting.log.fill()
    setting.log.evidence_is_away = True
    with pytest.raises(BrokerUnavailable):
        setting.schedule.step()
    setting.log.evidence_is_away = False
    assert setting.schedule.step() is not None


def test_a_live_bundle_that_cannot_be_tuned_is_followed_by_a_pretrained_one(setting: Setting) -> None:
    """Made elsewhere, without weights: the loop goes on, compared with it all the same."""
    live = publish_bundle(setting.registry)
    setting.log.stage((live, Stage.LIVE))
    setting.log.fill()
    bundle = setting.schedule.step()
    assert bundle is not None
    manifest = read_bundle(setting.registry, SURFACE.name, bundle).manifest
    assert manifest.recipe == PRETRAIN
    assert any(gate.name == "auc_against_live" for gate in manifest.gates)


def an_ensembles_setting(tmp_path: Path) -> Setting:
    """Return a schedule of ensembles that are trained in no time."""
    parts = tuple(PartConfig(part.name, part.objective, epochs=1, weight=part.weight) for part in PARTS)
    return a_setting(tmp_path, replace(PLAN, ensemble=EnsembleConfig(parts=parts, min_steps=20, limits=UNCOMPARED)))


def test_a_schedule_of_ensembles_puts_one_in_the_place_of_towers_once_fresh_examples_have_come(tmp_path: Path) -> None:
    """It is trained on all that is held, and not on the same that the towers were."""
    made, setting = a_setting(tmp_path, PLAN), an_ensembles_setting(tmp_path)
    for one in (made, setting):
        one.log.fill()
    towers = made.schedule.step()
    assert towers is not None
    setting.log.stage((towers, Stage.LIVE))
    assert setting.schedule.step() is None
    setting.log.examples = WORLD.examples[:2_400]
    second = setting.schedule.step()
    assert second is not None
    manifest = read_bundle(setting.registry, SURFACE.name, second).manifest
    assert (manifest.recipe, manifest.parent) == (ENSEMBLE, None)
    assert manifest.examples == {"0": (0, 900), "1": (0, 900)}, "three quarters of all"
    assert any(gate.name == "auc_against_live" for gate in manifest.gates)


@pytest.mark.parametrize("then", [an_ensembles_setting, partial(a_setting, plan=PLAN)], ids=["ensemble", "finetune"])
def test_a_live_ensemble_is_tuned_on_what_came_since_whatever_is_trained_from_scratch(
    tmp_path: Path, then: Callable[[Path], Setting]
) -> None:
    """Whoever put one live would else get one pair of towers in its place, or three trainings an interval for one."""
    made, setting = an_ensembles_setting(tmp_path), then(tmp_path)
    for one in (made, setting):
        one.log.fill()
    first = made.schedule.step()
    assert first is not None
    setting.log.stage((first, Stage.LIVE))
    setting.log.examples = WORLD.examples[:2_400]
    second = setting.schedule.step()
    assert second is not None
    manifest = read_bundle(setting.registry, SURFACE.name, second).manifest
    assert (manifest.recipe, manifest.parent) == (FINETUNE, first)
    assert manifest.examples["0"][0] == 450, "what the first held out, and what came since"


def test_a_live_bundle_that_is_not_in_the_registry_is_said_not_guessed(setting: Setting) -> None:
    """Fine-tuning something else in its place would put the wrong towers live."""
    setting.log.stage(("0123456789abcdef", Stage.LIVE))
    with pytest.raises(BundleCorrupt, match=r"the live bundle cannot be read: .*0123456789abcdef"):
        setting.schedule.step()


def test_a_bundle_that_cannot_be_published_is_not_called_the_live_one(
    remote: RemoteRegistry, setting: Setting, caplog: pytest.LogCaptureFixture
) -> None:
    """Whoever reads the log would look for damage where there is none. The others' trainings go on."""
    schedule = SurfaceSchedule(SURFACE, setting.log, PLAN, registry=remote, wall_clock_s=setting.clock, monotonic_s=setting.clock)
    setting.log.fill()
    fsspec.filesystem("memory").rm("/bucket", recursive=True)
    untold: dict[str, str] = {}
    step(SURFACE.name, schedule, lambda *_: None, untold, TrainerMetrics())
    assert f"{SURFACE.name}: the new bundle cannot be published: the registry memory://bucket" in caplog.text
    assert untold == {}


def test_what_a_registry_that_was_away_did_not_take_is_trained_again_once_it_is_back(
    remote: RemoteRegistry, setting: Setting
) -> None:
    """A minute's outage had the trainer wait until as many further examples had come: of a quiet surface for hours."""
    schedule = SurfaceSchedule(SURFACE, setting.log, PLAN, registry=remote, wall_clock_s=setting.clock, monotonic_s=setting.clock)
    setting.log.fill()
    fsspec.filesystem("memory").rm("/bucket", recursive=True)
    with pytest.raises(BundlesUnavailable):
        schedule.step()
    fsspec.filesystem("memory").mkdir("/bucket")
    setting.clock.now_s += 59
    assert schedule.step() is None, "the interval holds"
    setting.clock.now_s += 2
    assert schedule.step() is not None


def test_a_topic_that_was_created_anew_is_not_taken_for_one_without_further_examples(setting: Setting) -> None:
    """Its offsets begin at 0 once more: nothing was trained until it had grown past where the old one ended."""
    setting.log.fill()
    assert setting.schedule.step() is not None
    setting.log.examples = WORLD.examples[1_200:2_300]
    setting.clock.now_s += 61
    assert setting.schedule.step() is not None


def test_a_trainer_that_was_down_while_its_topic_outgrew_the_one_before_passes_over_nothing(setting: Setting) -> None:
    """The live bundle's offsets were taken for those of the new topic: its first examples were trained on by nobody."""
    setting.log.fill()
    first = setting.schedule.step()
    assert first is not None
    setting.log.stage((first, Stage.LIVE))
    setting.log.topic_id, setting.log.examples = "second", WORLD.examples[1_200:2_900]
    setting.clock.now_s += 61
    second = setting.restarted().schedule.step()
    assert second is not None
    bundle = read_bundle(setting.registry, SURFACE.name, second)
    assert bundle.manifest.parent == first
    assert {begin for begin, _ in bundle.manifest.examples.values()} == {0}
    assert lineage_of(bundle).examples_topic == "second"


def test_a_bundle_that_the_controller_does_not_take_is_counted_and_let_go(setting: Setting) -> None:
    """Offered again and again it would be refused again and again, and hide the next one."""
    setting.log.fill()
    metrics = TrainerMetrics(measured := CollectorRegistry())
    untold: dict[str, str] = {}

    def refuse(surface: str, bundle: str) -> None:
        raise CompareAndSetLost(f"{surface} moved on before {bundle}")

    step(SURFACE.name, setting.schedule, refuse, untold, metrics)
    assert untold == {}
    assert len(list_bundles(setting.registry, SURFACE.name)) == 1
    assert measured.get_sample_value("roost_rollouts_refused_total", {"surface": SURFACE.name}) == 1


@pytest.mark.parametrize("away", [ControllerUnavailable("no controller answered"), BrokerUnavailable("no broker")])
def test_a_bundle_that_nobody_answered_for_is_handed_over_when_somebody_does(setting: Setting, away: RoostError) -> None:
    """A controller that was being restarted ended the trainer, all its surfaces' schedules, and the bundle never went out."""
    setting.log.fill()
    untold: dict[str, str] = {}
    asked: list[str] = []

    def ask(_surface: str, bundle: str) -> None:
        asked.append(bundle)
        if len(asked) == 1:
            raise away

    for _ in range(3):
        step(SURFACE.name, setting.schedule, ask, untold, TrainerMetrics())
    assert asked == 2 * list_bundles(setting.registry, SURFACE.name)
    assert untold == {}


def test_a_bundle_that_waits_for_its_rollout_outlasts_a_training_that_is_refused(tmp_path: Path) -> None:
    """The refusal was taken for one of the rollout: a bundle that had passed every gate was forgotten."""
    setting = a_setting(tmp_path, replace(PLAN, pretrain=replace(PLAN.pretrain, limits=GateLimits(min_auc=0.0))))
    setting.log.fill()
    untold: dict[str, str] = {}

    def away(_surface: str, _bundle: str) -> None:
        raise BrokerUnavailable("no broker answers")

    step(SURFACE.name, setting.schedule, away, untold, TrainerMetrics())
    [bundle] = list_bundles(setting.registry, SURFACE.name)
    refusing = a_setting(tmp_path, replace(PLAN, pretrain=replace(PLAN.pretrain, limits=GateLimits(min_auc=1.0))))
    refusing.log.fill()
    metrics = TrainerMetrics(measured := CollectorRegistry())
    step(SURFACE.name, refusing.schedule, away, untold, metrics)
    assert list_bundles(setting.registry, SURFACE.name) == [bundle], "the second training was refused"
    assert untold == {SURFACE.name: bundle}
    assert measured.get_sample_value("roost_rollouts_refused_total", {"surface": SURFACE.name}) is None


def test_a_trainer_that_starts_knows_how_old_the_newest_bundle_is(tmp_path: Path) -> None:
    """Its restart must not make an old bundle young, nor end the alert on it."""
    bundle = publish_bundle(tmp_path)
    metrics = TrainerMetrics(measured := CollectorRegistry())
    note_newest(tmp_path, SURFACE.name, metrics)
    created_s = read_bundle(tmp_path, SURFACE.name, bundle).manifest.created_ms / 1000
    assert measured.get_sample_value("roost_bundle_created_timestamp_seconds", {"surface": SURFACE.name}) == created_s
