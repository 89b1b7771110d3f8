"""The study of the gates on a small world: who is judged by what, and how candidates of all seeds are put together."""

import json
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from lab.observed.columns import Ints
from lab.observed.log import Truth
from lab.paper.continual.study import SCHEDULE, ContinualSettings
from lab.paper.gate_study.judged import METRICS, judged, outcomes_of, recall
from lab.paper.gate_study.scene import Scene
from lab.paper.gate_study.study import GateStudySettings, gates
from lab.paper.gate_study.summed import GateStudy, Row, judged_again, summed
from lab.paper.gate_study.variants import VARIANTS, Variant
from lab.world.settings import DAY_S
from schemas.errors import InvalidInput
from schemas.manifest import Metric
from trainer.data.columns import IMPLICIT_NEGATIVE, POSITIVE, Corpus, Examples, Queries
from trainer.evaluation import evaluate
from trainer.learning.objectives import Objective
from trainer.learning.towers import TorchEmbedder

SAME = Variant("next to nothing", replace(SCHEDULE, learning_rate=1e-9))
BROKEN = Variant("against the labels", replace(SCHEDULE, learning_rate=3e-2, epochs=3, replay=0.0))
OUTCOMES = ("ab_favorite_pct", "ab_retweet_pct", "noisy_favorite_pct", "noisy_retweet_pct", "engagement_at_10_pct")


def test_a_bundle_that_is_the_live_one_is_accepted_and_changes_nothing(stage: Scene, base: ContinualSettings) -> None:
    """The zero of every scale: were candidate and live judged on different windows, it would show here."""
    found = judged(SAME, stage, base.towers, seed=0)
    assert all(gate.passed for gate in found.gates if gate.name.endswith("_against_live"))
    assert found.metrics.keys() == found.live_metrics.keys() == METRICS.keys()
    for name, value in found.metrics.items():
        assert value == pytest.approx(found.live_metrics[name], abs=2e-3), name
    assert all(abs(one.value) < 0.5 for one in found.outcomes.values())


def test_the_gates_are_asked_as_in_production_with_the_live_towers_on_the_same_window(
    stage: Scene, base: ContinualSettings
) -> None:
    """The live figures are those of `trainer.evaluation` on the scene's window, and all four kinds of gates were asked."""
    found = judged(BROKEN, stage, base.towers, seed=0)
    measured = evaluate(TorchEmbedder(stage.live), stage.window.evaluation, stage.window.corpus)
    for name in ("auc", "per_user_auc", "sampled_auc", "language_mismatch", "popularity_correlation"):
        assert found.live_metrics[name] == measured[name]
    names = {gate.name for gate in found.gates}
    assert {"label_rate", "volume_change", "auc_against_live", "auc_against_anchor", "canary_vectors"} <= names
    assert found.metrics["canary_shift"] > 0.01
    gate = next(gate for gate in found.gates if gate.name == "canary_shift_against_live")
    assert gate.value == found.metrics["canary_shift"]


def test_the_day_is_one_that_the_live_towers_served(stage: Scene) -> None:
    """Candidates learn from what came of the live index; what it never retrieved nobody could have been shown."""
    now_s = stage.truth.time_s
    held_out = stage.window.evaluation
    assert held_out.event_time_ms.max() <= now_s * 1000
    assert held_out.event_time_ms.min() > (now_s - DAY_S) * 1000
    assert len(stage.window.train) > 3 * len(held_out)
    assert stage.lists.shape == (40, 200)


def test_outcomes_are_relative_to_the_live_lists_and_in_percent() -> None:
    """Two users, three candidates with p .1, .2, .3 for both: the live list holds the first, the other the last."""
    p = np.array([[0.1, 0.2, 0.3], [0.1, 0.2, 0.3]])
    truth = Truth(0.0, np.arange(2), np.arange(3), p, p * 0.7, p * 0.1, np.ones((2, 3), np.bool_))

    def lists(column: int) -> Ints:
        return np.full((2, 1), column, np.int64)

    found = outcomes_of(truth, lists(2), lists(0))
    # .3 against .1 is three times as much: 200% more, whatever the ranker, since there is nothing to rank
    assert [found[name].value for name in OUTCOMES] == pytest.approx([200.0] * len(OUTCOMES))
    assert outcomes_of(truth, lists(0), lists(2))["engagement_at_200_pct"].value == pytest.approx(-200 / 3)


