"""Any record survives the wire; any bytes are a record or one typed error; every token fits and is read or absent."""

import base64
import dataclasses
from contextlib import suppress
from dataclasses import replace
from typing import Any, get_args, get_origin, get_type_hints

import pytest
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st

from schemas.codec import HEADER_BYTES, decode, decode_embedding, encode
from schemas.errors import InvalidInput, InvalidRecord
from schemas.records.candidates import CandidateFeatures, Counters, Embedding, Tweet
from schemas.records.feedback import CandidateToken, QueryToken
from schemas.records.users import QueryFeatures
from schemas.tokens import MAX_CANDIDATE_TOKEN_BYTES, MAX_QUERY_TOKEN_BYTES, read_token, write_token
from tests.samples import FILLED, NOON_MS

TYPED = {subject: type(message) for subject, message in FILLED.items() if not isinstance(message, Embedding)}
LONGS = st.integers(-(2**63), 2**63 - 1)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
# Avro's int
NARROW = {"position", "share_bp", "attempts", "partition", "impression_partition", "revision"}


def values(hint: Any, name: str) -> st.SearchStrategy[Any]:
    """Return a strategy for a field of a record."""
    if isinstance(hint, type) and dataclasses.is_dataclass(hint):
        return records(hint)
    if get_origin(hint) is tuple:
        return st.lists(values(get_args(hint)[0], name), max_size=3).map(tuple)
    if get_args(hint) and type(None) in get_args(hint):
        (inner,) = (part for part in get_args(hint) if part is not type(None))
        return st.none() | values(inner, name)
    if get_args(hint):
        return st.dictionaries(TEXTS, values(get_args(hint)[1], name), max_size=3)
    if isinstance(hint, type) and hasattr(hint, "__members__"):
        return st.sampled_from(list(hint.__members__.values()))
    by_type: dict[Any, st.SearchStrategy[Any]] = {
        str: TEXTS,
        bool: st.booleans(),
        float: st.floats(allow_nan=False),
        bytes: st.binary(max_size=20),
        int: st.integers(-(2**31), 2**31 - 1) if name in NARROW else LONGS,
    }
    return by_type[hint]


def records(record_type: type) -> st.SearchStrategy[Any]:
    """Return a strategy for any record of a type, within Avro's types but without the contracts' rules."""
    hints = get_type_hints(record_type)
    fields = {field.name: values(hints[field.name], field.name) for field in dataclasses.fields(record_type)}
    return st.builds(record_type, **fields)


