"""Plain Avro: an expression matches what our writers write, whole and in one way, and nothing else."""

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from schemas.plain import ASCII_TEXT, LONG, TEXT, NotPlain, array, find_text, group, optional, read_long
from schemas.writing import long_bytes, string_bytes

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=70)


def matches(expression: bytes, data: bytes) -> bool:
    """Tell whether all of the bytes are what the expression says."""
    return re.fullmatch(expression, data, re.DOTALL) is not None


@given(number=st.integers(-(2**63), 2**63 - 1))
@example(0)
@example(63)
@example(64)
@example(2**62 - 1)
@example(2**62)
def test_a_long_is_matched_and_read_up_to_nine_bytes(number: int) -> None:
    """A tenth byte may go beyond 64 bits: that is the general reader's to say."""
    data = long_bytes(number)
    assert matches(LONG, data) == (len(data) < 10)
    if len(data) < 10:
        assert read_long(b"x" + data + b"x", 1) == (number, 1 + len(data))
    else:
        with pytest.raises(NotPlain, match="ten bytes"):
            read_long(data, 0)


@pytest.mark.parametrize("data", [b"\x80\x00", b"\xff\x00", b"\x80\x80\x00"])
def test_a_long_of_more_bytes_than_it_needs_is_not_plain(data: bytes) -> None:
    """Copied, it would be another record than the one that is written anew."""
    assert not matches(LONG, data)
    with pytest.raises(NotPlain, match="more bytes"):
        read_long(data, 0)


@given(text=texts)
def test_a_text_is_matched_while_its_length_fits_one_byte(text: str) -> None:
    """The expression has a branch for each length."""
    data = string_bytes(text)
    assert matches(TEXT, data) == (len(text.encode()) < 64)
    assert matches(ASCII_TEXT, data) == (len(text.encode()) < 64 and text.isascii())
    at, end = find_text(data, 0)
    assert data[at:end].decode() == text


@given(items=st.lists(st.tuples(texts, st.integers(-(2**62), 2**62 - 1)), max_size=4))
def test_an_array_is_matched_with_just_so_many_items(items: list[tuple[str, int]]) -> None:
    """One taken for another's end would shift all that follows."""
    entries = b"".join(string_bytes(key) + long_bytes(value) for key, value in items)
    data = long_bytes(len(items)) + entries + b"\0" if items else b"\0"
    short = all(len(key.encode()) < 64 for key, _ in items)
    assert matches(array(TEXT + LONG, 3), data) == (short and len(items) <= 3)
    assert not matches(array(TEXT + LONG, 4), long_bytes(len(items) + 1) + entries + b"\0")
    assert not matches(array(TEXT + LONG, 4), long_bytes(-1) + entries + b"\0")


def test_a_group_gives_its_values_and_null_is_a_value_that_may_be_missing() -> None:
    """What is not grouped is passed over."""
    expression = re.compile(LONG + group(TEXT, LONG) + optional(group(LONG)), re.DOTALL)
    for end, found in ((b"\0", None), (b"\x02\x80\x01", b"\x80\x01")):
        match = expression.fullmatch(b"\x01" + b"\x04ab\x06" + end)
        assert match is not None
        assert match.groups() == (b"\x04ab\x06", found)
    assert expression.fullmatch(b"\x01\x04ab\x06\x04\x06") is None