def test_recall_counts_held_out_positives_that_can_still_be_retrieved(stage: Scene) -> None:
    """With a corpus of 200 everything is among the nearest 200; what has expired is in neither part of the share."""
    window, model = stage.window, TorchEmbedder(stage.live)
    held_out = window.evaluation
    items = np.unique(held_out.items[held_out.positives])
    few = np.flatnonzero(np.isin(window.corpus.items, items))[:150]
    corpus = window.corpus
    small = replace(
        window,
        corpus=replace(
            corpus,
            candidate_ids=corpus.candidate_ids[few],
            items=corpus.items[few],
            languages=corpus.languages[few],
            popularity=corpus.popularity[few],
        ),
    )
    assert recall(model, held_out, small) == 1.0
    assert 0.0 < recall(model, held_out, window) < 1.0
    assert np.isnan(recall(model, held_out.take(held_out.labels == 0), window))


class Angles:
    """Towers that read each id as the angle, in tenths of a degree, of its vector."""

    metric: Metric = "cosine"

    def embed_queries(self, ids: NDArray[np.integer]) -> NDArray[np.float32]:
        """Return the vectors."""
        angle = np.radians(ids[:, 0] / 10.0)
        return np.stack([np.cos(angle), np.sin(angle)], axis=1).astype(np.float32)

    embed_candidates = embed_queries


def test_recall_is_of_each_held_out_positive_by_itself(stage: Scene) -> None:
    """Candidates at 0, .1, .2 … 29.9 degrees. Nearest to a query at 0 are the 200 below 20 degrees, to one at 29.9 the 200 from 10
    degrees on. The first engaged with what is at 1 and at 25, the second with what is at 25, and both with what has expired since:
    two of three. What the first left is no positive.
    """
    n = 300
    corpus = Corpus(
        np.arange(n, dtype=np.int32)[:, None], np.arange(n, dtype=np.int32), np.zeros(n, np.int32), np.zeros(n, np.int64)
    )
    items = np.array([10, 250, 250, 5_000, 5_000, 11], np.int32)
    held_out = Examples(
        queries=Queries(np.array([[0], [299]], np.int32), np.arange(2, dtype=np.int32), np.zeros((2, 1), np.int32)),
        query=np.array([0, 0, 1, 0, 1, 0], np.int32),
        candidate_ids=items[:, None],
        items=items,
        labels=np.array([POSITIVE] * 5 + [IMPLICIT_NEGATIVE], np.int8),
        popularity=np.zeros(6, np.int64),
        event_time_ms=np.zeros(6, np.int64),
        provenance=np.zeros(6, np.int8),
    )
    assert recall(Angles(), held_out, replace(stage.window, corpus=corpus)) == pytest.approx(2 / 3)


def test_every_seed_takes_its_turn_with_every_training() -> None:
    """Were a training tied to one seed, that seed's luck would look like the training's."""
    every = GateStudySettings(bundles=3 * len(VARIANTS)).turns((10, 11, 12))
    assert [sorted(found) for found in every.values()] == [list(range(len(VARIANTS)))] * 3
    once = GateStudySettings().turns((10, 11, 12))
    assert len(VARIANTS) == 42
    assert sorted(number for found in once.values() for number in found) == list(range(42))
    assert {len(found) for found in once.values()} == {14}
    alone = GateStudySettings(bundles=14)
    assert [alone.turns((seed,))[seed] for seed in (10, 11, 12)] == list(once.values()), "run one by one, and put together"
    assert [len(found) for found in GateStudySettings(bundles=40).turns((10, 11, 12)).values()] == [14, 13, 13]
    with pytest.raises(InvalidInput, match="too few"):
        GateStudySettings(bundles=1)


def test_the_trainings_are_named_and_differ() -> None:
    """The page names them; two of one name would be shown as one."""
    assert len({variant.name for variant in VARIANTS}) == len(VARIANTS)
    assert {variant.group for variant in VARIANTS} == {"setting", "damage"}
    own = VARIANTS[0]
    assert (own.config, own.data) == (SCHEDULE, VARIANTS[1].data)
    assert all(variant.config == SCHEDULE for variant in VARIANTS if variant.group == "damage")
    naive = next(variant for variant in VARIANTS if variant.name.startswith("naive"))
    assert naive.config.objectives == (Objective(negatives=SCHEDULE.objective.negatives),)
    assert naive.config.learning_rate == pytest.approx(10 * SCHEDULE.learning_rate)


