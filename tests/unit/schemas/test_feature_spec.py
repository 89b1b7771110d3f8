"""Feature specs: how values become ids, and specs that must be refused before a tower reads one wrong id."""

import copy
import dataclasses
import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.errors import BundleMismatch
from schemas.features.catalog import CATALOG, TWEET
from schemas.features.hashing import canary_bucket, feature_hash, hash_bucket
from schemas.features.spec import FeatureSpec, Field
from schemas.records.candidates import CandidateFeatures, Counters
from schemas.records.users import QueryFeatures

LOG = FeatureSpec("log", "s", (Field("region", "region", "hash", 9),), (Field("favorites", "counters.favorite", "log", 5),))


def favorites(count: int) -> int:
    """Return the id of a favorite count under five log buckets."""
    features = CandidateFeatures("", "", "", (), 0, Counters(favorite=count))
    return int(LOG.encode_candidates([features])[0, 0])


def test_counts_fall_into_logarithmic_buckets() -> None:
    """Worked by hand: floor(log2(1 + n)) + 1, at most the number of buckets; negative counts read as 0."""
    expected = {-5: 1, 0: 1, 1: 2, 2: 2, 3: 3, 6: 3, 7: 4, 14: 4, 15: 5, 16: 5, 10**6: 5, 2**63 - 1: 5}
    assert {count: favorites(count) for count in expected} == expected


def test_more_values_than_slots_are_cut_and_fewer_are_padded_with_zero() -> None:
    """Sequences come newest first: the newest are kept. Empty texts take no slot."""
    spec = FeatureSpec("s", "seed", (Field("languages", "languages", "hash", 1000, slots=3),), TWEET.candidate)
    none, one, four = (
        spec.encode_queries([QueryFeatures(languages=texts)])[0] for texts in ((), ("de",), ("de", "en", "fr", "it"))
    )
    assert none.tolist() == [0, 0, 0]
    assert one.tolist() == [hash_bucket("seed", "languages", "de", 1000), 0, 0]
    assert four.tolist() == [hash_bucket("seed", "languages", text, 1000) for text in ("de", "en", "fr")]
    assert spec.encode_queries([QueryFeatures(languages=("", "de"))])[0].tolist() == one.tolist()


def test_a_feature_is_found_in_its_columns_and_in_no_others() -> None:
    """Who blanks or compares one feature must not touch its neighbours."""
    columns = TWEET.columns("query", "interests")
    given, without = (TWEET.encode_queries([QueryFeatures(interests=of)])[0] for of in (("chess",) * 9, ()))
    assert given[columns].all()
    assert given[: columns.start].tolist() == without[: columns.start].tolist()
    assert given[columns.stop :].tolist() == without[columns.stop :].tolist()
    with pytest.raises(ValueError, match="no candidate feature interests"):
        TWEET.columns("candidate", "interests")


def test_an_absent_context_value_is_padding() -> None:
    """A query without a clicked tweet must not look like a click on an unknown one."""
    spec = FeatureSpec("s", "seed", (Field("topic", "context.topic", "hash", 1000),), TWEET.candidate)
    without, with_topic = spec.encode_queries([QueryFeatures(), QueryFeatures(context={"topic": "chess"})])
    assert without.tolist() == [0]
    assert with_topic.tolist() != [0]


def test_both_sides_of_a_shared_table_give_a_value_one_id() -> None:
    """A user's language and a tweet's language must pick the same row of weights."""
    query = TWEET.encode_queries([QueryFeatures(languages=("de",), context={"author_id": "a:1"})])[0]
    candidate = TWEET.encode_candidates([CandidateFeatures("a:1", "de", "", (), 0, Counters())])[0]
    assert query[0] == candidate[0] != 0
    assert candidate[1] in query


def test_the_same_text_in_two_tables_gets_two_ids() -> None:
    """Namespaces keep "music" the topic from "music" the region."""
    ids = {hash_bucket("seed", namespace, "music", 2**31 - 1) for namespace in ("topic", "region", "author")}
    assert len(ids) == 3


def test_a_batch_is_its_rows() -> None:
    """Padding or order in a batch must not leak between rows; no rows give no ids."""
    rows = [QueryFeatures(languages=(text,) * n) for n, text in enumerate(("", "de", "en", "音"))]
    together = TWEET.encode_queries(rows)
    np.testing.assert_array_equal(together, np.concatenate([TWEET.encode_queries([row]) for row in rows]))
    assert TWEET.encode_queries([]).shape == (0, TWEET.query_width)


@given(st.text(max_size=40), st.integers(1, 2**31 - 1))
def test_a_bucket_lies_between_one_and_the_number_of_buckets(text: str, buckets: int) -> None:
    """0 is padding; one above is another table's weights, or a crash in the tower."""
    if text.isprintable():
        assert 1 <= hash_bucket("seed", "space", text, buckets) <= buckets


def test_the_hash_is_keyed_blake2b() -> None:
    """With an empty key it is what `b2sum --length=64 /dev/null` prints; the golden file holds the keyed ones."""
    assert feature_hash("", b"") == int.from_bytes(bytes.fromhex("e4a6a0577479b2b4"), "little")
    assert feature_hash("a", b"x") != feature_hash("b", b"x")


