"""Rests between batches are short, and never taken from a runner that is behind."""

import pytest

from streams.runner.rest import rest_s


@pytest.mark.parametrize(
    ("records", "spent_s", "expected_s"),
    [
        (0, 0.0, 0.0),
        # a lone tweet is answered for at once, and so is the next
        (2, 0.002, 0.0),
        # five in fifteen milliseconds
        (5, 0.015, 0.0),
        (5, 0.002, 0.003),
        (5, 0.004, 0.004),
        # the same traffic on a busy machine
        (14, 0.015, 0.015),
        (40, 0.045, 0.02),
        # behind: batches are large, and every moment of rest would be missed
        (100, 0.05, 0.0),
        (2_000, 0.4, 0.0),
        # large because of a burst that took no time
        (100, 0.002, 0.003),
    ],
)
def test_the_rest_after_a_round(records: int, spent_s: float, expected_s: float) -> None:
    """Records of a round, the seconds it took, and the rest after it."""
    assert rest_s(records, spent_s) == pytest.approx(expected_s)
