"""Examples into arms: who counts, for which arm, and once."""

from dataclasses import replace

from schemas.features.hashing import canary_bucket
from schemas.records.candidates import CandidateFeatures, Counters
from schemas.records.control import BundleStage, Stage
from schemas.records.feedback import Example, Label
from streams.canary.arms import Arms

HOME, LIVE, CANARY = "home-timeline", "0" * 16, "1" * 16
STAGE = BundleStage(CANARY, Stage.CANARY, 3_000, "salt", since_ms=1_000)
USERS = [f"u:{n}" for n in range(300)]
THEIRS = [user for user in USERS if canary_bucket("salt", user) < 3_000]
OTHERS = [user for user in USERS if user not in THEIRS]


def example(
    user: str, label: Label = Label.POSITIVE, *, bundle: str = LIVE, name: str = "r/t:1", revision: int = 0, at_ms: int = 2_000
) -> Example:
    """Return an example of a user."""
    features = CandidateFeatures("", "und", "", (), 0, Counters())
    return Example(f"{user}/{name}", revision, HOME, "r", user, "t:1", 0, at_ms, features, label, bundle=bundle)


def test_each_user_counts_for_the_arm_it_is_in_and_only_if_that_arm_answered() -> None:
    """In the moment of a change a user may be answered by the other bundle: that answer says nothing of its arm."""
    arms = Arms(HOME, STAGE, LIVE)
    for user in THEIRS:
        arms.take(example(user, bundle=CANARY))
        arms.take(example(user, Label.IMPLICIT_NEGATIVE, bundle=LIVE, name="other"))
    for user in OTHERS:
        arms.take(example(user, Label.IMPLICIT_NEGATIVE, bundle=LIVE))
        arms.take(example(user, bundle=CANARY, name="other"))
    assert (arms.canary.users, arms.canary.rate) == (len(THEIRS), 1.0)
    assert (arms.live.users, arms.live.rate) == (len(OTHERS), 0.0)
    assert arms.ignored == len(USERS)


def test_a_correction_counts_instead_of_what_it_corrects_in_any_order() -> None:
    """A late like turns a negative into a positive; redelivery must not turn it back, or count it twice."""
    arms = Arms(HOME, STAGE, LIVE)
    user = OTHERS[0]
    arms.take(example(user, Label.IMPLICIT_NEGATIVE))
    assert (arms.live.shown, arms.live.engaged) == (1, 0)
    for _ in range(2):
        arms.take(example(user, Label.POSITIVE, revision=1))
        arms.take(example(user, Label.IMPLICIT_NEGATIVE))
    assert (arms.live.users, arms.live.shown, arms.live.engaged) == (1, 1, 1)
    arms.take(example(user, Label.EXPLICIT_NEGATIVE, revision=2))
    assert (arms.live.shown, arms.live.engaged) == (1, 0)


def test_what_was_seen_before_the_canary_or_elsewhere_does_not_count() -> None:
    """Before it everybody was answered by the live bundle."""
    arms = Arms(HOME, STAGE, LIVE)
    user = OTHERS[0]
    arms.take(example(user, at_ms=999))
    arms.take(example(user, Label.UNKNOWN))
    arms.take(replace(example(user), surface="elsewhere"))
    assert arms.live.users == arms.canary.users == 0


def test_sums_are_those_of_the_users() -> None:
    """The variance needs squares by user, not by impression."""
    arms = Arms(HOME, STAGE, LIVE)
    for n in range(3):
        arms.take(example(OTHERS[0], name=f"a{n}"))
    arms.take(example(OTHERS[1], Label.IMPLICIT_NEGATIVE))
    sums = arms.live
    assert (sums.users, sums.shown, sums.engaged) == (2, 4, 3)
    assert (sums.shown_squared, sums.engaged_squared, sums.shown_times_engaged) == (10, 9, 9)
