"""A checkpoint is no burst: its pieces come at even distances, and what is late comes at once."""

import itertools

import pytest

from streams.runner.spread import Spread


def test_pieces_come_evenly_over_the_time_and_the_last_before_its_end() -> None:
    """Written at once, a second's engagements would hold up whatever is published in that moment."""
    spread = Spread(20, over_s=0.5, now_s=100.0)
    now_s, moments = 100.0, []
    for _ in range(20):
        now_s += spread.due_in_s(now_s)
        moments.append(now_s)
        spread.took()

    assert moments[0] == 100.0
    assert moments[-1] < 100.5
    assert [after - before for before, after in itertools.pairwise(moments)] == pytest.approx([0.025] * 19)


def test_pieces_that_are_late_are_due_at_once_until_they_have_caught_up() -> None:
    """A machine that is too slow for the pace writes as fast as it can, as without one."""
    spread = Spread(50, over_s=0.5, now_s=0.0)
    spread.took()

    assert spread.due_in_s(0.2) == 0
    for _ in range(20):
        spread.took()
    assert spread.due_in_s(0.2) == pytest.approx(0.01)


def test_a_checkpoint_of_one_piece_does_not_take_the_whole_time() -> None:
    """On a quiet stream a checkpoint must not be open for half of the time."""
    spread = Spread(1, over_s=0.5, now_s=0.0)
    spread.took()

    assert spread.due_in_s(0.0) == pytest.approx(0.05)
