"""The bar of a command that goes through one thing after the other."""

import pytest

from roost.cli.phases_bar import phases_bar


def test_the_bar_shows_the_phase_under_way_and_how_far_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    """Topics differ in length: how many are read says little of how long it will take."""
    with phases_bar() as progress:
        progress("tweets", 10, 10)
        progress("user-states", 1, 4)
    captured = capsys.readouterr()
    assert captured.out == "", "answers are piped"
    assert "user-states" in captured.err
    assert "25%" in captured.err
    assert "tweets" not in captured.err


def test_no_bar_is_drawn_where_there_is_nothing_to_go_through(capsys: pytest.CaptureFixture[str]) -> None:
    """Of empty topics: a bar at 0% would look like a command that was cut off."""
    with phases_bar():
        pass
    assert "%" not in capsys.readouterr().err