def row(seed: int, effect: float, auc: float, *, refused_by: str = "", group: str = "setting", half: float = 1.0) -> Row:
    """Return a candidate whose other metrics could not be measured."""
    changes = {name: auc if name == "auc" else None for name in METRICS}
    return Row(
        seed=seed,
        variant="one",
        group=group,
        refused_by=[refused_by] if refused_by else [],
        metrics=changes,
        changes=changes,
        outcomes={name: [effect, effect - half, effect + half] for name in OUTCOMES},
    )


def test_candidates_are_summed_up_as_by_hand() -> None:
    """Four bundles: the gates are right about two, and those are the two whose A/B is significant."""
    rows = [
        row(1, 2.0, 0.03),
        row(1, -0.5, 0.02),
        row(2, -3.0, 0.01, refused_by="auc", group="damage"),
        row(2, 0.5, -0.01, refused_by="language_mismatch", group="damage"),
    ]
    study = summed(rows, (1, 2), users=40)
    of = {one["among"]: one for one in study["verdicts"] if one["rule"] == "shipped"}
    counts = ("accepted_fine", "accepted_worse", "refused_fine", "refused_worse")
    assert [of["all"][name] for name in counts] == [1, 1, 1, 1]  # type: ignore[literal-required]
    assert [of["significant"][name] for name in counts] == [1, 0, 0, 1]  # type: ignore[literal-required]
    assert [of["setting"][name] for name in counts] == [1, 1, 0, 0]  # type: ignore[literal-required]
    assert of["setting"]["refusal_precision"] is None, "nothing of it was refused"
    assert (of["all"]["right"], of["significant"]["right"]) == (0.5, 1.0)
    blind = next(one for one in study["verdicts"] if (one["rule"], one["among"]) == ("none", "all"))
    assert (blind["precision"], blind["recall"]) == (0.5, 1.0), "the yardstick: what accepting everything gives"
    auc = next(one for one in study["metrics"] if one["metric"] == "auc")
    # effects 2, -.5, -3, .5 over .03, .02, .01, -.01: ranks 4 3 2 1 and 4 2 1 3: 1 - 6 (0 + 1 + 1 + 4) / 60
    assert auc["rank_correlation"] == pytest.approx(0.4)
    # .03 is above both worse ones, -.01 above neither
    assert auc["sign_auc"] == pytest.approx(0.5)
    assert auc["per_seed"] == pytest.approx([-1.0, 1.0])
    assert study["best"] == "auc"
    assert next(one for one in study["metrics"] if one["metric"] == "recall_at_200")["sign_auc"] is None
    assert study["gates"] == [
        {
            "gate": "auc",
            "refused": 1,
            "worse": 1,
            "alone": 1,
            "alone_worse": 1,
            "fine_beyond": None,
            # a metric of .01 where at least .45 is asked
            "worse_beyond": pytest.approx([0.44, 0.44]),
        },
        {
            "gate": "language_mismatch",
            "refused": 1,
            "worse": 0,
            "alone": 1,
            "alone_worse": 0,
            "fine_beyond": None,
            "worse_beyond": None,
        },
    ]


def test_moved_limits_count_on_seeds_that_they_were_not_chosen_on() -> None:
    """A mismatch .15 above the live bundle's is let through, a recall .11 below it is not; seed 10 is what they were chosen on."""

    def measured(seed: int, effect: float, *, mismatch: float, recall_change: float) -> Row:
        figures = {"language_mismatch": mismatch, "recall_at_200": recall_change}
        changes: dict[str, float | None] = {name: figures.get(name) for name in METRICS}
        return Row({**row(seed, effect, 0.0), "changes": changes, "metrics": {**changes, "language_mismatch": 0.1 + mismatch}})

    rows = [
        measured(10, 1.0, mismatch=0.25, recall_change=0.0),
        measured(20, 1.0, mismatch=0.15, recall_change=-0.09),
        measured(20, -1.0, mismatch=0.0, recall_change=-0.11),
    ]
    study = summed(rows, (10, 20), users=40)
    of = {one["among"]: one for one in study["verdicts"] if one["rule"] == "moved"}
    counts = ("accepted_fine", "accepted_worse", "refused_fine", "refused_worse")
    assert [of["all"][name] for name in counts] == [1, 0, 1, 1]  # type: ignore[literal-required]
    assert [of["unseen"][name] for name in counts] == [1, 0, 0, 1]  # type: ignore[literal-required]


