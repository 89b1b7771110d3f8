"""Fine-tuning every day on what one's own index served, for two weeks of drift: three ways to go on, side by side.

All begin with the same towers, trained by the product's recipes on days that the production heuristics served; where asked for, an
ensemble of the same days goes on beside them. From then on the visits are the same, but every line serves its own users and learns
from nothing else. Between index and user stands the full ranker, as in the paper (section 3.3): what it leaves out, a log of
served traffic never shows.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Protocol, Self

import numpy as np

from lab.paper.continual.feed import Past
from lab.paper.continual.gated import Window, ensembled, pretrained, tuned
from lab.paper.continual.line import Arm, Line, Measured, cut
from lab.paper.continual.served_log import ServedLog
from lab.paper.continual.summed import Row, Study, summed, typed_row
from lab.paper.experiment import set_threads
from lab.paper.table2 import NOISE
from lab.world.policy import Visits
from lab.world.settings import DAY_S, WorldSettings
from lab.world.simulation import Simulation, truth_at
from lab.world.world import World
from schemas.errors import InvalidInput
from schemas.features.catalog import CATALOG
from schemas.features.spec import FeatureSpec
from trainer.learning.towers import TowerConfig, TwoTowers
from trainer.recipes import LEARNING_RATE, FinetuneConfig, PretrainConfig
from trainer.settings import TrainerSettings

_SHIPPED = TrainerSettings.model_fields
SCHEDULE = FinetuneConfig(replay=_SHIPPED["replay"].default, draw_back_steps=_SHIPPED["draw_back_steps"].default)
FROZEN = Arm("frozen")
# implicit negatives only, at the learning rate of the pre-training; it goes live whatever the gates say
NAIVE = Arm("naive", FinetuneConfig(learning_rate=LEARNING_RATE), gated=False)
ROOST = Arm("roost", SCHEDULE, drift_replay=_SHIPPED["drift_replay"].default)
ARMS = (FROZEN, NAIVE, ROOST)
ENSEMBLES = (Arm("frozen ensemble", ensemble=True), replace(ROOST, name="ensemble", ensemble=True))


@dataclass(frozen=True, slots=True)
class ContinualSettings:
    """What is run for each seed.

    Attributes:
        world: the world; its seed is the study's.
        days: served by the lines' own towers.
        warm_up_days: of the production heuristics, not trained on: nobody has a history yet.
        pretrain_days: then, of production too, what the towers are pre-trained on.
        finetune_days: then what they are fine-tuned on before they go live: the paper deploys no other model (section 6.2).
        ranker_noise: standard deviation that the ranker between index and user adds to the logit of p, as in Table 2; None for no
            ranker: what is nearest is shown.
        first_tuning: the fine-tuning before the lines part; the schedule's.
        arms: the lines.
        test_users: users whose retrieval is judged every evening.
        threads: of torch; figures are equal only for equal threads.
    """

    world: WorldSettings = field(default_factory=WorldSettings)
    days: int = 14
    warm_up_days: int = 2
    pretrain_days: int = 2
    finetune_days: int = 1
    ranker_noise: float | None = NOISE
    test_users: int = 500
    spec: FeatureSpec = CATALOG["tweet-v1"]
    towers: TowerConfig = field(default_factory=lambda: TowerConfig(dim=32))
    pretrain: PretrainConfig = field(default_factory=PretrainConfig)
    first_tuning: FinetuneConfig = SCHEDULE
    arms: tuple[Arm, ...] = ARMS
    threads: int = 1

    @classmethod
    def of(
        cls,
        *,
        days: int = 14,
        replay: float | None = None,
        anchor_rise: float | None = None,
        ensemble: bool = False,
        threads: int = 1,
    ) -> Self:
        """Return the study of the schedule's recipe.

        Args:
            replay: another weight of replayed random negatives than the shipped one.
            anchor_rise: another limit on how far mismatch may lie above the anchor's.
            ensemble: with an ensemble's lines.
        """
        schedule = SCHEDULE if replay is None else replace(SCHEDULE, replay=replay)
        if anchor_rise is not None:
            schedule = replace(schedule, limits=replace(schedule.limits, anchor_language_mismatch_rise=anchor_rise))
        shipped = (*ARMS, *ENSEMBLES) if ensemble else ARMS
        arms = tuple(replace(arm, tuning=schedule) if arm.tuning == SCHEDULE else arm for arm in shipped)
        return cls(days=days, first_tuning=schedule, arms=arms, threads=threads)

    def __post_init__(self) -> None:
        """Raise `InvalidInput` where there is nothing to compare."""
        if self.days < 2:
            raise InvalidInput(f"{self.days} days are too few: on day 1 all lines are the same; ask for 2 at least")


OnProgress = Callable[[int, float], None]


def continual(
    seeds: Sequence[int], settings: ContinualSettings | None = None, *, on_progress: OnProgress = lambda _s, _d: None
) -> Study:
    """Run the study: one world a seed. Told of progress: the seed and the day that begins, 0 for the common past.

    Raises:
        Refused: the production days hold nothing to learn from.
    """
    how = settings or ContinualSettings()
    set_threads(how.threads)
    per_seed = [_of_seed(seed, how, on_progress) for seed in seeds]
    tuning = how.first_tuning
    rise = tuning.limits.anchor_language_mismatch_rise
    return summed(per_seed, seeds, days=how.days, replay=tuning.replay, anchor_rise=rise)


def _of_seed(seed: int, how: ContinualSettings, on_progress: OnProgress) -> list[Row]:
    on_progress(seed, 0)
    simulation = Simulation(World(replace(how.world, seed=seed)))
    made = produced(simulation, how, seed)
    # an ensemble is three trainings: none where no line begins with one
    pasts = {kind: _past(simulation, made, how, seed, ensemble=kind) for kind in {arm.ensemble for arm in how.arms}}
    world, begin_s = simulation.world, simulation.time_s
    lines = [Line(arm, pasts[arm.ensemble], ranker_noise=how.ranker_noise) for arm in how.arms]
    simulation.hand_over()
    users = np.sort(world.rng(5).permutation(len(world.users))[: how.test_users])
    rows = []
    for day in range(1, how.days + 1):
        on_progress(seed, day)
        play(simulation, lines, begin_s + day * DAY_S)
        truth = truth_at(world, users, simulation.time_s)
        rows += [_row(line, day, line.measure(truth), simulation.time_s, seed=seed) for line in lines]
    return rows


@dataclass(frozen=True, slots=True, eq=False)
class Production:
    """What the production heuristics left: a log, pre-trained towers with their window, and the window since."""

    log: ServedLog
    pretrained: TwoTowers
    first: Window
    fresh: Window


def produced(simulation: Simulation, how: ContinualSettings, seed: int) -> Production:
    """Play the days of production, and pre-train on some of them as the schedule does."""
    world = simulation.world
    log = ServedLog(world, how.spec)
    _produce(simulation, log, how.warm_up_days)
    log.forget(log.untrained)
    _produce(simulation, log, how.pretrain_days)
    first, trained = cut(log, world, simulation.time_s)
    log.forget(trained)
    towers = pretrained(first, how.spec, how.towers, how.pretrain, seed=seed)
    _produce(simulation, log, how.finetune_days)
    second, trained = cut(log, world, simulation.time_s)
    log.forget(trained)
    return Production(log, towers, first, second)


def common_past(simulation: Simulation, how: ContinualSettings, seed: int) -> Past:
    """Play the days of production, pre-train on some and fine-tune on the last, as the schedule does."""
    return _past(simulation, produced(simulation, how, seed), how, seed)


def _past(simulation: Simulation, made: Production, how: ContinualSettings, seed: int, *, ensemble: bool = False) -> Past:
    first = ensembled(made.first, how.spec, how.towers, seed=seed) if ensemble else made.pretrained
    live = tuned(first, made.fresh, how.first_tuning, seed=seed)
    return Past(simulation.world, made.log, simulation.shown, live, made.fresh, (made.first.profile, made.fresh.profile))


def _produce(simulation: Simulation, log: ServedLog, days: int) -> None:
    end_s = simulation.time_s + days * DAY_S
    while simulation.time_s < end_s:
        step = simulation.step()
        log.append(step.impressions, step.engagements)


class Serving(Protocol):
    """What answers visits."""

    def serve(self, visits: Visits, start_s: float, step: int) -> None:
        """Answer a step's visits."""
        ...


def play(simulation: Simulation, lines: Sequence[Serving], until_s: float) -> None:
    """Let every line serve the same visits up to a time; the production policy has handed over."""
    while simulation.time_s < until_s:
        start_s = simulation.time_s
        visits = simulation.step().visits
        for line in lines:
            line.serve(visits, start_s, round(start_s))


def _row(line: Line, day: int, measured: Measured, now_s: float, *, seed: int) -> Row:
    candidate = line.learn(now_s, seed=seed + day)
    figures: dict[str, float | None] = dict(asdict(measured))
    refused_by: list[str] = []
    if candidate is not None:
        refused_by = candidate.refused_by
        figures |= {
            "candidate_auc": candidate.auc,
            "live_auc": candidate.live_auc,
            "again": float(candidate.again),
            "tuned_share": candidate.share,
            "accepted": float(not refused_by),
        }
    return typed_row(line.arm.name, day, figures, refused_by, {})
