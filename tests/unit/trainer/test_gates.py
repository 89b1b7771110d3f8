"""Gates: a bad bundle is refused with its figures, a good one is not."""

import itertools
import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from schemas.bundle import CanaryVectors, Gate
from schemas.errors import Refused
from schemas.records.feedback import Label, Provenance
from tests.unit.trainer.conftest import Encoded
from trainer.data.columns import POSITIVE
from trainer.data.profile import WindowProfile
from trainer.data.skew import FieldAudit
from trainer.gates import GateLimits, canary_gate, data_gates, drift_gates, quality_gates, refuse_unless_passed, refused_for_drift

GOOD = {"auc": 0.80, "per_user_auc": 0.65, "sampled_auc": 0.95, "language_mismatch": 0.15, "popularity_correlation": 0.3}
LIMITS = GateLimits()


def failed(gates: tuple[Gate, ...]) -> set[str]:
    """Return the names of the gates that said no."""
    return {gate.name for gate in gates if not gate.passed}


def test_a_bundle_as_good_as_the_live_one_passes() -> None:
    """And so does a slightly worse one: a held-out window is a sample."""
    assert not failed(quality_gates(GOOD, GOOD, LIMITS))
    assert not failed(quality_gates({**GOOD, "auc": 0.78, "language_mismatch": 0.20}, GOOD, LIMITS))


@pytest.mark.parametrize(
    ("change", "gate"),
    [
        ({"auc": 0.76}, "auc_against_live"),
        ({"per_user_auc": 0.59}, "per_user_auc_against_live"),
        ({"sampled_auc": 0.89}, "sampled_auc_against_live"),
        ({"language_mismatch": 0.24}, "language_mismatch_against_live"),
        ({"popularity_correlation": 0.56}, "popularity_correlation_against_live"),
    ],
)
def test_each_metric_has_its_own_allowed_regression(change: dict[str, float], gate: str) -> None:
    """No gain elsewhere makes up for it."""
    assert failed(quality_gates({**GOOD, "auc": 0.99, **change}, GOOD, LIMITS)) == {gate}


def test_naive_fine_tuning_is_refused_although_its_served_auc_rises() -> None:
    """The paper's warning (section 6.1.1): the implicit model's AUC is the best there is, and 76% cannot read what it finds."""
    naive = {**GOOD, "auc": 0.89, "per_user_auc": 0.68, "language_mismatch": 0.76}
    gates = quality_gates(naive, GOOD, LIMITS)
    assert failed(gates) == {"language_mismatch", "language_mismatch_against_live"}
    with pytest.raises(Refused, match=r"0\.76 is above 0\.6 .*0\.76 is above 0\.23 .*the live bundle has 0\.15"):
        refuse_unless_passed(gates, what="the new bundle")


def test_the_first_bundle_meets_only_absolute_floors() -> None:
    """There is nothing to compare with; random negatives alone come near chance on served pairs."""
    gates = quality_gates({**GOOD, "auc": 0.52}, None, LIMITS)
    assert {gate.name for gate in gates} == {"auc", "sampled_auc", "language_mismatch"}
    assert not failed(gates)
    assert failed(quality_gates({**GOOD, "sampled_auc": 0.5}, None, LIMITS)) == {"sampled_auc"}


def test_absolute_limits_hold_beside_a_live_bundle_that_is_bad_itself() -> None:
    """Many small allowed steps must not add up to a bundle nobody would have let in at once."""
    drifted = {**GOOD, "language_mismatch": 0.58}
    assert "language_mismatch" in failed(quality_gates({**GOOD, "language_mismatch": 0.65}, drifted, LIMITS))


def test_steps_that_each_pass_are_refused_where_they_have_added_up() -> None:
    """Fourteen evenings of +.01 are +.14, and each of them is well within what is allowed against the last."""
    steps = [{**GOOD, "language_mismatch": 0.15 + 0.01 * evening} for evening in range(15)]
    for last, new in itertools.pairwise(steps):
        assert not failed(quality_gates(new, last, LIMITS))
    drifted = [failed(drift_gates(new, steps[0], LIMITS)) for new in steps]
    assert drifted == [set()] * 2 + [{"language_mismatch_against_anchor"}] * 13
    with pytest.raises(Refused, match=r"0\.29 is above 0\.16 \(the anchor bundle has 0\.15, allowed is \+0\.01\)"):
        refuse_unless_passed(drift_gates(steps[-1], steps[0], LIMITS), what="the new bundle")


def test_mismatch_is_held_against_others_by_five_places_where_both_were_measured_so() -> None:
    """One tweet near everybody is half of the first's mismatch: a gate on that would let through, and refuse, by chance."""
    lucky = {**GOOD, "language_mismatch": 0.10, "language_mismatch_at_5": 0.20}
    anchor = {**GOOD, "language_mismatch_at_5": 0.15}
    assert failed(drift_gates(lucky, anchor, LIMITS)) == {"language_mismatch_at_5_against_anchor"}
    assert not failed(drift_gates(lucky, GOOD, LIMITS)), "an older figure is held against its like"
    assert refused_for_drift(drift_gates(lucky, anchor, LIMITS))


