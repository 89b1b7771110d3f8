"""What was served rightly on a small history, and ten ways in which it could have been served otherwise. Holds no test."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from schemas.features.query import query_features
from schemas.records.candidates import Candidate, CandidateAttributes, CandidateFeatures, Counters
from schemas.records.feedback import Engagement, EngagementKind, Example, Label, Provenance
from schemas.records.users import QueryFeatures, UserEntry, UserEventKind, UserState
from trainer.data.skew import Evidence

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