@pytest.mark.parametrize("subject", TYPED)
@settings(max_examples=15, suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(data=st.data())
def test_any_record_survives_the_wire(subject: str, data: st.DataObject) -> None:
    """Null stays null, zero stays zero, empty stays empty, and every script comes through."""
    message = data.draw(records(TYPED[subject]))
    assert decode(TYPED[subject], encode(message)) == message


@settings(max_examples=120, deadline=None)
@given(subject=st.sampled_from(sorted(TYPED)), body=st.binary(max_size=200))
@example(subject="user-state", body=b"\x02" + b"\xff" * 9 + b"\x7f")
@example(subject="node-status", body=b"\xff" * 9 + b"\x01")
def test_any_bytes_behind_a_good_header_are_a_record_or_one_typed_error(subject: str, body: bytes) -> None:
    """A processor catches `InvalidInput` and nothing else: any other error would stop it at every restart."""
    with suppress(InvalidInput):
        record = decode(TYPED[subject], encode(FILLED[subject])[:HEADER_BYTES] + body)
        with suppress(InvalidRecord):
            record.check(append_time_ms=NOON_MS)


@settings(max_examples=120, deadline=None)
@given(subject=st.sampled_from(sorted(FILLED)), place=st.integers(0, 10_000), bit=st.integers(0, 7))
def test_any_flipped_bit_gives_a_record_or_one_typed_error(subject: str, place: int, bit: int) -> None:
    """And what is read still checks without a surprise."""
    frame = bytearray(encode(FILLED[subject], subject=subject))
    frame[place % len(frame)] ^= 1 << bit
    with suppress(InvalidInput):
        dim = subject.removeprefix("embedding-d")
        data = bytes(frame)
        record = decode_embedding(int(dim), data) if dim.isdigit() else decode(TYPED[subject], data)
        with suppress(InvalidRecord):
            record.check(append_time_ms=NOON_MS)


CHARACTERS = st.sampled_from(["a", "é", "音", "🌍", "\x00"])


def long_texts(max_bytes: int) -> st.SearchStrategy[str]:
    """Return a strategy for texts up to and at a bound in bytes."""
    return CHARACTERS.map(lambda c: c * (max_bytes // len(c.encode()))) | st.text(CHARACTERS, max_size=max_bytes)


tweets = st.builds(
    Tweet,
    candidate_id=long_texts(62).map(lambda name: f"t:{name}"),
    event_time_ms=st.integers(0, NOON_MS),
    sequence=st.integers(0, 2**63 - 1),
    author_id=long_texts(64),
    created_ms=st.integers(0, NOON_MS),
    language=long_texts(24),
    region=long_texts(24),
    topics=st.lists(long_texts(24), max_size=6).map(tuple),
    author_followers=st.sampled_from([0, 2**31, 2**63 - 1]),
)
LARGEST = Tweet(
    "t:" + "x" * 62,
    NOON_MS,
    2**63 - 1,
    "x" * 64,
    NOON_MS,
    language="x" * 24,
    region="x" * 24,
    topics=("x" * 24,) * 6,
    author_followers=2**63 - 1,
)


@given(tweet=tweets, count=st.sampled_from([0, 1, 2**31, 2**63 - 1]))
@example(tweet=LARGEST, count=2**63 - 1)
def test_every_tweet_that_passes_its_check_has_a_token_of_at_most_512_bytes(tweet: Tweet, count: int) -> None:
    """A longer one would fail the whole answer it is part of."""
    try:
        tweet.check(append_time_ms=NOON_MS)
    except InvalidRecord:
        assume(False)
    token = CandidateToken("f" * 16, *tweet.version, tweet.attributes().features(Counters(*[count] * 7)))
    text = write_token(token)
    assert len(text) <= MAX_CANDIDATE_TOKEN_BYTES
    assert read_token(CandidateToken, text) == token


FULL = QueryFeatures(
    languages=("x" * 24,) * 4,
    region="x" * 24,
    interests=("x" * 24,) * 16,
    follows=("x" * 64,) * 16,
    history_authors=("x" * 64,) * 16,
    history_topics=("x" * 24,) * 16,
    history_languages=("x" * 24,) * 16,
    context={f"{i}" + "x" * 31: "x" * 64 for i in range(8)},
)


def test_the_largest_query_features_that_pass_their_check_fit_a_query_token() -> None:
    """The bound is tight enough to matter and wide enough to hold."""
    FULL.check()
    text = write_token(QueryToken("f" * 16, FULL), max_bytes=MAX_QUERY_TOKEN_BYTES)
    assert MAX_QUERY_TOKEN_BYTES // 2 < len(text) <= MAX_QUERY_TOKEN_BYTES
    assert read_token(QueryToken, text) == QueryToken("f" * 16, FULL)


def test_a_token_over_its_bound_is_refused_when_written_and_absent_when_read() -> None:
    """An impression of a foreign producer may carry anything."""
    huge = CandidateToken("f" * 16, 1, 1, CandidateFeatures("x" * 400, "", "", (), 0, Counters()))
    with pytest.raises(InvalidRecord, match="over 512"):
        write_token(huge)
    assert read_token(QueryToken, "A" * (MAX_QUERY_TOKEN_BYTES + 1)) is None


@settings(max_examples=120)
@given(st.none() | st.text(max_size=600) | st.binary(max_size=400).map(lambda data: (b"\x01" + data).hex()))
def test_no_text_makes_reading_a_token_fail(text: str | None) -> None:
    """Unreadable is absent: the labeler reconstructs."""
    for token_type in (CandidateToken, QueryToken):
        read_token(token_type, text)


@settings(max_examples=120)
@given(place=st.integers(0, 600), letter=st.characters(), cut=st.integers(0, 600))
def test_a_damaged_token_is_absent_or_another_token_never_an_error(place: int, letter: str, cut: int) -> None:
    """Browsers and proxies truncate and rewrite."""
    text = write_token(CandidateToken("f" * 16, 1, 1, CandidateFeatures("a:1", "de", "", ("x",), 5, Counters(1))))
    place %= len(text)
    read_token(CandidateToken, text[:place] + letter + text[place + 1 :])
    cut %= len(text)
    if cut < len(text) - 3:
        assert read_token(CandidateToken, text[:cut]) is None
    assert read_token(CandidateToken, text + "AAAA") is None


def test_a_token_of_another_kind_or_version_is_absent() -> None:
    """Its first byte is the schema version."""
    query = write_token(QueryToken("f" * 16, replace(FULL, context={})), max_bytes=MAX_QUERY_TOKEN_BYTES)
    assert read_token(CandidateToken, query) is None
    data = bytearray(base64.urlsafe_b64decode(query + "=" * (-len(query) % 4)))
    for version in (0, 2, 255):
        data[0] = version
        assert read_token(QueryToken, base64.urlsafe_b64encode(data).decode()) is None
