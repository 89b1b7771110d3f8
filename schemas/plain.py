"""Plain Avro, the form that our writers write: its values read where they lie, and its records as regular expressions.

Knows no schema. An expression finds the values of a record in a fifth of the time that Python takes from one to the next. It
matches plain bytes only: whatever is unusual or wrong is left to the general reader, so that there is one judge of it.
"""

import re
from functools import lru_cache

# of as many bytes as it needs, and at most nine; an atomic group, like all of these: there is one way to read them
LONG = rb"(?>[\x00-\x7f]|[\x80-\xff]{1,8}[\x01-\x7f])"


class NotPlain(Exception):
    """These bytes must be read by the general reader, which may refuse them."""


def _counted(item: bytes, most: int) -> list[bytes]:
    return [re.escape(bytes([2 * count])) + b"(?:" + item + b"){%d}" % count for count in range(1, most + 1)]


def _any(expressions: list[bytes]) -> bytes:
    return b"(?>" + b"|".join(expressions) + b")"


# up to where the length no longer fits one byte
TEXT = _any([rb"\x00", *_counted(b".", 63)])
_ASCII_NAMES = _counted(rb"[\x00-\x7f]", 63)
ASCII_TEXT = _any([rb"\x00", *_ASCII_NAMES])
# a text that is not empty
ASCII_NAME = _any(_ASCII_NAMES)


def array(item: bytes, most: int) -> bytes:
    """Return the expression of an array, in one block, of up to `most` items; or of a map, whose items are key and value."""
    return _any([rb"\x00", *(block + rb"\x00" for block in _counted(item, most))])


def optional(value: bytes) -> bytes:
    """Return the expression of null or a value."""
    return rb"(?>\x00|\x02" + value + b")"


def group(*expressions: bytes) -> bytes:
    """Return the expression of values one after the other, which a match gives."""
    return b"(" + b"".join(expressions) + b")"


def read_long(data: bytes, at: int) -> tuple[int, int]:
    """Return the long at `at`, and where it ends."""
    digit = data[at]
    rest, shift = digit & 127, 7
    while digit > 127:
        if shift > 56:
            raise NotPlain("a long of ten bytes")
        at += 1
        digit = data[at]
        rest |= (digit & 127) << shift
        shift += 7
    if digit == 0 and shift > 7:
        raise NotPlain("a long of more bytes than it needs")
    return (rest >> 1) ^ -(rest & 1), at + 1


# counters, places and sequences are small, and a batch shares its times: a hit costs a tenth
@lru_cache(maxsize=8_192)
def long_of(digits: bytes) -> int:
    """Return the long that these bytes are."""
    return read_long(digits, 0)[0]


def find_text(data: bytes, at: int) -> tuple[int, int]:
    """Return where the text at `at` begins and ends. An end past the data's shows at the next byte that is asked for."""
    length = data[at]
    if length < 128:
        at += 1
    else:
        length, at = read_long(data, at)
        length *= 2
    if length & 1 or length < 0:
        raise NotPlain("a text of negative length")
    return at, at + (length >> 1)