def test_what_the_world_does_to_the_anchor_too_is_no_drift() -> None:
    """Both are measured on today's window: where more is in foreign languages, every tower finds more of it."""
    today = {**GOOD, "language_mismatch": 0.35, "popularity_correlation": 0.7}
    assert not failed(drift_gates(today, {**today, "language_mismatch": 0.345}, LIMITS))
    popular = {**GOOD, "popularity_correlation": 0.8}
    assert failed(drift_gates(popular, GOOD, LIMITS)) == {"popularity_correlation_against_anchor"}
    assert drift_gates(GOOD, None, LIMITS) == (), "the line is young"
    assert "language_mismatch_against_anchor" in failed(drift_gates({**GOOD, "language_mismatch": math.nan}, GOOD, LIMITS))


def test_only_what_random_negatives_teach_is_refused_for_drift() -> None:
    """More replay mends forgetting, slow or at one step; it mends neither a broken window nor towers that rank worse."""
    drifted = drift_gates({**GOOD, "language_mismatch": 0.21}, GOOD, LIMITS)
    assert refused_for_drift((*quality_gates(GOOD, GOOD, LIMITS), *drifted))
    assert not refused_for_drift((*quality_gates({**GOOD, "auc": 0.4}, GOOD, LIMITS), *drifted))
    assert refused_for_drift(quality_gates({**GOOD, "language_mismatch": 0.7, "sampled_auc": 0.5}, GOOD, LIMITS))
    assert not refused_for_drift(drift_gates(GOOD, GOOD, LIMITS))


def test_a_floor_stays_a_floor_where_nothing_is_allowed() -> None:
    """An allowed fall of 0 must not turn into a ceiling that refuses whatever is better."""
    none = GateLimits(auc_regression=0.0)
    assert not failed(quality_gates({**GOOD, "auc": 0.85}, GOOD, none))
    assert failed(quality_gates({**GOOD, "auc": 0.79}, GOOD, none)) == {"auc_against_live"}


def test_towers_that_answer_the_canary_rows_otherwise_than_the_live_ones_are_refused() -> None:
    """Each metric may look well on a window that leaves out what broke; how far a good training goes is known (docs/paper.md)."""
    assert not failed(quality_gates({**GOOD, "canary_shift": 0.25}, GOOD, LIMITS))
    gates = quality_gates({**GOOD, "canary_shift": 0.34}, GOOD, LIMITS)
    assert failed(gates) == {"canary_shift_against_live"}
    assert not failed(quality_gates({**GOOD, "canary_shift": 0.34}, None, LIMITS)), "there is nothing to be far from"
    assert not refused_for_drift(gates), "no replay brings such towers back"


def test_nan_never_passes() -> None:
    """NaN compares false with everything; a gate written the other way round would wave it through."""
    gates = quality_gates(dict.fromkeys(GOOD, math.nan), GOOD, LIMITS)
    assert len(failed(gates)) == len(gates)


def test_data_gates_want_volume_both_classes_and_a_corpus(small: Encoded) -> None:
    """Trained on what is too little, a bundle may still pass by luck."""
    assert not failed(data_gates(small.train, small.evaluation, small.corpus, GateLimits(min_corpus=50)))
    few = small.train.take(np.arange(100))
    assert "train_examples" in failed(data_gates(few, small.evaluation, small.corpus, LIMITS))
    no_positive = small.train.take(np.flatnonzero(small.train.labels != POSITIVE))
    assert {"train_positives", "label_rate"} <= failed(data_gates(no_positive, small.evaluation, small.corpus, LIMITS))
    only_positive = small.train.take(small.train.positives)
    assert {"train_implicit_negatives", "label_rate_ceiling"} <= failed(
        data_gates(only_positive, small.evaluation, small.corpus, LIMITS)
    )
    nothing = small.train.take(np.zeros(0, np.int64))
    with pytest.raises(Refused, match=r"train_examples 0 is below 200 \(wait for more examples\)"):
        refuse_unless_passed(data_gates(nothing, nothing, small.corpus, LIMITS), what="the window")
    assert "corpus" in failed(data_gates(small.train, small.evaluation, small.corpus, GateLimits(min_corpus=10_000)))


NORMAL = WindowProfile(1_000, 3_600.0, 0.2, {"en": 0.6, "ja": 0.4}, 0.05)


