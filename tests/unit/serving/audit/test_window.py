"""Audited queries counted by tier, language, age and rank."""

import numpy as np

from serving.audit.window import LANGUAGES, OTHERS, AuditWindow
from serving.health import GroupRecall
from serving.index import FIRST, Audited, ExactIndex, Rows, Tier
from tests.damaged_index import DIM

NOW_MS = 10_000_000_000


def audited(
    languages: list[str], found: list[bool], tiers: list[Tier], ages_s: list[int], *, first: list[bool] | None = None
) -> Audited:
    """Return an audit with these exact hits, in this order; an answer of few holds what one of all does, if not said otherwise."""
    count = len(languages)
    index = ExactIndex(DIM)
    vectors = np.zeros((count, DIM), np.float32)
    # the first is the nearest
    vectors[:, 0], vectors[:, 1] = 1.0, np.arange(count)
    index.upsert(
        Rows(
            [f"t:{n}" for n in range(count)],
            vectors,
            np.full((count, 2), NOW_MS),
            np.array([NOW_MS - 1_000 * age for age in ages_s]),
            languages,
            ["a:1"] * count,
            [b""] * count,
        )
    )
    hits = index.search(np.eye(DIM, dtype=np.float32)[0], count)
    return Audited(hits, np.array(found, np.bool_), np.array(found[:FIRST] if first is None else first, np.bool_), tiers)


def recalls(window: AuditWindow) -> dict[tuple[str, str], float]:
    """Return the recall of each group."""
    return {(group.kind, group.group): group.recall for group in window.report()}


def test_each_hit_counts_for_its_tier_its_language_and_its_age() -> None:
    """A corpus can look well as a whole while one language is lost: hand-counted."""
    window = AuditWindow()
    window.add(audited(["en", "ja"], [True, False], ["fresh", "codes"], [5, 700]), now_ms=NOW_MS)
    window.add(audited(["en", "en"], [True, True], ["codes", "codes"], [86_500, 61]), now_ms=NOW_MS)
    assert recalls(window) == {
        ("all", "all"): 0.75,
        ("rank", "first 10"): 0.75,
        ("tier", "fresh"): 1.0,
        ("tier", "codes"): 2 / 3,
        ("language", "en"): 1.0,
        ("language", "ja"): 0.0,
        ("age", "under 1 m"): 1.0,
        ("age", "1 m to 10 m"): 1.0,
        ("age", "10 m to 1 h"): 0.0,
        ("age", "over 1 d"): 1.0,
    }
    whole = window.report()[0]
    assert isinstance(whole, GroupRecall)
    assert (whole.kind, whole.queries) == ("all", 2)


def test_the_first_ten_count_by_themselves() -> None:
    """An answer of many may hold all that an answer of ten misses."""
    window = AuditWindow()
    window.add(audited(["en"] * 12, [True] * 12, ["codes"] * 12, [5] * 12, first=[True] * 8 + [False] * 2), now_ms=NOW_MS)
    found = recalls(window)
    assert (found["all", "all"], found["rank", "first 10"], found["tier", "codes"]) == (1.0, 0.8, 1.0)


def test_old_audits_leave_and_a_query_without_hits_says_nothing() -> None:
    """A metric of now must not remember last week."""
    window = AuditWindow(queries=2)
    window.add(audited(["en"], [False], ["fresh"], [1]), now_ms=NOW_MS)
    for _ in range(2):
        window.add(audited(["en"], [True], ["fresh"], [1]), now_ms=NOW_MS)
    window.add(audited([], [], [], []), now_ms=NOW_MS)
    assert len(window) == 2
    assert recalls(window)["all", "all"] == 1.0
    window.clear()
    assert window.report() == []


def test_rare_languages_are_counted_as_one() -> None:
    """What people write must not decide how many series a scrape has."""
    window = AuditWindow()
    names = [f"l{n}" for n in range(40)] + ["en"] * 5
    window.add(audited(names, [True] * 45, ["fresh"] * 45, [1] * 45), now_ms=NOW_MS)
    languages = [group for kind, group in recalls(window) if kind == "language"]
    assert len(languages) == LANGUAGES + 1
    assert {"en", OTHERS} <= set(languages)
