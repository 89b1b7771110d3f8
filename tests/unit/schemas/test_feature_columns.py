"""The batch encoder of features against the plain rule, one value at a time."""

from collections.abc import Sequence
from operator import attrgetter

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from schemas.features.catalog import TWEET
from schemas.features.hashing import hash_bucket
from schemas.features.spec import Field
from schemas.records.candidates import CandidateFeatures, Counters
from schemas.records.users import QueryFeatures

_texts = st.one_of(st.just(""), st.sampled_from(["en", "ja", "cats"]), st.text(max_size=8))
_lists = st.lists(_texts, max_size=20).map(tuple)
_counts = st.one_of(st.integers(-3, 40), st.integers(0, 2**63 - 1))
_candidates = st.builds(
    CandidateFeatures, _texts, _texts, _texts, _lists, _counts, st.builds(Counters, _counts, _counts, _counts, _counts)
)
_queries = st.builds(
    QueryFeatures,
    *[_lists, _texts, _lists, _lists, _lists, _lists, _lists],
    st.dictionaries(st.sampled_from(["author_id", "language", "topic", "other"]), _texts),
)


def _plainly(fields: Sequence[Field], features: Sequence[object]) -> NDArray[np.int64]:
    """Return what `schemas.features.spec.Field` promises, without regard to speed."""
    rows = []
    for record in features:
        row: list[int] = []
        for field in fields:
            head, _, tail = field.source.partition(".")
            value = getattr(record, head)
            if tail:
                value = value.get(tail, "") if head == "context" else getattr(value, tail)
            if field.kind == "log":
                row.append(1 + min((1 + max(value, 0)).bit_length() - 1, field.buckets - 1))
                continue
            texts = (value,) if isinstance(value, str) else value[: field.slots]
            ids = [hash_bucket(TWEET.seed, field.table_name, text, field.buckets) for text in texts if text]
            row += ids + [0] * (field.slots - len(ids))
        rows.append(row)
    return np.array(rows, np.int64).reshape(len(features), sum(field.slots for field in fields))


@settings(max_examples=40, deadline=None)
@given(st.lists(_candidates, max_size=5))
def test_candidates_encode_as_one_value_at_a_time_would(features: list[CandidateFeatures]) -> None:
    """Embedder, nodes and trainer must get the same ids whatever the size of their batches."""
    ids = TWEET.encode_candidates(features)
    assert ids.dtype == np.int64
    assert ids.flags.c_contiguous
    assert np.array_equal(ids, _plainly(TWEET.candidate, features))
    assert np.array_equal(ids, TWEET.encode_candidate_values(lambda source: list(map(attrgetter(source), features))))


@settings(max_examples=40, deadline=None)
@given(st.lists(_queries, max_size=5))
def test_queries_encode_as_one_value_at_a_time_would(features: list[QueryFeatures]) -> None:
    """The same for queries, whose context may lack what a field reads."""
    assert np.array_equal(TWEET.encode_queries(features), _plainly(TWEET.query, features))
