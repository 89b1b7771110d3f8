"""The recall audit on the overview: the node that can promise least is the one that is shown."""

from dataclasses import replace

from serving.console.views.overview import overview
from serving.console.views.recall import recall_audit
from tests.console_fakes import HOME, LIVE, NEXT, audited, moment, reading

WELL = audited(("all", "all", 0.99, 0.97, 1.0), ("tier", "graph", 0.99, 0.96, 1.0), ("language", "ja", 0.97, 0.92, 0.99))


def test_each_group_stands_with_its_bounds_against_what_is_promised() -> None:
    """An estimate of .97 on a few queries promises nothing: the bound says so, and the page must."""
    shown = recall_audit([reading(audit=WELL)], HOME.name)
    assert shown is not None
    assert (shown.bundle, shown.queries, shown.probes, shown.missed) == (LIVE, 60, 10, 1)
    assert [(title, [line.label for line in lines]) for title, lines in shown.groups] == [("Tier", ["graph"]), ("Language", ["ja"])]
    assert shown.whole.tone == "good"
    assert shown.groups[1][1][0].tone == "", "it may be kept or not"
    assert shown.scale == 0.9
    assert (round(shown.groups[1][1][0].start, 6), round(shown.floor_at, 6)) == (0.2, 0.5)


def test_ages_stand_youngest_first() -> None:
    """By their names they would stand in the order of an alphabet."""
    whole = audited(("all", "all", 0.99, 0.97, 1.0))
    ages = tuple(replace(whole.groups[0], kind="age", group=age) for age in ("1 h to 6 h", "1 m to 10 m", "over 1 d", "under 1 m"))
    shown = recall_audit([reading(audit=replace(whole, groups=whole.groups + ages))], HOME.name)
    assert shown is not None
    assert [line.label for line in shown.groups[0][1]] == ["under 1 m", "1 m to 10 m", "1 h to 6 h", "over 1 d"]


def test_of_several_nodes_the_worst_is_shown_and_its_shortfall_is_bad() -> None:
    """Each node answers users by itself: an average would hide the damaged one."""
    damaged = audited(("all", "all", 0.7, 0.6, 0.8), ("tier", "graph", 0.7, 0.6, 0.8), queries=40)
    shown = recall_audit([reading(audit=WELL), reading(name="n2", audit=damaged)], HOME.name)
    assert shown is not None
    assert (shown.nodes, shown.queries) == (2, 100)
    assert (shown.whole.recall, shown.whole.tone) == (0.7, "bad")
    assert shown.scale == 0.5
    (tier,) = [lines for title, lines in shown.groups if title == "Tier"]
    assert [(line.lower, line.tone) for line in tier] == [(0.6, "bad")]


def test_only_what_answers_is_shown_and_before_the_first_audit_nothing() -> None:
    """A bundle that is still filled has a figure of its own, on the board."""
    assert recall_audit([reading(bundles=((NEXT, "ready"),), audit=WELL)], HOME.name) is None
    assert recall_audit([reading(audit=audited())], HOME.name) is None
    assert recall_audit([], HOME.name) is None
    view = overview([moment()], HOME)
    assert view.recall is None
    assert next(one for one in view.figures if one.label == "Recall").note == "no query audited yet"
