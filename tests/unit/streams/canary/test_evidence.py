"""Following examples while there is a canary: anew for each, from its beginning, and past what is unreadable."""

from dataclasses import replace

import pytest

from schemas.codec import encode
from schemas.records.control import BundleStage, CanaryReport, Rollout, Stage
from schemas.records.feedback import Label
from schemas.wire.inbound import InboundRecord
from streams.canary.evidence import CanaryEvidence
from streams.canary.judge import CanaryRules, Verdict
from streams.canary.sequential import difference
from tests.unit.streams.canary.test_arms import CANARY, CORRECTED_MS, HOME, LIVE, OTHERS, STAGE, THEIRS, USERS, example

APPENDED_MS = 5_000
STATE = Rollout(HOME, 5, bundles=(BundleStage(LIVE, Stage.LIVE), STAGE))


class FakeTail:
    """Examples in batches."""

    def __init__(self, values: list[bytes]) -> None:
        self.values = values
        self.closed = False

    @property
    def whole(self) -> bool:
        """See `Tail`."""
        return not self.values

    def poll(self, max_messages: int = 1_000, timeout_s: float = 0.1) -> list[InboundRecord]:
        """See `Tail`."""
        taken, self.values = self.values[:max_messages], self.values[max_messages:]
        return [InboundRecord("examples", 0, n, APPENDED_MS, b"u", value) for n, value in enumerate(taken)]

    def close(self) -> None:
        """See `Tail`."""
        self.closed = True


class Follower:
    """Evidence over fake tails and a clock to turn."""

    def __init__(self, values: list[bytes]) -> None:
        self.values, self.now_s = values, 0.0
        self.opened: list[tuple[int, FakeTail]] = []
        self.evidence = CanaryEvidence(
            self.open, corrected_ms=CORRECTED_MS, rules=CanaryRules(min_users=20, balance_alpha=1e-9), clock_s=lambda: self.now_s
        )

    def open(self, since_ms: int) -> FakeTail:
        """Open the examples anew."""
        tail = FakeTail(list(self.values))
        self.opened.append((since_ms, tail))
        return tail


def examples() -> list[bytes]:
    """Return examples in which the canary's users engage and the others do not, one unreadable among them."""
    loved = [encode(example(user, bundle=CANARY, name=f"{n}")) for user in THEIRS for n in range(5 + (user > "u:2"))]
    label = example(OTHERS[0]).label
    ignored = [encode(replace(example(user, label), bundle=LIVE)) for user in OTHERS[:60]]
    left = [encode(example(user, type(label).IMPLICIT_NEGATIVE, name=f"n{n}")) for user in OTHERS for n in range(6)]
    return [b"garbled", *loved[:-3], *ignored, *left]


def test_a_canary_is_read_from_its_first_moment_and_found_better() -> None:
    """The whole way from records to a verdict."""
    follower = Follower(examples())
    found = follower.evidence.reading(STATE)
    assert found is not None
    assert (found.canary.users, found.live.users) == (len(THEIRS), len(OTHERS))
    assert found.verdict in (Verdict.BETTER, Verdict.WAIT)
    assert found.effect.value > 0.7
    assert [since_ms for since_ms, _ in follower.opened] == [STAGE.since_ms]
    assert follower.evidence.reading(STATE) is found, "not summed again at every tick"


def test_nothing_speaks_for_a_canary_before_all_there_was_is_read() -> None:
    """A restarted controller had seen nothing yet, and gave the next share of its ramp to a canary that did harm meanwhile."""
    negative = Label.IMPLICIT_NEGATIVE
    # redelivered until they fill a look
    harmless = [encode(example(user, negative, bundle=CANARY if user in THEIRS else LIVE)) for user in USERS] * 7
    loved = [encode(example(user, name=f"{n}")) for user in OTHERS for n in range(5 + (user > "u:2"))]
    ignored = [encode(example(user, negative, bundle=CANARY, name=f"{n}")) for user in THEIRS for n in range(6)]
    liked = [encode(example(user, bundle=CANARY, name="liked")) for user in THEIRS[:2]]
    follower = Follower([*harmless, *loved, *ignored, *liked])
    found = follower.evidence.reading(STATE)
    assert found is None
    (report,) = follower.evidence.reports()
    assert report.verdict == Verdict.WAIT, "people see what there is"
    while found is None:
        follower.now_s += 60
        found = follower.evidence.reading(STATE)
    assert found.verdict is Verdict.WORSE


