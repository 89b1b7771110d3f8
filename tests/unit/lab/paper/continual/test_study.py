"""The study of continual training on a small world: who learns from what, who obeys the gates, and what is summed up."""

import json
from dataclasses import replace

import numpy as np
import pytest

from lab.observed.log import Engagements, Impressions
from lab.paper.continual.line import Arm
from lab.paper.continual.served_log import ServedLog
from lab.paper.continual.study import FROZEN, NAIVE, ROOST, SCHEDULE, ContinualSettings, continual
from lab.paper.continual.summed import Row, Study, as_one, ensemble_summary, summary
from lab.paper.encode import LogEncoder
from lab.world import WorldSettings
from lab.world.simulation import Simulation, write_log
from lab.world.world import World
from schemas.errors import InvalidInput
from schemas.features.catalog import CATALOG
from tests.gate_limits import ANY_QUALITY
from trainer.gates import GateLimits
from trainer.learning.towers import TowerConfig
from trainer.settings import TrainerSettings

SPEC = CATALOG["tweet-v1"]
SETTINGS = ContinualSettings(
    world=WorldSettings(users=150, authors=40, tweets_per_day=120, languages=4, willing_mean=1.0),
    days=2,
    warm_up_days=1,
    pretrain_days=1,
    finetune_days=1,
    test_users=40,
    towers=TowerConfig(dim=32, embedding_dim=8, hidden=(32,)),
)
# nothing passes: no AUC is above 1
CLOSED = replace(SCHEDULE, limits=GateLimits(min_auc=1.1))
# nothing but the anchor refuses
OPEN = replace(
    ANY_QUALITY,
    anchor_language_mismatch_rise=GateLimits().anchor_language_mismatch_rise,
    min_examples=1,
    min_positives=1,
    min_negatives=1,
    min_corpus=1,
    max_volume_change=1e9,
    max_label_rate_change=1e9,
    max_language_mix_change=1.0,
    canary_shift=2.0,
)


# four of its worlds are played: half as many users, for what its towers come to is not asked
SHUT = replace(
    SETTINGS,
    world=replace(SETTINGS.world, users=75, tweets_per_day=80),
    arms=(FROZEN, Arm("naive", CLOSED, gated=False), Arm("roost", CLOSED)),
)


@pytest.fixture(scope="module")
def study() -> Study:
    """Two days, with a line whose gates are shut and one that never looks at them."""
    return continual([3], SHUT)


@pytest.fixture(scope="module")
def both() -> Study:
    """The same of two seeds."""
    return continual([3, 4], SHUT)


def of(rows: list[Row], arm: str) -> list[Row]:
    """Return the rows of one line."""
    return [row for row in rows if row["arm"] == arm]


def test_a_refused_bundle_does_not_go_live_and_a_line_without_gates_goes_on(study: Study) -> None:
    """The naive line shows what the gates keep out; if Roost's line took refused towers too, it would show nothing."""
    frozen, naive, roost = (of(study["rows"], arm) for arm in ("frozen", "naive", "roost"))
    figures = ("auc", "language_mismatch", "engagement_at_10", "engagement_at_200", "effective_share")
    same = [[row[name] for name in figures] for row in frozen]  # type: ignore[literal-required]
    assert [[row[name] for name in figures] for row in roost] == same  # type: ignore[literal-required]
    assert [naive[0][name] for name in figures] == same[0], "on day 1 all lines are the same"  # type: ignore[literal-required]
    assert naive[1]["auc"] != frozen[1]["auc"]
    assert [row["accepted"] for row in (*naive, *roost)] == [0.0] * 4
    assert all("auc" in row["refused_by"] for row in (*naive, *roost))
    assert [row["accepted"] for row in frozen] == [None, None]
    assert (study["naive_refusals"], study["roost_refusals"]) == (2, 2)
    assert study["vs_frozen"] == pytest.approx(1.0)


