"""The thermometer on traffic that can be counted by hand."""

import math

import numpy as np
import pytest

from lab.paper.continual.thermometer import effective_share


def test_the_effective_share_is_the_one_worked_out_by_hand() -> None:
    """Shares 1/2, 1/4, 1/4: entropy 1/2 ln 2 + 2 * 1/4 ln 4 = 3/2 ln 2, so 2 ** 1.5 = 2.83 of 8 candidates: .354."""
    assert effective_share(np.array([3, 3, 5, 6]), 8) == pytest.approx(2**1.5 / 8)


def test_it_goes_from_one_candidate_to_all_of_them() -> None:
    """A figure whose ends are known can be read without another beside it; one that ignored repetition would stay high."""
    assert effective_share(np.array([0, 1, 2, 3]), 4) == pytest.approx(1.0)
    assert effective_share(np.array([2, 2, 2, 2]), 4) == pytest.approx(0.25)
    assert effective_share(np.array([0, 1, 2, 3] * 50), 4) == pytest.approx(1.0), "more of the same traffic is no wider"
    narrowed = effective_share(np.array([0] * 97 + [1, 2, 3]), 4)
    assert 0.25 < narrowed < 0.30, "four candidates were served, and one of them nearly always"


def test_nothing_served_is_not_narrow() -> None:
    """A day without visits has no temperature; 0 would read as a collapse."""
    assert math.isnan(effective_share(np.zeros(0, np.int64), 5))
