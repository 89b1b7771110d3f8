"""Records to columns: what is good comes out as it went in, and what is bad is named."""

import json
from dataclasses import replace

import numpy as np
import pytest

from schemas.codec import encode
from schemas.ids import Version
from schemas.records.candidates import Embedding
from schemas.wire.inbound import InboundRecord
from serving.filling.embeddings import decode_batch
from serving.filling.masks import Delete, Null
from serving.query.payload import candidates_json
from tests.filled_epochs import DIM, deleted, live, record, tweeted
from tests.posts import embedding

BUNDLE = "0" * 16
GOOD = tweeted("t:1", language="ja", text="こんにちは\n🎌", version=Version(7, 8), created_ms=6)
VECTOR = np.linspace(-1, 1, DIM, dtype=np.float32)


def test_a_batch_comes_out_as_columns() -> None:
    """Each column belongs to the same row: one shift and every answer is wrong."""
    other = tweeted("t:2")
    batch = decode_batch(
        BUNDLE,
        DIM,
        [live(GOOD, VECTOR), live(other, -VECTOR)],
    )
    rows = batch.rows
    assert rows.candidate_ids == ["t:1", "t:2"]
    np.testing.assert_array_equal(rows.vectors, [VECTOR, -VECTOR])
    assert rows.versions.tolist() == [[7, 8], [1_000, 0]]
    assert rows.created_ms.tolist() == [6, 1_000]
    assert (rows.languages, rows.author_ids) == (["ja", "en"], ["author-1", "author-1"])
    assert json.loads(candidates_json(rows.payloads[:1], [0.5], [0.007]))["text"] == GOOD.text
    assert batch.append_time_ms.tolist() == [2_000, 2_000]
    assert (batch.deleted, batch.forgotten, batch.bad) == ((), (), ())


def test_deletes_and_nulls_are_no_rows() -> None:
    """A delete's zero vector must never reach an index."""
    null = InboundRecord("embeddings.x", 0, 1, 5_000, b"t:3", None)
    assert decode_batch(BUNDLE, DIM, [deleted("t:1", Version(7, 8))]).deleted == (Delete("t:1", Version(7, 8), 5_000),)
    assert decode_batch(BUNDLE, DIM, [null]).forgotten == (Null("t:3", 5_000),)


def _with(vector: np.ndarray[tuple[int, ...], np.dtype[np.float32]]) -> Embedding:
    return embedding(GOOD, vector.tolist(), append_time_ms=2_000)


BAD = {
    "the vector is NaN": record(_with(np.where(VECTOR > 0.9, np.float32("nan"), VECTOR))),
    "NaN, infinite": record(_with(np.where(VECTOR > 0.9, np.float32("inf"), VECTOR))),
    "infinite or zero": record(_with(np.zeros(DIM, np.float32))),
    "where a embedding-d64 record belongs": record(_with(VECTOR[:32]), dim=32),
    "comes without the features": record(replace(_with(VECTOR), features=None)),
    "the key is not the candidate id": record(_with(VECTOR), key=b"t:another"),
    "has no key": record(_with(VECTOR))._replace(key=None),
    "without the 0x00": record(_with(VECTOR))._replace(value=b""),
    "too few": record(_with(VECTOR))._replace(value=encode(_with(VECTOR), subject="embedding-d64")[:40]),
    "left over": record(_with(VECTOR))._replace(value=encode(_with(VECTOR), subject="embedding-d64") + b"x"),
    "not a embedding-d64 record": record(_with(VECTOR))._replace(value=encode(_with(VECTOR), subject="embedding-d64")[:-9]),
    "not UTF-8": InboundRecord("embeddings.x", 0, 0, 5_000, b"\xff\xfe", None),
    "upgrade to the producer's release": record(_with(VECTOR))._replace(value=b"\x00\x7f\xff\xff\xff" + bytes(300)),
}


@pytest.mark.parametrize("reason", BAD)
def test_a_bad_record_is_named_and_the_rest_of_its_batch_goes_on(reason: str) -> None:
    """One broken tower output must not cost its neighbours, nor enter the index."""
    bad = BAD[reason]._replace(offset=41)
    batch = decode_batch(
        BUNDLE,
        DIM,
        [
            live(tweeted("t:a"), VECTOR),
            bad,
            live(tweeted("t:b"), VECTOR),
        ],
    )
    assert batch.rows.candidate_ids == ["t:a", "t:b"]
    (named,) = batch.bad
    assert (named.offset, named.key) == (41, bad.key)
    assert reason in named.reason


def test_an_empty_batch_is_a_batch() -> None:
    """A run of bad records leaves nothing; nothing must still have columns."""
    batch = decode_batch(BUNDLE, DIM, [])
    assert batch.rows.vectors.shape == (0, DIM)
    assert batch.rows.versions.shape == (0, 2)