@pytest.mark.parametrize(
    ("changed", "gate"),
    [
        # 3,600 an hour to 300: twelve times less; or more
        ({"per_hour": 300.0}, "volume_change"),
        ({"per_hour": 43_200.0}, "volume_change"),
        # a join that loses engagements: 0.2 to 0.04, five times less
        ({"label_rate": 0.04}, "label_rate_change"),
        ({"label_rate": 0.0}, "label_rate_change"),
        # |0.6 - 0.2| + |0.4 - 0.8| = 0.8, half of it 0.4
        ({"languages": {"en": 0.2, "ja": 0.8}}, "language_mix_change"),
        ({"languages": {"xx": 1.0}}, "language_mix_change"),
        # tokens that no longer come back: 0.05 to 0.2, allowed is 0.15
        ({"unresolved": 0.2}, "unresolved_joins"),
    ],
)
def test_a_window_unlike_the_last_ones_is_refused(small: Encoded, changed: dict[str, Any], gate: str) -> None:
    """What breaks upstream shows in the window before it shows in a model; one odd window before does not move the median."""
    last = [NORMAL, NORMAL, replace(NORMAL, per_hour=1.0, label_rate=0.9, unresolved=1.0)]
    usual = data_gates(small.train, small.evaluation, small.corpus, LIMITS, window=NORMAL, last=last)
    assert not failed(usual)
    assert gate in {one.name for one in usual}
    gates = data_gates(small.train, small.evaluation, small.corpus, LIMITS, window=replace(NORMAL, **changed), last=last)
    assert failed(gates) == {gate}
    with pytest.raises(Refused, match=rf"{gate} [\d.e+]+ is above [\d.]+ \(look at"):
        refuse_unless_passed(gates, what="the window")


def test_a_feature_that_is_served_otherwise_than_it_is_trained_on_is_refused_by_its_name(small: Encoded) -> None:
    """Every metric on logged features would look as good as ever."""
    well, few = FieldAudit("region", "query", 1_000, 50), FieldAudit("topics", "candidate", 49, 49)
    gates = data_gates(small.train, small.evaluation, small.corpus, LIMITS, skew=(well, few))
    # 50 of 1,000 is the limit, and 49 examples are too few to judge by
    assert [(gate.value, gate.passed) for gate in gates if gate.name == "feature_skew"] == [(0.05, True)]
    assert not failed(gates)
    skewed = replace(well, name="languages", differing=60, example="r1/t:1: served ('en',), computed ('EN',)")
    gates = data_gates(small.train, small.evaluation, small.corpus, LIMITS, skew=(well, skewed, few))
    with pytest.raises(
        Refused, match=r"feature_skew 0\.06 is above 0\.05 \(query feature languages, r1/t:1: served .*compare the rel"
    ):
        refuse_unless_passed(gates, what="the window")


def test_a_windows_profile_is_what_is_in_it(small: Encoded) -> None:
    """Four examples 20 minutes apart: an hour from first to last, of which 1% at either end is left out: 0.98 h and 98% of 4.

    One positive of three that count, for one is an explicit negative: 1/3. Two in "en" of four. One was reconstructed: 1/4.
    """
    base = small.world.examples[0]
    kinds = [Label.POSITIVE, Label.IMPLICIT_NEGATIVE, Label.IMPLICIT_NEGATIVE, Label.EXPLICIT_NEGATIVE]
    examples = [
        replace(
            base,
            event_time_ms=n * 20 * 60_000,
            label=label,
            candidate=replace(base.candidate, language="en" if n < 2 else "ja"),
            provenance=Provenance.RECONSTRUCTED if n == 3 else Provenance.SERVED,
        )
        for n, label in enumerate(kinds)
    ]
    profile = WindowProfile.of(examples)
    assert profile.per_hour == pytest.approx(4.0)
    assert profile.label_rate == pytest.approx(1 / 3)
    assert (profile.examples, profile.unresolved) == (4, 0.25)
    assert profile.languages == {"en": 0.5, "ja": 0.5}
    assert profile.mix_distance([replace(profile, languages={"en": 1.0})]) == 0.5
    assert WindowProfile.of([]) == WindowProfile(0, 0.0, 0.0, {}, 0.0)


def test_canary_vectors_must_be_finite_of_length_one_and_not_all_alike() -> None:
    """Towers that map everything to one point have a fine loss with the wrong margin, and retrieve at random."""

    def canary(candidates: list[list[float]]) -> CanaryVectors:
        return CanaryVectors([[0]] * 2, [[1.0, 0.0], [0.0, 1.0]], [[0]] * len(candidates), candidates)

    assert canary_gate(canary([[0.6, 0.8], [0.8, 0.6]])).passed
    for wrong in ([[math.nan, 0.0], [1.0, 0.0]], [[0.5, 0.5], [1.0, 0.0]], [[0.6, 0.8], [0.6, 0.8]]):
        assert not canary_gate(canary(wrong)).passed
    assert canary_gate(canary([[3.0, 4.0], [4.0, 3.0]]), "inner_product").passed, "only cosine asks for a length"
    assert not canary_gate(canary([[3.0, 4.0], [3.0, 4.0]]), "euclidean").passed
