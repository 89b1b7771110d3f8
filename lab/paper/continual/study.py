"""Fine-tuning every day on what one's own index served, for two weeks of drift: three ways to go on, side by side.

All begin with the same towers, trained by the product's recipes on days that the production heuristics served; where asked for, an
ensemble of the same days goes on beside them. From then on the visits are the same, but every line serves its own users and learns
from nothing else. Between index and user stands the full ranker, as in the paper (section 3.3): what it leaves out, a log of
served traffic never shows.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import NotRequired, Protocol, Self, TypedDict

import numpy as np

from lab.paper.continual.feed import Past
from lab.paper.continual.gated import Window, ensembled, pretrained, tuned
from lab.paper.continual.line import Arm, Line, Measured, cut
from lab.paper.continual.served_log import ServedLog
from lab.paper.experiment import set_threads
from lab.paper.intervals import seeds_range
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
    def of(cls, *, days: int = 14, replay: float | None = None, ensemble: bool = False, threads: int = 1) -> Self:
        """Return the study of the schedule's recipe.

        Args:
            replay: another weight of replayed random negatives than the shipped one.
            ensemble: with an ensemble's lines.
        """
        schedule = SCHEDULE if replay is None else replace(SCHEDULE, replay=replay)
        shipped = (*ARMS, *ENSEMBLES) if ensemble else ARMS
        arms = tuple(replace(arm, tuning=schedule) if arm.tuning == SCHEDULE else arm for arm in shipped)
        return cls(days=days, first_tuning=schedule, arms=arms, threads=threads)

    def __post_init__(self) -> None:
        """Raise `InvalidInput` where there is nothing to compare."""
        if self.days < 2:
            raise InvalidInput(f"{self.days} days are too few: on day 1 all lines are the same; ask for 2 at least")


class Row(TypedDict):
    """One day of one line, by the towers that were live on it, and what the gates said of those trained in its evening.

    Attributes:
        effective_share: the thermometer, see `thermometer.effective_share`.
        candidate_auc, live_auc: served AUC of the new and of the live towers on the held-out newest share; None of the frozen line.
        again: 1 where they came of a second attempt, since a first was refused for drift; over seeds their mean.
        tuned_share: they are so much of the way from the anchor to what the last attempt came to, since all of it was refused.
        accepted: 1 where every gate passed, 0 where one did not; over seeds their mean; None of the frozen line.
        refused_by: names of those that did not.
        ci: over seeds, the lowest and the highest by figure; None of one seed.
    """

    arm: str
    day: int
    auc: float | None
    language_mismatch: float | None
    engagement_at_10: float | None
    engagement_at_200: float | None
    effective_share: float | None
    candidate_auc: float | None
    live_auc: float | None
    again: float | None
    tuned_share: float | None
    accepted: float | None
    refused_by: list[str]
    ci: dict[str, list[float] | None]


_FIGURES = (
    "auc",
    "language_mismatch",
    "engagement_at_10",
    "engagement_at_200",
    "effective_share",
    "candidate_auc",
    "live_auc",
    "again",
    "tuned_share",
    "accepted",
)


class Summary(TypedDict):
    """A study in a few figures.

    Attributes:
        mismatch_rise: of Roost's line, its worst day less its first.
        naive_mismatch_rise, frozen_mismatch_rise: likewise.
        vs_frozen, vs_naive: Roost's mean true engagement of the top 10 over days 2 to the last, divided by the other line's.
        naive_refusals, roost_refusals: evenings on which a gate refused the new towers, of `days`.
        roost_again: evenings on which Roost's first attempt was refused for drift, and a second was made.
        roost_drawn_back: evenings on which both were, and what was accepted lies between the anchor and the second.
        naive_auc_rises: of the naive refusals, those in which served AUC rose all the same.
    """

    mismatch_rise: float
    naive_mismatch_rise: float
    frozen_mismatch_rise: float
    vs_frozen: float
    vs_naive: float
    naive_refusals: float
    naive_auc_rises: float
    roost_refusals: float
    roost_again: float
    roost_drawn_back: float


class EnsembleSummary(TypedDict):
    """An ensemble's line in a few figures, each as `Summary` has it of Roost's.

    Attributes:
        frozen_mismatch_rise: of the ensemble that stays as it is.
        vs_frozen, vs_naive, vs_roost: against the towers' lines.
        vs_frozen_ensemble: against the ensemble that stays as it is.
    """

    mismatch_rise: float
    frozen_mismatch_rise: float
    vs_frozen: float
    vs_naive: float
    vs_roost: float
    vs_frozen_ensemble: float
    refusals: float
    again: float
    drawn_back: float


class Study(Summary):
    """`rows` and the summary are means over the seeds; `per_seed` has the rows of each, `summaries` the summary.

    `replay` is the weight of replayed random negatives in the recipe under study. `ensemble` and `ensembles` are there where an
    ensemble went on beside the towers: the means over the seeds, and each seed's.
    """

    days: int
    replay: float
    seeds: list[int]
    rows: list[Row]
    per_seed: list[list[Row]]
    summaries: list[Summary]
    ensemble: NotRequired[EnsembleSummary]
    ensembles: NotRequired[list[EnsembleSummary]]


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
    return _summed(per_seed, seeds, days=how.days, replay=how.first_tuning.replay)


def as_one(kept: Sequence[Study]) -> Study:
    """Return studies of different seeds as one.

    Raises:
        InvalidInput: a seed is in two of them, or they were run otherwise.
    """
    seeds = [seed for one in kept for seed in one["seeds"]]
    ways = {(one["days"], one["replay"], "ensemble" in one) for one in kept}
    if len(set(seeds)) < len(seeds) or len(ways) > 1:
        raise InvalidInput(
            f"the results are of seeds {seeds}, and of days, weight of replay and an ensemble or none {sorted(ways)}; "
            "give each seed once, run alike"
        )
    ((days, replay, _),) = ways
    return _summed([rows for one in kept for rows in one["per_seed"]], seeds, days=days, replay=replay)


def _summed(per_seed: Sequence[list[Row]], seeds: Sequence[int], *, days: int, replay: float) -> Study:
    summaries = [summary(rows) for rows in per_seed]
    means = {name: float(np.mean([one[name] for one in summaries])) for name in Summary.__annotations__}  # type: ignore[literal-required]
    study: Study = {
        "days": days,
        "replay": replay,
        "seeds": list(seeds),
        **means,  # type: ignore[typeddict-item]
        "summaries": summaries,
        "rows": [_mean(of_day) for of_day in zip(*per_seed, strict=True)],
        "per_seed": list(per_seed),
    }
    if any(row["arm"] == "ensemble" for row in per_seed[0]):
        study["ensembles"] = [ensemble_summary(rows) for rows in per_seed]
        study["ensemble"] = {  # type: ignore[typeddict-item]
            name: float(np.mean([one[name] for one in study["ensembles"]]))  # type: ignore[literal-required]
            for name in EnsembleSummary.__annotations__
        }
    return study


def summary(rows: Sequence[Row]) -> Summary:
    """Return the summary of one seed's rows."""
    frozen, naive, roost = (_of_arm(rows, name) for name in ("frozen", "naive", "roost"))
    refused = [row for row in naive if row["refused_by"]]
    return Summary(
        mismatch_rise=_rise(roost),
        naive_mismatch_rise=_rise(naive),
        frozen_mismatch_rise=_rise(frozen),
        vs_frozen=_engagement(roost) / _engagement(frozen),
        vs_naive=_engagement(roost) / _engagement(naive),
        naive_refusals=len(refused),
        naive_auc_rises=sum((row["candidate_auc"] or 0.0) > (row["live_auc"] or 0.0) for row in refused),
        roost_refusals=_refusals(roost),
        roost_again=_again(roost),
        roost_drawn_back=_drawn_back(roost),
    )


