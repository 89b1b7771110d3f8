"""Examples into arms: who counts, for which arm, and once."""

from dataclasses import replace

from schemas.features.hashing import canary_bucket
from schemas.records.candidates import CandidateFeatures, Counters
from schemas.records.control import BundleStage, Stage
from schemas.records.feedback import Example, Label
from schemas.records.users import QueryFeatures
from streams.canary.arms import MAX_SLICES, Arms

HOME, LIVE, CANARY = "home-timeline", "0" * 16, "1" * 16
STAGE = BundleStage(CANARY, Stage.CANARY, 3_000, "salt", since_ms=1_000)
USERS = [f"u:{n}" for n in range(300)]
THEIRS = [user for user in USERS if canary_bucket("salt", user) < 3_000]
OTHERS = [user for user in USERS if user not in THEIRS]
CORRECTED_MS = 3_600_000


def example(
    user: str, label: Label = Label.POSITIVE, *, bundle: str = LIVE, name: str = "r/t:1", revision: int = 0, at_ms: int = 2_000
) -> Example:
    """Return an example of a user."""
    features = CandidateFeatures("", "und", "", (), 0, Counters())
    return Example(f"{user}/{name}", revision, HOME, "r", user, "t:1", 0, at_ms, features, label, bundle=bundle)


def test_each_user_counts_for_the_arm_it_is_in_and_only_if_that_arm_answered() -> None:
    """In the moment of a change a user may be answered by the other bundle: that answer says nothing of its arm."""
    arms = Arms(HOME, STAGE, LIVE, corrected_ms=CORRECTED_MS)
    for user in THEIRS:
        arms.take(example(user, bundle=CANARY))
        arms.take(example(user, Label.IMPLICIT_NEGATIVE, bundle=LIVE, name="other"))
    for user in OTHERS:
        arms.take(example(user, Label.IMPLICIT_NEGATIVE, bundle=LIVE))
        arms.take(example(user, bundle=CANARY, name="other"))
    assert (arms.engagement[0].users, arms.engagement[0].rate) == (len(THEIRS), 1.0)
    assert (arms.engagement[1].users, arms.engagement[1].rate) == (len(OTHERS), 0.0)
    assert arms.ignored == len(USERS)


def test_a_correction_counts_instead_of_what_it_corrects_in_any_order() -> None:
    """A late like turns a negative into a positive; redelivery must not turn it back, or count it twice."""
    arms = Arms(HOME, STAGE, LIVE, corrected_ms=CORRECTED_MS)
    user = OTHERS[0]
    arms.take(example(user, Label.IMPLICIT_NEGATIVE))
    assert (arms.engagement[1].shown, arms.engagement[1].engaged) == (1, 0)
    for _ in range(2):
        arms.take(example(user, Label.POSITIVE, revision=1))
        arms.take(example(user, Label.IMPLICIT_NEGATIVE))
    assert (arms.engagement[1].users, arms.engagement[1].shown, arms.engagement[1].engaged) == (1, 1, 1)
    arms.take(example(user, Label.EXPLICIT_NEGATIVE, revision=2))
    assert (arms.engagement[1].shown, arms.engagement[1].engaged) == (1, 0)


def test_of_two_equal_revisions_the_last_counts() -> None:
    """A labeler that was killed joins once more, with what came meanwhile, and corrects only what it wrote last."""
    arms = Arms(HOME, STAGE, LIVE, corrected_ms=CORRECTED_MS)
    for label in (Label.IMPLICIT_NEGATIVE, Label.POSITIVE, Label.POSITIVE):
        arms.take(example(OTHERS[0], label))
    assert (arms.engagement[1].shown, arms.engagement[1].engaged) == (1, 1)


