"""What of a partition may be committed, and when all of it is folded, with offsets that hold no record."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.positions import Place
from streams.runner.handed_out import HandedOut

PLACE: Place = ("in", 0)


def handed(*offsets: int, begin: int = 0) -> HandedOut:
    """Return the account of a partition whose records of these offsets are out."""
    out = HandedOut()
    out.ask({PLACE: begin})
    for offset in offsets:
        out.hand_out(PLACE, offset)
    return out


@pytest.mark.parametrize("offsets", [(0, 1, 2), (3, 5, 9), (7, 8, 20)])
def test_records_are_committed_as_they_are_folded_across_empty_offsets(offsets: tuple[int, ...]) -> None:
    """Faust's own account stood still behind them."""
    out = handed(*offsets)
    assert out.committable(PLACE) is None
    for offset in offsets:
        assert out.settled(PLACE) is None
        out.fold(PLACE, offset)
        assert out.committable(PLACE) == offset + 1
    assert out.settled(PLACE) == offsets[-1] + 1


def test_empty_offsets_at_the_end_are_passed_once_nothing_is_out() -> None:
    """They were fetched; whether records stood among them is known when more is asked for."""
    out = handed(0)
    out.fold(PLACE, 0)
    assert out.committable(PLACE) == 1
    out.ask({PLACE: 4})
    assert out.settled(PLACE) == out.committable(PLACE) == 4
    out.hand_out(PLACE, 6)
    out.ask({PLACE: 9})
    assert (out.settled(PLACE), out.committable(PLACE)) == (None, 1)
    out.fold(PLACE, 6)
    assert out.committable(PLACE) == 9


def test_nothing_is_said_of_a_partition_that_was_given_up() -> None:
    """Its next owner has committed more by then."""
    out = handed(0, begin=0)
    out.fold(PLACE, 0)
    out.forget()
    assert (out.settled(PLACE), out.committable(PLACE)) == (None, None)
    out.ask({PLACE: 30})
    assert out.settled(PLACE) == 30


@given(st.lists(st.booleans(), max_size=40), st.data())
def test_no_record_that_is_not_folded_is_ever_committed_and_none_is_left(is_record: list[bool], data: st.DataObject) -> None:
    """Whatever is fetched, handed out and folded when."""
    out, fetched, unfolded = HandedOut(), 0, list[int]()
    while fetched < len(is_record) or unfolded:
        # nothing is drawn where there is no choice: rounds of nothing would use the example up
        if fetched < len(is_record) and (not unfolded or data.draw(st.booleans())):
            out.ask({PLACE: fetched})
            end = data.draw(st.integers(fetched + 1, len(is_record)))
            found = [offset for offset in range(fetched, end) if is_record[offset]]
            if found:
                out.hand_out(PLACE, found[-1])
            unfolded, fetched = unfolded + found, end
        else:
            out.fold(PLACE, unfolded.pop(0))
        assert (out.committable(PLACE) or 0) <= min([fetched, *unfolded])
        if unfolded:
            assert out.settled(PLACE) is None
    out.ask({PLACE: fetched})
    assert (out.committable(PLACE) or 0) == out.settled(PLACE) == len(is_record)