def test_canary_buckets_spread_evenly_and_differ_by_salt() -> None:
    """A share of 500 basis points must be 5% of the users, and not always the same 5%."""
    users = [f"u:{i}" for i in range(20_000)]
    first, second = ({user for user in users if canary_bucket(salt, user) < 500} for salt in ("c-1", "c-2"))
    assert 850 < len(first) < 1150
    assert 850 < len(second) < 1150
    assert len(first & second) < 150


@pytest.mark.parametrize("spec", CATALOG.values(), ids=CATALOG)
def test_a_spec_survives_its_json(spec: FeatureSpec) -> None:
    """It travels so inside every bundle; the digest tells two specs apart."""
    again = FeatureSpec.from_json(json.loads(json.dumps(spec.to_json())))
    assert again == spec
    assert again.digest == spec.digest
    assert dataclasses.replace(spec, seed="other").digest != spec.digest


def changed(*path: str | int, value: object) -> dict[str, Any]:
    """Return the JSON of the tweet spec with one value changed."""
    raw: Any = copy.deepcopy(TWEET.to_json())
    inner = raw
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    found: dict[str, Any] = raw
    return found


NAN = float("nan")
JUNK: tuple[object, ...] = (None, [], {}, [[]], NAN, float("inf"), -1, 0, 1.5, True, "", "x" * 100, "\ud800", b"bytes", object())
REFUSED = [
    *(
        changed("query", 0, key, value=junk)
        for key in ("name", "source", "kind", "buckets", "slots")
        for junk in JUNK
        if junk is not True
    ),
    *(changed("query", 0, "table", value=junk) for junk in JUNK if junk != ""),
    changed("query", 0, "buckets", value=True),
    changed("query", 0, "buckets", value=2**31),
    changed("query", 0, "slots", value=10**9),
    *(
        changed(key, value=junk)
        for key in ("format", "query", "candidate")
        for junk in JUNK
        if not (key == "format" and junk is True)
    ),
    *(changed("seed", value=junk) for junk in JUNK if junk != ""),
    *(changed("query", 0, value=junk) for junk in JUNK),
    changed("query", 0, "unknown_key", value=1),
    changed("query", 1, "name", value="languages"),
    changed("query", 1, "table", value="language")
    | {"candidate": [{**TWEET.to_json()["candidate"][0], "buckets": 5, "table": "language"}]},
    changed("query", 0, "source", value="counters.favorite"),
    changed("query", 0, "source", value="languages.x"),
    changed("query", 0, "source", value="context"),
    changed("query", 0, "source", value="context."),
    changed("query", 0, "source", value="__class__"),
    changed("query", 0, "source", value="check"),
    changed("candidate", 0, "source", value="counters"),
    changed("candidate", 0, "source", value="counters.clipped"),
    changed("candidate", 0, "source", value="counters.favorite"),
    changed("candidate", 5, "source", value="language"),
    changed("candidate", 5, "slots", value=2),
    changed("candidate", 0, "source", value="context.topic"),
]


@pytest.mark.parametrize("raw", REFUSED, ids=range(len(REFUSED)))
def test_a_spec_this_build_cannot_encode_with_is_a_mismatch(raw: dict[str, Any]) -> None:
    """Each would otherwise fail, or silently mean something else, at the first query."""
    with pytest.raises(BundleMismatch):
        FeatureSpec.from_json(raw)


@pytest.mark.parametrize("key", ["format", "name", "seed", "query", "candidate"])
def test_a_spec_without_a_key_is_a_mismatch(key: str) -> None:
    """Nothing is assumed."""
    raw = TWEET.to_json()
    del raw[key]
    with pytest.raises(BundleMismatch):
        FeatureSpec.from_json(raw)


@pytest.mark.parametrize("raw", [None, [], "", 7, NAN, {}, [{}], {"format": [1]}])
def test_what_is_no_spec_is_a_mismatch(raw: Any) -> None:
    """Never another exception."""
    with pytest.raises(BundleMismatch):
        FeatureSpec.from_json(raw)


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


@given(st.sampled_from(["name", "seed", "query", "candidate", "format"]), st.integers(0, 8), st.text(max_size=8), _JSON)
def test_any_json_in_any_place_is_read_or_a_mismatch_and_what_is_read_can_encode(
    key: str, place: int, inner: str, junk: Any
) -> None:
    """A bundle that loads must be able to answer."""
    raw: Any = copy.deepcopy(TWEET.to_json())
    fields = ("name", "source", "kind", "buckets", "slots", "table", inner)
    if key in ("query", "candidate"):
        raw[key][place][fields[place % len(fields)]] = junk
    else:
        raw[key] = junk
    try:
        spec = FeatureSpec.from_json(raw)
    except BundleMismatch:
        return
    assert spec.encode_queries([QueryFeatures(languages=("de",))]).shape == (1, spec.query_width)
    assert spec.encode_candidates([CandidateFeatures("a", "b", "c", ("d",), 1, Counters())]).shape == (1, spec.candidate_width)


def test_tables_of_two_sizes_are_refused() -> None:
    """One matrix cannot have two heights."""
    with pytest.raises(ValueError, match="two sizes"):
        FeatureSpec("s", "", (Field("a", "region", "hash", 5, table="t"), Field("b", "region", "hash", 6, table="t")), ()).tables()
