"""The recall audit on the overview: the node that can promise least is the one that is shown."""

from dataclasses import replace

from serving.audit.bounds import JUDGED_FROM_QUERIES
from serving.console.views.overview import overview
from serving.console.views.recall import recall_audit
from serving.health import GroupRecall
from tests.console_fakes import HOME, LIVE, NEXT, audited, moment, reading

WELL = audited(("all", "all", 0.99, 0.97, 1.0), ("tier", "graph", 0.99, 0.96, 1.0), ("language", "ja", 0.97, 0.92, 0.99))


def test_each_group_stands_with_its_bounds_against_what_is_promised() -> None:
    """An estimate of .97 on a few queries promises nothing: the bound says so, and the page must."""
    shown = recall_audit([reading(audit=WELL)], HOME.name)
    assert shown is not None
    assert (shown.bundle, shown.queries, shown.probes, shown.missed) == (LIVE, 60, 10, 1)
    assert [(title, [line.label for line in lines]) for title, lines in shown.groups] == [("Tier", ["graph"]), ("Language", ["ja"])]
    assert shown.whole.bounds is not None
    assert shown.whole.bounds.tone == "good"
    bounds = shown.groups[1][1][0].bounds
    assert bounds is not None
    assert bounds.tone == "", "it may be kept or not"
    assert shown.scale == 0.9
    assert (round(bounds.start, 6), round(shown.floor_at, 6)) == (0.2, 0.5)


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
    assert (shown.whole.recall, shown.whole.bounds and shown.whole.bounds.tone) == (0.7, "bad")
    assert shown.scale == 0.5
    (tier,) = [lines for title, lines in shown.groups if title == "Tier"]
    assert [(line.bounds.lower, line.bounds.tone) for line in tier if line.bounds] == [(0.6, "bad")]


def test_no_bound_is_shown_before_as_many_queries_as_the_alarm_waits_for() -> None:
    """One query that found everything promises 27 %, and one that missed some is no shortfall: neither says how queries differ."""
    few = audited(("all", "all", 0.5, 0.1, 0.93), ("tier", "graph", 0.5, 0.1, 0.93), queries=JUDGED_FROM_QUERIES - 1)
    view = overview([moment(nodes=[reading(audit=few)])], HOME)
    shown = view.recall
    assert shown is not None
    assert (shown.whole.bounds, shown.groups[0][1][0].bounds, shown.bounded) == (None, None, False)
    figure = next(one for one in view.figures if one.label == "Recall")
    assert (figure.value, figure.note, figure.tone) == ("50.0 %", "4 of 5 queries audited", "")
    # a language that few queries met moves no other bar
    rare = replace(WELL, groups=(*WELL.groups, GroupRecall("language", "eu", 1, 1.0, 0.27, 1.0)))
    shown = recall_audit([reading(audit=rare)], HOME.name)
    assert shown is not None
    assert ([line.bounds is None for line in shown.groups[1][1]], shown.scale, shown.bounded) == ([False, True], 0.9, True)
    enough = audited(("all", "all", 0.5, 0.1, 0.93), queries=JUDGED_FROM_QUERIES)
    view = overview([moment(nodes=[reading(audit=enough)])], HOME)
    figure = next(one for one in view.figures if one.label == "Recall")
    assert (figure.note, figure.tone) == ("at least 10.0 %, audited live", "bad")


def test_a_node_that_audited_too_little_is_not_called_the_worst() -> None:
    """It has just started: its bound is low because nothing is known of it, and hid what the others know."""
    started = audited(("all", "all", 1.0, 0.27, 1.0), queries=1)
    for nodes in ([WELL, started], [started, WELL]):
        shown = recall_audit([reading(name=f"n{n}", audit=audit) for n, audit in enumerate(nodes)], HOME.name)
        assert shown is not None
        assert (shown.whole.queries, shown.whole.bounds and shown.whole.bounds.lower) == (60, 0.97)
    further = audited(("all", "all", 1.0, 0.5, 1.0), queries=3)
    for nodes in ([started, further], [further, started]):
        shown = recall_audit([reading(name=f"n{n}", audit=audit) for n, audit in enumerate(nodes)], HOME.name)
        assert shown is not None
        assert (shown.whole.queries, shown.whole.bounds) == (3, None), "the one that will tell first"


def test_only_what_answers_is_shown_and_before_the_first_audit_nothing() -> None:
    """A bundle that is still filled has a figure of its own, on the board."""
    assert recall_audit([reading(bundles=((NEXT, "ready"),), audit=WELL)], HOME.name) is None
    assert recall_audit([reading(audit=audited())], HOME.name) is None
    assert recall_audit([], HOME.name) is None
    view = overview([moment()], HOME)
    assert view.recall is None
    assert next(one for one in view.figures if one.label == "Recall").note == "no query audited yet"