def test_what_can_no_longer_be_corrected_is_forgotten() -> None:
    """A canary of days on a busy surface held two hundred bytes of each impression, in the process that every rollout needs."""
    arms = Arms(HOME, STAGE, LIVE, corrected_ms=1_000)
    user = OTHERS[0]
    for at_ms in range(2_000, 22_000, 100):
        arms.take(example(user, Label.IMPLICIT_NEGATIVE, name=f"{at_ms}", at_ms=at_ms))
    assert sum(map(len, arms._counted.values())) == 11
    arms.take(example(user, Label.POSITIVE, name="20900", revision=1, at_ms=20_900))
    # read much later, from another partition, and corrected there
    for revision, label in enumerate((Label.IMPLICIT_NEGATIVE, Label.POSITIVE)):
        arms.take(example(user, label, name="old", revision=revision, at_ms=2_000), partition=1)
    assert (arms.engagement[1].shown, arms.engagement[1].engaged) == (201, 2)


def test_what_was_seen_before_the_canary_or_elsewhere_does_not_count() -> None:
    """Before it everybody was answered by the live bundle."""
    arms = Arms(HOME, STAGE, LIVE, corrected_ms=CORRECTED_MS)
    user = OTHERS[0]
    arms.take(example(user, at_ms=999))
    arms.take(example(user, Label.UNKNOWN))
    arms.take(replace(example(user), surface="elsewhere"))
    assert [arm.users for arm in arms.engagement] == [0, 0]


def test_sums_are_those_of_the_users() -> None:
    """The variance needs squares by user, not by impression."""
    arms = Arms(HOME, STAGE, LIVE, corrected_ms=CORRECTED_MS)
    for n in range(3):
        arms.take(example(OTHERS[0], name=f"a{n}"))
    arms.take(example(OTHERS[1], Label.IMPLICIT_NEGATIVE))
    _, sums = arms.engagement
    assert (sums.users, sums.shown, sums.engaged) == (2, 4, 3)
    assert (sums.shown_squared, sums.engaged_squared, sums.shown_times_engaged) == (10, 9, 9)


def of_language(user: str, declared: str, shown: str, *, known: bool, bundle: str) -> Example:
    """Return an example with a reader's language and history, and a tweet's language."""
    query = QueryFeatures(languages=(declared,), history_topics=("birds",) if known else ())
    made = example(user, bundle=bundle)
    return replace(made, query=query, candidate=replace(made.candidate, language=shown))


def test_users_count_by_their_language_and_new_ones_by_themselves() -> None:
    """An average hides whom it is bad for."""
    arms = Arms(HOME, STAGE, LIVE, corrected_ms=CORRECTED_MS)
    for number, user in enumerate(OTHERS[:10]):
        arms.take(of_language(user, "ja" if number < 4 else "en", "en", known=number % 2 == 0, bundle=LIVE))
    arms.take(of_language(THEIRS[0], "ja", "ja", known=True, bundle=CANARY))
    found = {name: (canary.users, live.users) for name, (canary, live) in arms.slices.items()}
    assert found == {"language ja": (1, 4), "language en": (0, 6), "new users": (0, 5)}


def test_what_is_shown_in_another_language_than_declared_counts_once() -> None:
    """A correction of the label changes nothing about what was shown; an undetermined language is no mismatch."""
    arms = Arms(HOME, STAGE, LIVE, corrected_ms=CORRECTED_MS)
    arms.take(of_language(OTHERS[0], "ja", "en", known=True, bundle=LIVE))
    arms.take(replace(of_language(OTHERS[0], "ja", "en", known=True, bundle=LIVE), revision=1, label=Label.IMPLICIT_NEGATIVE))
    arms.take(of_language(OTHERS[1], "ja", "und", known=True, bundle=LIVE))
    arms.take(of_language(OTHERS[2], "ja", "ja", known=True, bundle=LIVE))
    arms.take(example(OTHERS[3]))
    _, live = arms.mismatch
    assert (live.shown, live.engaged) == (4, 1)


def test_there_are_no_more_slices_than_the_test_allows_for() -> None:
    """With every language that somebody made up a slice, the bound on a false alarm would not hold."""
    arms = Arms(HOME, STAGE, LIVE, corrected_ms=CORRECTED_MS)
    for number, user in enumerate(OTHERS[: MAX_SLICES + 10]):
        arms.take(of_language(user, f"l{number}", "en", known=True, bundle=LIVE))
    assert len(arms.slices) == MAX_SLICES
    assert arms.engagement[1].users == MAX_SLICES + 10