def ensemble_summary(rows: Sequence[Row]) -> EnsembleSummary:
    """Return the summary of an ensemble's line, of one seed's rows."""
    line, still = _of_arm(rows, "ensemble"), _of_arm(rows, "frozen ensemble")
    engagement = _engagement(line)
    return EnsembleSummary(
        mismatch_rise=_rise(line),
        frozen_mismatch_rise=_rise(still),
        vs_frozen=engagement / _engagement(_of_arm(rows, "frozen")),
        vs_naive=engagement / _engagement(_of_arm(rows, "naive")),
        vs_roost=engagement / _engagement(_of_arm(rows, "roost")),
        vs_frozen_ensemble=engagement / _engagement(still),
        refusals=_refusals(line),
        again=_again(line),
        drawn_back=_drawn_back(line),
    )


def _of_arm(rows: Sequence[Row], name: str) -> list[Row]:
    return [row for row in rows if row["arm"] == name]


def _engagement(line: Sequence[Row]) -> float:
    return float(np.mean([row["engagement_at_10"] for row in line if row["day"] > 1]))


def _rise(line: Sequence[Row]) -> float:
    mismatches = [row["language_mismatch"] or 0.0 for row in line]
    return max(mismatches) - mismatches[0]


def _refusals(line: Sequence[Row]) -> int:
    return sum(bool(row["refused_by"]) for row in line)


def _again(line: Sequence[Row]) -> float:
    return sum(row["again"] or 0.0 for row in line)


def _drawn_back(line: Sequence[Row]) -> int:
    return sum((row["tuned_share"] or 1.0) < 1.0 for row in line)


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
    return _typed(line.arm.name, day, figures, refused_by, {})


def _mean(of_day: Sequence[Row]) -> Row:
    figures: dict[str, float | None] = {}
    spread: dict[str, list[float] | None] = {}
    for name in _FIGURES:
        values = [row[name] for row in of_day if row[name] is not None]  # type: ignore[literal-required]
        if values:
            figures[name], spread[name] = float(np.mean(values)), seeds_range(values)
    refused_by = sorted({name for row in of_day for name in row["refused_by"]})
    return _typed(of_day[0]["arm"], of_day[0]["day"], figures, refused_by, spread)


def _typed(arm: str, day: int, figures: dict[str, float | None], refused_by: list[str], ci: dict[str, list[float] | None]) -> Row:
    known = {
        name: value if value is not None and np.isfinite(value) else None for name in _FIGURES for value in [figures.get(name)]
    }
    row: Row = {"arm": arm, "day": day, **known, "refused_by": refused_by, "ci": ci}  # type: ignore[typeddict-item]
    return row