def test_a_report_says_what_both_arms_did_and_draws_the_same_curve_after_a_restart() -> None:
    """An operator watches for hours; a controller that was restarted must not begin the picture anew."""

    def watched() -> CanaryReport:
        follower = Follower(examples())
        for _ in range(5):
            follower.evidence.reading(STATE)
            follower.now_s += 60
        (report,) = follower.evidence.reports()
        return report

    report = watched()
    assert (report.surface, report.bundle, report.live, report.since_ms) == (HOME, CANARY, LIVE, STAGE.since_ms)
    assert (report.users, report.live_users) == (len(THEIRS), len(OTHERS))
    assert 0 < report.engaged / report.shown <= 1
    assert all(point.low < point.effect < point.high for point in report.curve)
    assert {point.at_ms for point in report.curve} == {APPENDED_MS}, "by the examples' time, whenever they are read"
    assert watched() == report
    assert Follower([]).evidence.reports() == ()


def test_another_share_is_another_comparison_and_an_end_stops_the_following() -> None:
    """With another share other users are in the arms; with no canary nothing may hold a consumer open."""
    follower = Follower(examples())
    follower.evidence.reading(STATE)
    more = replace(STATE, bundles=(STATE.bundles[0], replace(STAGE, share_bp=6_000, since_ms=2_000)))
    follower.evidence.reading(more)
    assert [since_ms for since_ms, _ in follower.opened] == [1_000, 2_000]
    assert [tail.closed for _, tail in follower.opened] == [True, False]
    assert follower.evidence.reading(replace(STATE, bundles=STATE.bundles[:1])) is None
    assert follower.opened[1][1].closed
    follower.evidence.reading(STATE)
    follower.evidence.close()
    assert follower.opened[2][1].closed


def test_a_flip_beside_a_canary_begins_another_comparison_after_a_restart_too() -> None:
    """A rollback, or a promotion of a third bundle: the other arm is answered by it, and a canary without others looks lopsided."""
    next_live = "2" * 16
    flipped = replace(STATE, bundles=(BundleStage(LIVE, Stage.DRAINING), BundleStage(next_live, Stage.LIVE, since_ms=1_900), STAGE))
    shown = [
        encode(example(user, bundle=CANARY if user in THEIRS else live, name=f"{at_ms}", at_ms=at_ms))
        for live, at_ms in ((LIVE, 1_100), (next_live, 2_000))
        for user in USERS
    ]
    follower = Follower(shown)
    follower.evidence.reading(STATE)
    for evidence in (
        follower.evidence,
        restarted := CanaryEvidence(follower.open, corrected_ms=CORRECTED_MS, rules=CanaryRules(min_users=20)),
    ):
        found = evidence.reading(flipped)
        assert found is not None
        assert (found.canary.shown, found.live.shown) == (len(THEIRS), len(OTHERS))
        assert found.verdict is Verdict.WAIT
    assert [since_ms for since_ms, _ in follower.opened] == [1_000, 1_900, 1_900]
    (report,) = restarted.reports()
    assert (report.live, report.since_ms) == (next_live, 1_900)


def test_a_share_of_a_ramp_is_held_to_its_part_of_alpha() -> None:
    """Three shares that may each be wrong as often as one canary are wrong three times as often."""
    share = STAGE.share_bp
    ramps = ((), (share,), (share, 3 * share))
    whole, alone, quarter = (Follower(examples()).evidence.reading(STATE, ramp=ramp) for ramp in ramps)
    assert whole is not None
    assert alone is not None
    assert quarter is not None
    assert whole.effect == alone.effect
    assert quarter.effect == difference(quarter.canary, quarter.live, alpha=CanaryRules().alpha / 4, expected_effect=0.02)
    assert quarter.effect.low < whole.effect.low < whole.effect.high < quarter.effect.high


def test_the_parts_of_a_ramp_s_shares_add_up_to_alpha() -> None:
    """More would be a promise that is not kept, less a test that finds less than it may."""
    rules, ramp = CanaryRules(), (100, 500, 2_500)
    assert sum(rules.at_share(share, ramp).alpha for share in ramp) == pytest.approx(rules.alpha)
    assert sum(rules.at_share(share, ramp).balance_alpha for share in ramp) == pytest.approx(rules.balance_alpha)
    assert rules.at_share(100, (100,)) == rules


def test_a_surface_without_a_canary_opens_nothing() -> None:
    """Most surfaces, most of the time."""
    follower = Follower([])
    assert follower.evidence.reading(Rollout(HOME, 0)) is None
    assert follower.opened == []