def test_what_is_refused_for_drift_is_trained_once_more_as_the_schedule_does() -> None:
    """Both attempts of an evening are the study's finding: what the second is judged by, and that it was needed."""

    def line(name: str, rise: float, drift_replay: float) -> Arm:
        # whatever lies between is refused too: judged in two places on the way, not in the schedule's sixteen
        tuning = replace(SCHEDULE, limits=replace(OPEN, anchor_language_mismatch_rise=rise), draw_back_steps=2)
        return Arm(name, tuning, drift_replay=drift_replay)

    lines = (FROZEN, Arm("naive"), line("roost", -1.0, 16.0), line("near", 1.0, 16.0), line("once", -1.0, 0.0))
    found = continual([3], replace(SETTINGS, arms=lines))
    far, near, once = (of(found["rows"], name) for name in ("roost", "near", "once"))
    assert [row["again"] for row in far] == [1.0, 1.0]
    assert found["roost_again"] == 2
    assert [row["refused_by"] for row in far] == [["language_mismatch_at_5_against_anchor"]] * 2
    assert [(row["again"], row["accepted"]) for row in near] == [(0.0, 1.0)] * 2
    assert [(row["again"], row["accepted"]) for row in once] == [(0.0, 0.0)] * 2
    assert far[0]["candidate_auc"] != once[0]["candidate_auc"], "the second attempt is another training"


def test_towers_that_are_refused_as_they_are_go_live_drawn_back() -> None:
    """A line that stands still learns nothing of the drift; a schedule's two weeks are to be of one that goes on, as it does."""
    limits = replace(OPEN, sampled_auc_regression=0.005, anchor_language_mismatch_rise=1.0)
    naive = replace(SCHEDULE, learning_rate=3e-3, replay=0.0, limits=limits)

    def learned(steps: int) -> list[Row]:
        arms = (FROZEN, Arm("naive"), Arm("roost", replace(naive, draw_back_steps=steps)))
        found = continual([3], replace(SETTINGS, arms=arms))
        rows = of(found["rows"], "roost")
        assert found["roost_drawn_back"] == sum((row["tuned_share"] or 0.0) < 1 for row in rows)
        return rows

    still, slow = learned(0), learned(20)
    assert [(row["accepted"], row["tuned_share"]) for row in still] == [(0.0, 1.0)] * 2
    assert all("sampled_auc_against_anchor" in row["refused_by"] for row in still)
    assert [row["accepted"] for row in slow] == [1.0, 1.0]
    # of the second day's towers, which are others, a processor's rounding may decide
    assert 0 < (slow[0]["tuned_share"] or 0.0) < 1
    assert slow[1]["auc"] != still[1]["auc"], "other towers serve the second day"


def test_the_three_lines_of_the_command_differ_in_the_recipe_alone() -> None:
    """Naive is implicit negatives at ten times the schedule's learning rate; the schedule replays random ones."""
    assert (FROZEN.tuning, FROZEN.name) == (None, "frozen")
    assert NAIVE.tuning is not None
    assert ROOST.tuning is not None
    assert NAIVE.tuning.learning_rate == pytest.approx(10 * ROOST.tuning.learning_rate)
    assert [one.negatives.kind for one in NAIVE.tuning.objectives] == ["implicit"]
    assert [one.negatives.kind for one in ROOST.tuning.objectives] == ["implicit", "uniform"]
    assert (NAIVE.gated, ROOST.gated) == (False, True)
    assert (NAIVE.drift_replay, ROOST.drift_replay) == (0.0, TrainerSettings().drift_replay)
    assert (NAIVE.tuning.draw_back_steps, ROOST.tuning.draw_back_steps) == (0, TrainerSettings().draw_back_steps)
    heavier = ContinualSettings.of(replay=16.0)
    assert [arm.tuning and arm.tuning.replay for arm in heavier.arms] == [None, 0.0, 16.0]
    assert heavier.first_tuning.replay == 16.0
    laxer = ContinualSettings.of(anchor_rise=0.08)
    assert [arm.tuning and arm.tuning.limits for arm in laxer.arms] == [
        None,
        GateLimits(),
        GateLimits(anchor_language_mismatch_rise=0.08),
    ]
    assert ContinualSettings.of() == ContinualSettings(), "by default what the schedule ships"
    assert NAIVE.tuning.limits == ROOST.tuning.limits == GateLimits()


