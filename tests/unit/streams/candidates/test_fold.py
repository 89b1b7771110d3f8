"""One input, one candidate: the rules of versions, deletes, stubs and counters, each by hand."""

from dataclasses import replace

import pytest

from schemas.ids import LAST_SEQUENCE
from schemas.records.candidates import Candidate, Counters, Tweet
from schemas.records.feedback import EngagementKind
from streams.candidates.fold import NO_STEPS, step_of, with_engagements, with_publication, with_tombstone

_TWEET = Tweet("t:1", 100, 5, "a:1", 50, text="first")


def _folded(*tweets: Tweet) -> Candidate:
    known: Candidate | None = None
    for tweet in tweets:
        known = with_publication(known, tweet, append_time_ms=1_000) or known
    assert known is not None
    return known


def _engaged(known: Candidate | None, *kinds: EngagementKind, append_time_ms: int) -> Candidate:
    steps = list(NO_STEPS)
    for kind in kinds:
        step = step_of(kind)
        assert step is not None
        steps[step[0]] += step[1]
    return with_engagements(known, "t:1", steps, append_time_ms=append_time_ms)


@pytest.mark.parametrize(
    ("later", "wins"),
    [
        (replace(_TWEET, event_time_ms=101, sequence=0), True),
        (replace(_TWEET, event_time_ms=99, sequence=9), False),
        (replace(_TWEET, sequence=6), True),
        (replace(_TWEET, sequence=4), False),
        (replace(_TWEET, text="same version, later in the log"), True),
        (replace(_TWEET, deleted=True), True),
    ],
)
def test_the_highest_version_wins_and_a_tie_goes_to_the_delete_or_the_later(later: Tweet, wins: bool) -> None:  # noqa: FBT001
    """Producers retry and reorder: the outcome must follow from versions, not from arrival."""
    after = with_publication(_folded(_TWEET), later, append_time_ms=2_000)
    assert (after is not None) is wins
    if after is not None:
        assert (after.version, after.deleted, after.append_time_ms) == (later.version, later.deleted, 2_000)


def test_an_update_of_a_deletes_own_version_does_not_bring_it_back() -> None:
    """A delete beats an update on a tie, whichever is read first."""
    deleted = _folded(_TWEET, replace(_TWEET, deleted=True))
    assert with_publication(deleted, _TWEET, append_time_ms=2_000) is None
    assert with_publication(deleted, replace(_TWEET, sequence=6), append_time_ms=2_000) is not None


def test_a_foreign_null_deletes_whatever_is_known() -> None:
    """It carries no version: it gets one above the known event time and the broker's own clock."""
    for append_time_ms, event_time_ms in ((2_000, 2_000), (70, 100)):
        after = with_tombstone(_folded(_TWEET), "t:1", append_time_ms=append_time_ms)
        assert after.deleted
        assert after.attributes is None
        assert after.version == (event_time_ms, LAST_SEQUENCE)


def test_an_engagement_with_an_unknown_id_makes_a_stub_that_the_create_fills() -> None:
    """Topics are read in any order: counts that come first must not be lost, nor be retrievable before the create."""
    stub = _engaged(None, EngagementKind.CLICK, append_time_ms=10)
    assert stub.is_stub
    assert stub.version == (-1, -1)
    filled = with_publication(stub, _TWEET, append_time_ms=20)
    assert filled is not None
    assert not filled.is_stub
    assert filled.counters == Counters(click=1)


def test_an_undo_that_comes_first_is_kept_signed_and_read_as_zero() -> None:
    """The undo and its engagement may be swapped by a retry; clipping when written would leave one too many."""
    undone = _engaged(None, EngagementKind.UNFAVORITE, append_time_ms=10)
    assert undone.counters == Counters(favorite=-1)
    assert undone.counters.clipped() == Counters()
    again = _engaged(undone, EngagementKind.FAVORITE, append_time_ms=11)
    assert again.counters == Counters()


def test_a_deleted_candidate_counts_on() -> None:
    """Were it ignored, reading the delete before or after the engagement would give two states."""
    deleted = _folded(_TWEET, replace(_TWEET, sequence=6, deleted=True))
    after = _engaged(deleted, EngagementKind.REPLY, append_time_ms=2_000)
    assert after.deleted
    assert after.counters == Counters(reply=1)


def test_every_kind_but_unknown_moves_exactly_one_counter() -> None:
    """A kind added to the schema and forgotten here would be dropped in silence."""
    for kind in EngagementKind:
        assert (step_of(kind) is None) is (kind is EngagementKind.UNKNOWN), kind
        if kind is not EngagementKind.UNKNOWN:
            assert len([v for v in _engaged(None, kind, append_time_ms=1).counters.to_avro().values() if v]) == 1, kind
