"""The skew audit: ten ways in which serving and training come to read a feature differently, each planted and found by name."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from schemas.features.catalog import TWEET
from schemas.features.query import query_features
from schemas.records.candidates import Candidate, CandidateAttributes, CandidateFeatures, Counters
from schemas.records.feedback import Engagement, EngagementKind, Example, Label, Provenance
from schemas.records.users import MAX_ENTRIES, QueryFeatures, UserEntry, UserEventKind, UserState
from trainer.data.skew import Evidence, FieldAudit, audit

MINUTE_MS = 60_000
LANGUAGES = ("en", "ja", "es")
TOPICS = ("cats", "go", "tea", "rain", "chess")


def evidence() -> Evidence:
    """Users, candidates and engagements over 600 minutes, and what a correct node would have served in the last 300 of them."""
    rng = np.random.default_rng(0)
    candidates = {}
    for n in range(40):
        topics = tuple(TOPICS[t] for t in rng.permutation(len(TOPICS))[: 1 + n % 3])
        attributes = CandidateAttributes(
            f"a:{n % 9}", 0, LANGUAGES[n % 3], ("us", "jp", "mx")[n % 3], topics, author_followers=10 ** (n % 6)
        )
        candidates[f"t:{n}"] = Candidate(f"t:{n}", 0, 0, 0, attributes=attributes, source={"tweets": 1})
    kinds = (EngagementKind.FAVORITE, EngagementKind.FAVORITE, EngagementKind.FAVORITE, EngagementKind.CLICK)
    engagements: dict[str, list[Engagement]] = {name: [] for name in candidates}
    entries: dict[str, list[UserEntry]] = {f"u{n}": [] for n in range(30)}
    for n in range(1_200):
        candidate = candidates[f"t:{int(rng.integers(40) ** 2 / 40)}"]
        kind, user, time_ms = kinds[n % 4], f"u{rng.integers(30)}", 1 + n * MINUTE_MS // 2
        if n % 30 == 0:
            kind = EngagementKind.RETWEET
        engagement = Engagement(f"e{n}", user, candidate.candidate_id, kind, time_ms)
        engagements[candidate.candidate_id] += [engagement, engagement] if n % 50 == 0 else [engagement]
        assert candidate.attributes is not None
        of = candidate.attributes
        entry = UserEntry(f"e{n}", UserEventKind(kind), candidate.candidate_id, time_ms, of.author_id, of.language, of.topics)
        entries[user].append(entry)
    states = {
        user: UserState(
            user,
            0,
            0,
            (LANGUAGES[n % 3], "de"),
            ("us", "jp", "mx")[n % 3],
            (f"a:{n % 7}", "a:99"),
            (TOPICS[n % 5], TOPICS[(n + 2) % 5]),
            entries=tuple(reversed(entries[user])),
        )
        for n, user in enumerate(entries)
    }
    examples = []
    for n in range(300):
        user, candidate = f"u{n % 30}", candidates[f"t:{n % 40}"]
        time_ms = (300 + n) * MINUTE_MS
        seen = {one.event_id: one.kind for one in engagements[candidate.candidate_id] if one.event_time_ms < time_ms}
        kinds_seen = list(seen.values())
        counters = Counters(
            favorite=kinds_seen.count(EngagementKind.FAVORITE),
            retweet=kinds_seen.count(EngagementKind.RETWEET),
            click=kinds_seen.count(EngagementKind.CLICK),
        )
        assert candidate.attributes is not None
        examples.append(
            Example(
                f"r{n}/{candidate.candidate_id}",
                0,
                "home-timeline",
                f"r{n}",
                user,
                candidate.candidate_id,
                0,
                time_ms,
                candidate.attributes.features(counters),
                Label.IMPLICIT_NEGATIVE,
                provenance=Provenance.SERVED,
                query=query_features(states[user], before_ms=time_ms, context={"topic": "tea"}),
            )
        )
    return Evidence(examples, states, candidates, engagements)


TRUE = evidence()


def query(change: Callable[[QueryFeatures], QueryFeatures]) -> Callable[[Example], Example]:
    """Return what serves other query features."""
    return lambda example: replace(example, query=change(example.query))


def candidate(change: Callable[[CandidateFeatures], CandidateFeatures]) -> Callable[[Example], Example]:
    """Return what serves other candidate features."""
    return lambda example: replace(example, candidate=change(example.candidate))


def counters(change: Callable[[Counters], Counters]) -> Callable[[Example], Example]:
    """Return what serves other counters."""
    return candidate(lambda features: replace(features, counters=change(features.counters)))


def of_the_future(example: Example) -> Example:
    """Serve a history that knows what the user did an hour after the impression: a leak of labels."""
    features = query_features(TRUE.states[example.user_id], before_ms=example.event_time_ms + 60 * MINUTE_MS)
    history = {name: getattr(features, name) for name in ("history_authors", "history_topics", "history_languages")}
    return replace(example, query=replace(example.query, **history))


# what went wrong on the serving side, and the fields in which a tower reads something else
SKEWS: dict[str, tuple[Callable[[Example], Example], set[str]]] = {
    "languages in upper case": (query(lambda q: replace(q, languages=tuple(x.upper() for x in q.languages))), {"languages"}),
    "the second interest is lost": (query(lambda q: replace(q, interests=q.interests[:1])), {"interests"}),
    "the region is left out": (query(lambda q: replace(q, region="")), {"region"}),
    "follows of a user before": (query(lambda q: replace(q, follows=("a:77",))), {"follows"}),
    "a history of the future": (of_the_future, {"history_authors", "history_topics", "history_languages"}),
    "an author id without its prefix": (candidate(lambda c: replace(c, author_id=c.author_id[2:])), {"author"}),
    "topics cut to the first": (candidate(lambda c: replace(c, topics=c.topics[:1])), {"topics"}),
    "followers in thousands": (candidate(lambda c: replace(c, author_followers=c.author_followers // 1_000)), {"author_followers"}),
    "favorites and retweets swapped": (
        counters(lambda c: replace(c, favorite=c.retweet, retweet=c.favorite)),
        {"favorites", "retweets"},
    ),
    "clicks counted eight times": (counters(lambda c: replace(c, click=8 * c.click)), {"clicks"}),
}


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