def test_a_study_is_one_json_object_and_equal_for_equal_seeds(study: Study, both: Study) -> None:
    """The contract of `roost paper continual --json`: no NaN, and a kept result can be made again."""
    assert (study["days"], study["replay"]) == (2, SCHEDULE.replay)
    assert study["anchor_rise"] == GateLimits().anchor_language_mismatch_rise
    assert {(row["arm"], row["day"]) for row in study["rows"]} == {(a, d) for a in ("frozen", "naive", "roost") for d in (1, 2)}
    for name in ("per_seed", "summaries"):
        assert json.dumps(both[name][0], allow_nan=False) == json.dumps(study[name][0], allow_nan=False)
    json.dumps(study, allow_nan=False)


def test_studies_of_different_seeds_become_one_as_if_run_together(study: Study, both: Study) -> None:
    """Seeds may run side by side, or on different nights; what is kept must be what one run would have given."""
    told: list[tuple[int, float]] = []
    other = continual([4], SHUT, on_progress=lambda *what: told.append(what))
    assert told == [(4, 0), (4, 1), (4, 2)]
    assert as_one([study, other]) == both
    with pytest.raises(InvalidInput, match="each seed once"):
        as_one([study, study])
    with pytest.raises(InvalidInput, match="run alike"):
        as_one([study, {**other, "days": 3}])
    with pytest.raises(InvalidInput, match="run alike"):
        as_one([study, {**other, "anchor_rise": 0.08}])


def test_an_ensemble_goes_on_beside_the_towers_by_the_same_recipe_and_learns() -> None:
    """Its own frozen line tells what the fine-tunes are worth; the towers' lines what the ensemble is."""
    arms = ContinualSettings.of(replay=2.0, ensemble=True).arms
    assert [(arm.name, arm.ensemble, arm.tuning and arm.tuning.replay) for arm in arms] == [
        ("frozen", False, None),
        ("naive", False, 0.0),
        ("roost", False, 2.0),
        ("frozen ensemble", True, None),
        ("ensemble", True, 2.0),
    ]
    assert replace(arms[4], name="roost", ensemble=False) == arms[2]
    # half as many users, as above
    world = replace(SETTINGS.world, users=75, tweets_per_day=80)
    open_to_all = tuple(replace(arm, tuning=arm.tuning and replace(SCHEDULE, limits=OPEN)) for arm in arms)
    found = continual([3], replace(SETTINGS, world=world, arms=open_to_all))
    still, line = of(found["rows"], "frozen ensemble"), of(found["rows"], "ensemble")
    assert line[0]["auc"] == still[0]["auc"] != of(found["rows"], "frozen")[0]["auc"]
    assert line[1]["auc"] != still[1]["auc"], "other towers serve the second day"
    assert found["ensemble"] == found["ensembles"][0]
    plain = continual([3], replace(SETTINGS, world=world, arms=open_to_all[:3]))
    assert plain["rows"] == [row for row in found["rows"] if "ensemble" not in row["arm"]], "the other lines are as without it"
    with pytest.raises(InvalidInput, match="run alike"):
        as_one([plain, {**found, "seeds": [4]}])


def test_one_day_is_nothing_to_compare() -> None:
    """On day 1 all lines serve with the same towers."""
    with pytest.raises(InvalidInput, match="at least"):
        ContinualSettings(days=1)


