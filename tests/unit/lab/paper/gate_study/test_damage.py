"""Damages: each breaks what it says and nothing else. One that broke nothing would count as a gate's failure."""

import numpy as np
import pytest

from lab.paper.gate_study import damage
from lab.paper.gate_study.damage import Damage, Data
from lab.paper.gate_study.scene import Scene
from lab.paper.gate_study.variants import VARIANTS, Variant
from trainer.data.columns import EXPLICIT_NEGATIVE, POSITIVE

COLUMNS = ("candidate_ids", "items", "labels", "popularity", "event_time_ms", "query")


def damaged(what: Damage, stage: Scene) -> Data:
    """Return the data after one damage."""
    return what(stage, np.random.default_rng(0))


def test_turned_labels_are_of_one_language_and_leave_what_nobody_may_train_on(stage: Scene) -> None:
    """A join that mixes up two symbols does so for what one producer sends."""
    for all_of_it in (True, False):
        window = damaged(damage.flipped(1, all_of_it=all_of_it), stage).window
        for new, old, touched in (
            (window.train, stage.window.train, True),
            (window.evaluation, stage.window.evaluation, all_of_it),
        ):
            theirs = stage.item_languages[old.items] == 1
            expected = theirs & (old.labels != EXPLICIT_NEGATIVE) if touched else np.zeros(len(old), np.bool_)
            assert ((new.labels != old.labels) == expected).all()
        assert (window.train.labels != stage.window.train.labels).any()
        assert window.profile.label_rate != stage.window.profile.label_rate, "the data gates must see it"


def test_a_language_alone_is_all_that_is_left_and_the_profile_says_so(stage: Scene) -> None:
    """The data gate of the language mix can only refuse what the profile tells it."""
    both = damaged(damage.one_language(0, all_of_it=True), stage).window
    training = damaged(damage.one_language(0, all_of_it=False), stage).window
    assert set(stage.item_languages[both.train.items]) == set(stage.item_languages[both.evaluation.items]) == {0}
    assert set(both.profile.languages) == {stage.languages[0]}
    assert set(both.evaluation.query) == set(range(len(both.evaluation.queries))), "mismatch is of those who were shown something"
    assert len(both.evaluation.queries) < len(stage.window.evaluation.queries)
    assert training.evaluation is stage.window.evaluation
    assert 0 < len(both.train) < len(stage.window.train)


def test_a_missing_feature_is_padding_in_its_own_columns_alone(stage: Scene) -> None:
    """Candidates: language is the first column. Users: languages are the first four."""
    window = damaged(damage.zeroed("candidate", "language", all_of_it=True), stage).window
    for new, old in (
        (window.train, stage.window.train),
        (window.evaluation, stage.window.evaluation),
        (window.corpus, stage.window.corpus),
    ):
        assert not new.candidate_ids[:, 0].any()
        assert (new.candidate_ids[:, 1:] == old.candidate_ids[:, 1:]).all()
    data = damaged(damage.zeroed("query", "languages", all_of_it=False), stage)
    assert not data.window.train.queries.ids[:, :4].any()
    assert (data.window.train.queries.ids[:, 4:] == stage.window.train.queries.ids[:, 4:]).all()
    assert data.window.evaluation is stage.window.evaluation
    data = damaged(damage.zeroed("candidate", "favorites", all_of_it=False), stage)
    assert data.window.corpus is stage.window.corpus, "judged on what is right"
    assert (data.training.corpus.candidate_ids != stage.window.corpus.candidate_ids).any(), "trained on what is not"
    with pytest.raises(ValueError, match="no query feature age"):
        damaged(damage.zeroed("query", "age", all_of_it=True), stage)


def test_lost_engagements_turn_positives_into_implicit_negatives_and_never_the_reverse(stage: Scene) -> None:
    """Half of them, within what chance allows."""
    new, old = damaged(damage.unjoined(0.5), stage).window.train, stage.window.train
    assert not ((new.labels == POSITIVE) & (old.labels != POSITIVE)).any()
    kept = len(new.positives) / len(old.positives)
    assert 0.35 < kept < 0.65


def test_late_counters_are_never_below_those_that_were_served(stage: Scene) -> None:
    """Counters grow until the evening: that is the leak. What is no counter stays as it is."""
    new, old = damaged(damage.late_counters, stage).window, stage.window
    counters = [place for place, field in enumerate(_columns(stage)) if field.startswith("counters.")]
    others = [place for place in range(old.train.candidate_ids.shape[1]) if place not in counters]
    for late, served in ((new.train, old.train), (new.evaluation, old.evaluation)):
        assert (late.candidate_ids[:, others] == served.candidate_ids[:, others]).all()
        # an unfavorite takes one back
        assert (late.candidate_ids[:, counters] >= served.candidate_ids[:, counters]).mean() > 0.99
        assert (late.candidate_ids[:, counters] > served.candidate_ids[:, counters]).any()


def test_yesterday_is_trained_on_and_today_is_judged(stage: Scene) -> None:
    """An old window read again trains well and knows nothing new."""
    data = damaged(damage.stale, stage)
    assert data.window.train is stage.yesterday.train
    assert data.training.corpus is stage.yesterday.corpus
    assert data.window.evaluation is stage.window.evaluation
    assert data.window.corpus is stage.window.corpus
    assert stage.yesterday.train.event_time_ms.max() < stage.window.evaluation.event_time_ms.min()


@pytest.mark.parametrize("variant", [one for one in VARIANTS if one.group == "damage"], ids=lambda one: str(one.name))
def test_every_damage_of_the_study_changes_what_is_trained_on_and_not_the_scene(variant: Variant, stage: Scene) -> None:
    """All candidates of a seed share one scene: a damage that leaked into it would spoil those after it."""
    before = [getattr(stage.window.train, column).copy() for column in COLUMNS]
    queries = stage.window.train.queries.ids.copy()
    train = damaged(variant.data, stage).training.train
    for column, kept in zip(COLUMNS, before, strict=True):
        assert (getattr(stage.window.train, column) == kept).all()
    assert (stage.window.train.queries.ids == queries).all()
    same = len(train) == len(before[0]) and (train.queries.ids == queries).all()
    assert not (same and all((getattr(train, name) == old).all() for name, old in zip(COLUMNS, before, strict=True)))


def _columns(stage: Scene) -> list[str]:
    return [field.source for field in stage.live.spec.candidate for _ in range(field.slots)]
