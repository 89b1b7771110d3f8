"""The skew audit: ten ways in which serving and training come to read a feature differently, each planted and found by name."""

from dataclasses import replace

import pytest

from schemas.features.catalog import TWEET
from schemas.features.query import query_features
from schemas.records.candidates import Counters
from schemas.records.feedback import Engagement, EngagementKind, Provenance
from schemas.records.users import MAX_ENTRIES, QueryFeatures, UserEntry, UserEventKind
from tests.skewed import SKEWS, TRUE, counters, query
from trainer.data.skew import FieldAudit, audit


def named(audits: list[FieldAudit], *, above: float) -> set[str]:
    """Return the fields of which more than a share differs."""
    return {one.name for one in audits if one.share > above}


def test_what_was_served_rightly_shows_no_skew() -> None:
    """Duplicates of an event, other orders of a set and a counter one step behind are no skew: an alarm that cries is not heard."""
    late = counters(lambda c: replace(c, favorite=c.favorite // 2))
    shuffled = query(lambda q: replace(q, interests=q.interests[::-1]))
    for change in (lambda example: example, late, shuffled):
        audits = audit(replace(TRUE, examples=[change(one) for one in TRUE.examples]), TWEET)
        assert named(audits, above=0.0) == set()
    compared = {one.name: one.compared for one in audits if one.side == "query"}
    assert compared["history_authors"] > 250, "an audit of nothing finds nothing"
    assert "context_topic" not in compared, "only the request knows its context"
    assert min(one.compared for one in audits if one.name in ("language", "author", "topics", "favorites")) > 100


@pytest.mark.parametrize("name", SKEWS)
def test_a_planted_skew_is_found_by_its_field(name: str) -> None:
    """And nothing else is accused: whoever is called knows where to look."""
    plant, expected = SKEWS[name]
    audits = audit(replace(TRUE, examples=[plant(one) for one in TRUE.examples]), TWEET)
    assert named(audits, above=0.1) == expected
    (worst, *_) = sorted(audits, key=lambda one: -one.share)
    assert "served" in worst.example
    assert "computed" in worst.example


def test_ten_skews_at_once_are_all_found() -> None:
    """A bad deployment rarely breaks one thing."""
    assert len(SKEWS) == 10
    examples = list(TRUE.examples)
    for plant, _ in SKEWS.values():
        examples = [plant(one) for one in examples]
    expected = set[str]().union(*(fields for _, fields in SKEWS.values()))
    assert expected == named(audit(replace(TRUE, examples=examples), TWEET), above=0.1)


def test_a_state_that_lags_is_late_and_one_that_lost_an_engagement_is_skewed() -> None:
    """Engagements 10 s and 20 s before the impression had not reached the node: no skew. One of five minutes before had."""
    example = TRUE.examples[0]
    times = [example.event_time_ms - before_ms for before_ms in (10_000, 20_000, 300_000)]
    entries = tuple(UserEntry(f"e{n}", UserEventKind.FAVORITE, f"t:{n}", at, f"a:{n}", "en", ("go",)) for n, at in enumerate(times))
    state = replace(TRUE.states[example.user_id], entries=entries)
    for held, skewed in ((entries, False), (entries[1:], False), (entries[2:], False), ((), True), (entries[:2], True)):
        served = replace(example, query=query_features(replace(state, entries=held), before_ms=example.event_time_ms))
        audits = audit(replace(TRUE, examples=[served], states={example.user_id: state}), TWEET)
        assert ("history_authors" in named(audits, above=0.0)) == skewed, held


def test_counters_that_lag_are_late_and_those_that_lost_engagements_are_skewed() -> None:
    """Twelve clicks of the last half minute had not reached the vector: no skew. Four of five minutes before had."""
    example = next(one for one in TRUE.examples if one.candidate_id in TRUE.candidates)
    ages_ms = [300_000] * 4 + [30_000 - 2_000 * n for n in range(12)]
    clicks = [
        Engagement(f"e{n}", "u", example.candidate_id, EngagementKind.CLICK, example.event_time_ms - age_ms)
        for n, age_ms in enumerate(ages_ms)
    ]
    for served_clicks, skewed in ((16, False), (9, False), (4, False), (0, True), (100, True)):
        served = replace(example, candidate=replace(example.candidate, counters=Counters(click=served_clicks)))
        audits = audit(replace(TRUE, examples=[served], engagements={example.candidate_id: clicks[::-1]}), TWEET)
        assert ("clicks" in named(audits, above=0.0)) == skewed, served_clicks


def test_what_the_log_has_let_go_of_is_in_no_counter_that_is_compared() -> None:
    """An account gathers follows for years, and engagements are kept for a month: each training was refused for a skew."""
    lost = replace(TRUE, engagements={name: found[-1:] for name, found in TRUE.engagements.items()})
    assert "favorites" in named(audit(lost, TWEET), above=0.1)
    audits = audit(replace(lost, counted_from_ms=1), TWEET)
    assert named(audits, above=0.0) == set()
    compared = {one.name: one.compared for one in audits if one.side == "candidate"}
    assert not any(compared[name] for name in ("favorites", "retweets", "clicks"))
    assert compared["language"] > 100, "what its author says of it is still known"


def test_what_changed_since_is_not_compared() -> None:
    """An edited tweet, a new profile, a state that forgot, an unknown user: no evidence is not evidence of a skew."""
    example = TRUE.examples[0]
    wrong = replace(example, query=QueryFeatures(languages=("xx",), history_authors=("a:x",)))
    wrong = replace(wrong, candidate=replace(example.candidate, language="xx"))
    state, attributes = TRUE.states[example.user_id], TRUE.candidates[example.candidate_id]
    later = replace(state, profile_time_ms=example.event_time_ms + 1)
    audits = audit(replace(TRUE, examples=[wrong], states={example.user_id: later}), TWEET)
    assert not any(one.compared for one in audits if one.name == "languages")
    full = replace(state, entries=tuple(UserEntry(f"i{n}", UserEventKind.IMPRESSION, f"t:{n}", n) for n in range(MAX_ENTRIES)))
    audits = audit(replace(TRUE, examples=[wrong], states={example.user_id: full}), TWEET)
    assert not any(one.compared for one in audits if one.name in ("history_authors", "follows"))
    edited = {example.candidate_id: replace(attributes, event_time_ms=example.event_time_ms)}
    for candidates in (edited, {}, {example.candidate_id: replace(attributes, deleted=True)}):
        audits = audit(replace(TRUE, examples=[wrong], states={}, candidates=candidates), TWEET)
        assert not any(one.compared for one in audits)
    reconstructed = replace(wrong, provenance=Provenance.RECONSTRUCTED)
    assert not any(one.compared for one in audit(replace(TRUE, examples=[reconstructed]), TWEET))