def test_the_summaries_are_those_worked_out_by_hand() -> None:
    """Day 1 is left out of the ratios; a rise is of the worst day, wherever it is."""

    def row(
        arm: str, day: int, *, engagement: float = 0.02, mismatch: float = 0.2, new_auc: float = 0.6, refused_by: str = ""
    ) -> Row:
        return {
            "arm": arm,
            "day": day,
            "auc": 0.6,
            "language_mismatch": mismatch,
            "engagement_at_10": engagement,
            "engagement_at_200": 0.01,
            "effective_share": 0.1,
            "candidate_auc": new_auc,
            "live_auc": 0.6,
            "again": float(arm == "roost" and day == 2),
            "tuned_share": {2: 0.6}.get(day, 1.0) if arm == "roost" else None,
            "accepted": float(not refused_by),
            "refused_by": [refused_by] if refused_by else [],
            "ci": {},
        }

    rows = [
        *(row("frozen", day) for day in (1, 2, 3)),
        row("naive", 1, new_auc=0.8, refused_by="language_mismatch"),
        row("naive", 2, engagement=0.01, mismatch=0.7, new_auc=0.5, refused_by="auc"),
        row("naive", 3, engagement=0.01, mismatch=0.6, new_auc=0.9),
        row("roost", 1, engagement=0.9),
        row("roost", 2, engagement=0.03, mismatch=0.24, refused_by="auc"),
        row("roost", 3, engagement=0.05, mismatch=0.21),
        *(row("frozen ensemble", day, engagement=0.04, mismatch=0.1 + day / 100) for day in (1, 2, 3)),
        row("ensemble", 1, mismatch=0.1),
        row("ensemble", 2, engagement=0.05, mismatch=0.11),
        row("ensemble", 3, engagement=0.07, mismatch=0.09, refused_by="auc"),
    ]
    found = summary(rows)
    # (.03 + .05) / (.02 + .02), and over (.01 + .01)
    assert [found["vs_frozen"], found["vs_naive"]] == pytest.approx([2.0, 4.0])
    assert found["mismatch_rise"] == pytest.approx(0.04)
    assert [found["naive_mismatch_rise"], found["frozen_mismatch_rise"]] == pytest.approx([0.5, 0.0])
    # of the two refused evenings, served AUC rose on one
    assert (found["naive_refusals"], found["naive_auc_rises"], found["roost_refusals"]) == (2, 1, 1)
    assert (found["roost_again"], found["roost_drawn_back"]) == (1, 1)
    # (.05 + .07) over (.02 + .02), (.01 + .01), (.03 + .05), (.04 + .04)
    assert ensemble_summary(rows) == pytest.approx(
        {
            "mismatch_rise": 0.01,
            "frozen_mismatch_rise": 0.02,
            "vs_frozen": 3.0,
            "vs_naive": 6.0,
            "vs_roost": 1.5,
            "vs_frozen_ensemble": 1.5,
            "refusals": 1,
            "again": 0,
            "drawn_back": 0,
        }
    )


def test_a_log_that_forgets_encodes_as_the_whole_log_does() -> None:
    """Impressions nobody reacted to are dropped once trained on; a counter or a history lost with them would be a skew."""
    world = World(replace(SETTINGS.world, seed=1))
    simulation, log = Simulation(world), ServedLog(world, SPEC)
    steps = []
    while simulation.time_s < 2 * 86_400:
        steps.append(simulation.step())
        log.append(steps[-1].impressions, steps[-1].engagements)
        if len(steps) == 24:
            log.forget(log.untrained)
    now_s = simulation.time_s
    whole = LogEncoder(write_log(world, steps, now_s, test_users=5), SPEC)
    users, alive = np.arange(len(world.users)), world.tweets.until(now_s).alive(now_s)
    at, then = np.full(len(users), now_s - 7200), np.full(len(alive), now_s - 7200)
    assert (log.encoder().queries(users, at).ids == whole.queries(users, at).ids).all()
    assert (log.encoder().candidates(alive, then) == whole.candidates(alive, then)).all()
    encoder, rows = log.window()
    assert len(rows) == log.untrained == sum(len(step.impressions) for step in steps[24:])
    window = encoder.examples(rows)
    # a window's own impressions are in the log twice where somebody reacted, and must be counted once
    shown = Impressions.joined([step.impressions for step in steps[24:]])
    assert (window.popularity == whole.state.popularity(shown.tweet, shown.time_s)).all()


def test_a_copy_of_a_log_goes_its_own_way() -> None:
    """Three lines begin with one past; what one of them serves must not be in another's histories."""
    world = World(SETTINGS.world)
    one = ServedLog(world, SPEC)
    simulation = Simulation(world)
    while not len((step := simulation.step()).impressions):
        pass
    one.append(step.impressions, step.engagements)
    other = one.copy()
    nothing = Engagements(np.zeros(0, np.int64), np.zeros(0, np.int8), np.zeros(0))
    other.append(step.impressions, nothing)
    other.forget(3)
    assert (one.untrained, other.untrained) == (len(step.impressions), 2 * len(step.impressions) - 3)