def test_how_far_refused_bundles_are_beyond_a_limit_is_told_of_both_kinds() -> None:
    """Who would move a limit asks how far; mismatch may rise by .08 against the live bundle, here it does by .10, .30 and .18."""

    def risen(effect: float, rise: float) -> Row:
        name = "language_mismatch_at_5_against_live"
        changes: dict[str, float | None] = {one: rise if one == "language_mismatch_at_5" else None for one in METRICS}
        metrics = {**changes, "language_mismatch_at_5": 0.1 + rise}
        return Row({**row(1, effect, 0.0, refused_by=name), "changes": changes, "metrics": metrics})

    study = summed([risen(1.0, 0.10), risen(1.0, 0.30), risen(-1.0, 0.18)], (1,), users=40)
    found = study["gates"][0]
    assert found["fine_beyond"] == pytest.approx([0.12, 0.22]), "the median and the farthest"
    assert found["worse_beyond"] == pytest.approx([0.10, 0.10])


def test_mismatchs_rise_is_chosen_on_other_seeds_and_shown_by_seed() -> None:
    """A bundle that is not worse rises by .04; on seed 2 a worse one does so too, so that seed 1 keeps what is shipped."""

    def risen(seed: int, effect: float) -> Row:
        changes: dict[str, float | None] = {one: 0.04 if one == "language_mismatch_at_5" else None for one in METRICS}
        return Row({**row(seed, effect, 0.0), "changes": changes, "metrics": {**changes, "language_mismatch_at_5": 0.2}})

    study = summed([risen(1, 1.0), risen(2, -1.0)], (1, 2), users=40)
    found = next(one for one in study["verdicts"] if (one["rule"], one["among"]) == ("rise", "all"))
    assert found["limits"] == {"1": 0.03, "2": 0.3}
    assert (found["accepted_fine"], found["accepted_worse"], found["refused_fine"]) == (0, 1, 1)


def test_kept_candidates_are_judged_again_by_todays_limits_and_data_gates_stay() -> None:
    """A limit is moved in seconds, not in the hour that the trainings took; what a window was is not kept."""
    refused = row(1, -3.0, -0.5, refused_by="language_mix_change")
    refused["metrics"] = {**refused["metrics"], "auc": 0.3}
    once_refused = row(1, 2.0, 0.01, refused_by="auc_against_live")
    once_refused["metrics"] = {**once_refused["metrics"], "auc": 0.8}
    again = judged_again([summed([refused, once_refused], (1,), users=40)])
    # .3 is under the floor of .45, and .5 below the live bundle's .8; .8 against .79 is within what is allowed
    assert [one["refused_by"] for one in again["rows"]] == [
        ["language_mix_change", "auc", "auc_against_live", "auc_against_anchor"],
        [],
    ]
    assert (again["users"], again["seeds"], again["bundles"]) == (40, [1], 2)
    assert json.loads(json.dumps(again)) == judged_again([json.loads(json.dumps(again))])
    del refused["changes"]["recall_at_200"], once_refused["changes"]["recall_at_200"]
    older = judged_again([{**again, "rows": [refused, once_refused]}])
    assert [one["changes"]["recall_at_200"] for one in older["rows"]] == [None, None], "kept before it was measured"
    other = summed([row(2, 1.0, 0.1)], (2,), users=40)
    both = judged_again([again, other])
    assert (both["seeds"], both["bundles"]) == ([1, 2], 3)
    for wrong in (again, {**other, "users": 50}):
        with pytest.raises(InvalidInput, match="give each seed once"):
            judged_again([again, wrong])  # type: ignore[list-item]


@pytest.fixture(scope="module")
def two(base: ContinualSettings) -> GateStudySettings:
    """Two trainings, on a world of half the size: what they come to is not asked."""
    return GateStudySettings(
        bundles=2, variants=(SAME, BROKEN), base=replace(base, world=replace(base.world, users=80, tweets_per_day=100))
    )


@pytest.fixture(scope="module")
def study(two: GateStudySettings) -> GateStudy:
    """The study of one seed."""
    return gates([3], two)


def test_a_study_is_one_json_object_and_equal_for_equal_seeds(study: GateStudy, two: GateStudySettings) -> None:
    """The contract of `roost paper gates --json`: no NaN, and a kept result can be made again."""
    text = json.dumps(study, allow_nan=False)
    told: list[tuple[int, float]] = []
    again = gates([3], two, on_progress=lambda *what: told.append(what))
    assert json.dumps(again, allow_nan=False) == text
    assert told == [(3, 0), (3, 1), (3, 2)]
    assert [one["variant"] for one in study["rows"]] == [SAME.name, BROKEN.name]
    assert (study["bundles"], study["users"], study["seeds"]) == (2, 40, [3])
    assert judged_again([study]) == study, "the limits have not been moved meanwhile"
