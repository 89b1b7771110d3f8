"""When the codebook is learned anew, that it then fits the rows of today, and that no row is lost on the way."""

import dataclasses

import numpy as np
import pytest

from serving.index import CellsConfig, CompressedConfig, IndexConfig, LiveIndex
from tests.numbered_rows import numbered_rows

DIM = 16
CODES = CompressedConfig(train_from_rows=256, fetch_at_least=16, chunk_rows=128, cells=None)
CONFIG = IndexConfig(
    fresh_rows=64,
    fresh_rows_at_most=512,
    compressed=CODES,
    graph=None,
    compact_from_rows=512,
    compact_dead_share=0.3,
    background=False,
)
NEVER = dataclasses.replace(CONFIG, compressed=dataclasses.replace(CODES, most_lost=1e9))


def unit(raw: np.ndarray) -> np.ndarray:
    """Rows [n, dim] as float32 of length 1."""
    scaled: np.ndarray = (raw / np.linalg.norm(raw, axis=1, keepdims=True)).astype(np.float32)
    return scaled


def vectors_of(first: int, count: int) -> np.ndarray:
    """[count, DIM] float32 of length 1, in all directions."""
    return unit(np.random.default_rng(first).normal(size=(count, DIM)))


def of_one_topic(first: int, count: int) -> np.ndarray:
    """As above, all in about one direction."""
    return unit(np.eye(DIM)[3] + 0.05 * vectors_of(first, count))


def write(index: LiveIndex, first: int, count: int) -> None:
    """Candidates first, first + 1, ..., each created at its number."""
    index.upsert(numbered_rows(vectors_of(first, count), first))


def counted(index: LiveIndex, what: str) -> int:
    """How often the index did it."""
    return index.stats().counters.get(what, 0)


def recall(index: LiveIndex, k: int = 10) -> float:
    """The share of the true k nearest to a hundred queries that answers hold."""
    shares = []
    for query in vectors_of(10**6, 100):
        truth = set(index.search_exact(query, k).candidate_ids)
        shares.append(len(truth.intersection(index.search(query, k).candidate_ids)) / k)
    return float(np.mean(shares))


def begun_with_one_topic(config: IndexConfig) -> LiveIndex:
    """An index whose first 300 rows, from which codes are learned, are alike, and the next 3,000 are not."""
    index = LiveIndex(DIM, config)
    index.upsert(numbered_rows(of_one_topic(0, 300), 0))
    index.maintain()
    for first in range(300, 3_300, 100):
        write(index, first, 100)
        index.maintain()
    return index


def test_an_index_that_begins_with_one_topic_finds_all_others_as_well() -> None:
    """At 450,000 candidates, of which the first 10,000 were one burst, answers of ten missed one in fourteen for ever."""
    as_begun, relearned = begun_with_one_topic(NEVER), begun_with_one_topic(CONFIG)
    assert recall(as_begun) < 0.9
    assert recall(relearned) > 0.97
    assert counted(relearned, "searches_codes") == 100
    assert counted(as_begun, "codes_relearned") == 0


def test_codes_in_cells_get_a_codebook_with_the_cells() -> None:
    """They are made anew then anyway; what is restored from a snapshot, too, is coded by the newest."""
    cells = CellsConfig(group_from_rows=2_000, rows_per_cell=40, chunk_rows=256, first_cells=50)
    index = begun_with_one_topic(dataclasses.replace(CONFIG, compressed=dataclasses.replace(CODES, most_lost=1e9, cells=cells)))
    assert counted(index, "cells_published") > 0
    assert recall(index) > 0.97
    codebook = index.contents().codebook
    assert codebook is not None
    assert codebook.min() < -0.5
    assert codebook.max() > 0.5


def test_a_codebook_that_fits_stays_however_often_the_rows_turn_over() -> None:
    """To learn one and to code all rows by it took a quarter as long as all else that a row of 50,000 costs."""
    index = LiveIndex(DIM, CONFIG)
    for first in range(0, 6_000, 100):
        write(index, first, 100)
        index.expire(first - 900)
        index.maintain()
    assert counted(index, "codes_relearned") == 0
    assert recall(index) > 0.97


def test_an_index_of_many_topics_that_shrinks_to_one_learns_that_one() -> None:
    """Codes that tell all directions apart tell few rows of one topic from each other."""
    index = LiveIndex(DIM, CONFIG)
    write(index, 0, 1_500)
    index.maintain()
    index.upsert(numbered_rows(of_one_topic(1_500, 1_500), 1_500))
    index.expire(1_500)
    index.maintain()
    assert counted(index, "codes_relearned") == 1


def test_rows_that_no_codebook_fits_are_not_coded_anew_at_every_look() -> None:
    """Of heavy tails the best sixteen values of a dimension lose much, too."""
    index = LiveIndex(DIM, dataclasses.replace(CONFIG, compressed=dataclasses.replace(CODES, most_lost=1e-6)))
    for first in range(0, 6_000, 100):
        write(index, first, 100)
        index.expire(first - 900)
        index.maintain()
    assert counted(index, "codes_relearned") == 1


@pytest.mark.parametrize("expired_before", [0, 1_000])
def test_rows_that_settle_die_or_move_while_codes_are_made_anew_are_neither_lost_nor_answered(expired_before: int) -> None:
    """A recoding is begun with what is settled, takes chunks for a while, and an arena may be rewritten meanwhile."""
    index = LiveIndex(DIM, CONFIG)
    index.upsert(numbered_rows(of_one_topic(0, 300), 0))
    index.maintain()
    write(index, 300, 1_200)
    # settles, begins, and takes the first of twelve chunks
    index.maintain(at_most_steps=3)
    assert counted(index, "codes_relearned") == 0
    index.expire(expired_before)
    write(index, 1_500, 128)
    index.maintain()
    assert counted(index, "codes_relearned") == 1
    assert counted(index, "compactions") == (1 if expired_before else 0)
    assert index.stats().fresh_rows == 0
    for first, count in ((300, 1_200), (1_500, 128)):
        for number, vector in enumerate(vectors_of(first, count), first):
            answer = index.search(vector, 1).candidate_ids
            assert (answer == [f"t:{number}"]) == (number >= expired_before)


def test_a_restored_index_does_not_learn_at_once_what_it_was_given() -> None:
    """A node that starts has other things to do, and its codebook is of those rows."""
    index = begun_with_one_topic(CONFIG)
    other = LiveIndex(DIM, CONFIG)
    other.restore(index.contents())
    other.maintain()
    assert counted(other, "codes_relearned") == 0
    assert recall(other) == pytest.approx(recall(index), abs=0.02)
