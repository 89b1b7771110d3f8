"""A canary on the board: the controller's word of this very comparison, and a curve whose end can be read."""

from dataclasses import replace

from schemas.records.control import CanaryPoint, CanaryReport, Stage
from serving.console.views.canary import canary_view
from serving.console.views.rollouts import board, board_trouble
from tests.console_fakes import HOME, LIVE, NEXT, NOW_MS, FakeCatalog, controller, embedder, moment, node, rollout, stage

ENTRY = stage(NEXT, Stage.CANARY, share_bp=500)
STATE = rollout(stage(LIVE, Stage.LIVE), ENTRY)
CURVE = tuple(CanaryPoint(NOW_MS - 60_000 + 5_000 * n, 0.02, 0.02 - 1 / (n + 1), 0.02 + 1 / (n + 1)) for n in range(10))
REPORT = CanaryReport(HOME.name, NEXT, LIVE, ENTRY.since_ms, "wait", "undecided", 300, 1_000, 120, 900, 4_000, 400, CURVE)


def test_both_arms_stand_beside_each_other_with_the_difference_and_its_bounds() -> None:
    """12 % of 1,000 against 10 % of 4,000; whether that is more than luck is what the bounds say."""
    beats = [embedder(), node(), controller(REPORT)]
    (_, card) = board([moment(STATE, beats=beats)], HOME, FakeCatalog()).bundles
    shown = card.canary_view
    assert shown is not None
    assert [(arm.bundle, arm.users, arm.rate) for arm in shown.arms] == [(NEXT, 300, "12.00%"), (LIVE, 900, "10.00%")]
    assert shown.difference == "+2.00 (-8.00 to +12.00)"
    assert shown.plot is not None
    effect, level = shown.plot.lines
    assert (len(shown.plot.at), len(effect.low), list(level.values)) == (10, 10, [0.0] * 10)
    low, high = shown.plot.span or (0, 0)
    assert low > -50 < high < 50, "the first bounds, of a hundred points, would press the rest into a line"


def test_a_ramp_says_where_the_share_goes_by_itself() -> None:
    """Half of the users on a new bundle must surprise nobody."""
    (_, card) = board([moment(replace(STATE, ramp_bp=(1_000, 5_000), ramp_hold_s=600))], HOME, FakeCatalog()).bundles
    assert card.canary == "5 % of users, then 10, 50 %, each after 10 min at least"
    (_, card) = board([moment(STATE)], HOME, FakeCatalog()).bundles
    assert card.canary == "5 % of users"


def test_what_was_said_of_another_share_or_by_a_controller_that_is_gone_is_not_shown() -> None:
    """The users of another share are other users; figures of yesterday are nobody's."""
    earlier = CanaryReport(HOME.name, NEXT, LIVE, ENTRY.since_ms - 1)
    assert canary_view(moment(STATE, beats=[controller(earlier)]), HOME.name, ENTRY) is None
    gone = moment(STATE, beats=[controller(REPORT, at_ms=NOW_MS - 60_000)])
    assert canary_view(gone, HOME.name, ENTRY) is None
    assert "roost control" in board_trouble(gone), "its buttons would go unanswered"
    assert board_trouble(moment(STATE)) == ""


def test_a_canary_stays_on_the_board_over_a_flip_beside_it() -> None:
    """A rollback begins another comparison, of which the controller says so: for the canary's rest, the board was silent on it."""
    flipped = rollout(stage(LIVE, Stage.DRAINING), stage("3" * 16, Stage.LIVE, since_ms=NOW_MS - 20_000), ENTRY)
    said = replace(REPORT, live="3" * 16, since_ms=NOW_MS - 20_000)
    for report, is_shown in ((said, True), (REPORT, False)):
        cards = board([moment(flipped, beats=[controller(report)])], HOME, FakeCatalog()).bundles
        assert [card.canary_view is not None for card in cards if card.bundle == NEXT] == [is_shown]


def test_before_the_first_bounds_there_are_arms_and_no_curve() -> None:
    """The first minutes of a canary."""
    unbounded = tuple(CanaryPoint(NOW_MS - 9_000 + n, 0.3, float("-inf"), float("inf")) for n in range(3))
    young = CanaryReport(HOME.name, NEXT, LIVE, ENTRY.since_ms, "wait", "fewer than 200 users in an arm", 1, 0, 0, 4, 9, 1)
    for report in (young, replace(young, curve=unbounded)):
        shown = canary_view(moment(STATE, beats=[controller(report)]), HOME.name, ENTRY)
        assert shown is not None
        assert (shown.plot, shown.difference, shown.arms[0].rate) == (None, "", "–")
    grown = canary_view(moment(STATE, beats=[controller(replace(REPORT, curve=unbounded + CURVE))]), HOME.name, ENTRY)
    assert grown is not None
    assert grown.plot is not None
    assert len(grown.plot.at) == len(CURVE), "no script reads an infinite bound"
