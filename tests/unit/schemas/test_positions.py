"""Positions in topics: marks survive the wire, and what falls short is named."""

import pytest

from schemas.positions import MARK, SOURCE_IDS, first_missing, read_mark, read_source_ids, write_mark, write_source_ids


def test_a_mark_is_read_as_it_was_written_among_other_headers() -> None:
    """A proxy may add headers of its own."""
    assert read_mark([("trace", b"\xff"), write_mark({"tweets": 42, "engagements": 0}), ("other", None)]) == {
        "tweets": 42,
        "engagements": 0,
    }


@pytest.mark.parametrize(
    "value", [None, b"", b"\xff", b"[1]", b'{"tweets": "7"}', b'{"tweets": true}', b'{"tweets": 1.5}', b"null", b"[" * 100_000]
)
def test_a_mark_that_cannot_be_read_is_none(value: bytes | None) -> None:
    """It only makes a node know later what it holds; a record is never lost for it."""
    assert read_mark([(MARK, value)]) == {}


def test_the_first_partition_that_falls_short_is_named() -> None:
    """The sentence a caller reads is made of it; what nothing is known of counts as not begun."""
    held = {"tweets": {0: 5, 1: 9}}
    assert first_missing({}, {}) is None
    assert first_missing({"tweets": {0: 5, 1: 8}}, held) is None
    assert first_missing({"tweets": {0: 5, 1: 10}}, held) == ("tweets", 1, 10, 9)
    assert first_missing({"tweets": {3: 1}}, held) == ("tweets", 3, 1, 0)
    assert first_missing({"engagements": {0: 0}}, held) is None
    assert first_missing({"engagements": {0: 1}}, held) == ("engagements", 0, 1, 0)


def test_of_which_topics_positions_are_is_read_as_it_was_written() -> None:
    """It stands beside the mark, on the same record."""
    ids = {"tweets": "Yl9zk6CqRb2s", "engagements": "x"}
    assert read_source_ids([write_mark({"tweets": 42}), *write_source_ids(ids)]) == ids
    assert write_source_ids({}) == ()


@pytest.mark.parametrize("value", [None, b"[1]", b'{"tweets": 7}', b"[" * 100_000])
def test_ids_that_cannot_be_read_are_known_by_nobody(value: bytes | None) -> None:
    """As of a record of an earlier release."""
    assert read_source_ids([(SOURCE_IDS, value)]) == {}
