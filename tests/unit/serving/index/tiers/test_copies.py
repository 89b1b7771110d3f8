"""Which rows are copies: told by their bits, and never a row that differs."""

import numpy as np
import pytest

from serving.index.tiers.copies import first_of_each


@pytest.mark.parametrize("rows", [0, 1, 50, 10_000])
def test_each_row_equals_the_first_that_it_is_told_to_be_a_copy_of(rows: int) -> None:
    """In the order in which the different ones come."""
    random = np.random.default_rng(2)
    different = random.normal(size=(40, 8)).astype(np.float32)
    vectors = different[random.integers(0, 40, rows)]
    firsts, numbers = first_of_each(vectors, seed=1)
    assert np.array_equal(vectors[firsts][numbers], vectors)
    assert len(firsts) == len(np.unique(vectors, axis=0))
    assert np.all(np.diff(firsts) > 0)
    assert np.array_equal(numbers[firsts], np.arange(len(firsts)))


def test_rows_that_differ_are_no_copies_though_one_hash_stands_for_both(monkeypatch: pytest.MonkeyPatch) -> None:
    """One of them would be answered with the vector of the other."""

    class Zeros:
        def integers(self, *_: int, dtype: type[np.uint64]) -> np.ndarray:
            return np.zeros(4, dtype)

    vectors = np.array([[1, 2, 3, 4], [4, 3, 2, 1], [1, 2, 3, 4]], np.float32)
    monkeypatch.setattr(np.random, "default_rng", lambda _: Zeros())
    # all weights are one: the sum of the bits is the hash
    firsts, numbers = first_of_each(vectors, seed=1)
    assert firsts.tolist() == numbers.tolist() == [0, 1, 2]
