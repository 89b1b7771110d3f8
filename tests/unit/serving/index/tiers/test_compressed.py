"""Codes: every row is findable after any mix of removals and additions, and a published tier never changes."""

import faiss
import numpy as np
import pytest

from serving.index.tiers.arena import GRAVE
from serving.index.tiers.compressed import Codebook, CompressedTier, codebook_of, empty_tier, extended, train_codebook

DIM = 16


def units(count: int, seed: int) -> np.ndarray:
    """[count, DIM] float32 of length 1."""
    raw = np.random.default_rng(seed).normal(size=(count, DIM))
    unit: np.ndarray = (raw / np.linalg.norm(raw, axis=1, keepdims=True)).astype(np.float32)
    return unit


@pytest.fixture(scope="module")
def codebook() -> Codebook:
    """Of other vectors than those it will encode."""
    return train_codebook(units(1_000, 1))


def found(tier: CompressedTier, vectors: np.ndarray, slots: np.ndarray) -> list[bool]:
    """For each row whether its own vector finds it among its 20 best codes."""
    return [slot in tier.nearest(vector, 20).slots for vector, slot in zip(vectors, slots, strict=True)]


@pytest.mark.parametrize("dim", [8, 64])
def test_codes_are_faiss_s_own_byte_for_byte(dim: int) -> None:
    """It scans them, in an order that is one release's own; they are made here, since its way takes 16 times as long."""
    rows = np.random.default_rng(5).normal(size=(6_000, dim)).astype(np.float32)
    codebook = train_codebook(rows)
    theirs, tier, begin = faiss.clone_index(codebook.empty), empty_tier(codebook), 0
    for count in (5, 27, 1, 31, 64, 2_048, 1_000, 3, 0):
        part = rows[begin : begin + count]
        theirs.add(part)
        tier = extended(tier, part, np.arange(begin, begin + count), drop=None)
        begin += count
        assert (tier.codes.ntotal, tier.codes.ntotal2) == (theirs.ntotal, theirs.ntotal2)  # type: ignore[attr-defined]
        assert block_bytes(tier.codes) == block_bytes(theirs)


def block_bytes(codes: faiss.Index) -> bytes:
    """Everything that is scanned."""
    assert isinstance(codes, faiss.IndexPQFastScan)
    held: np.ndarray = faiss.rev_swig_ptr(codes.codes.get(), codes.codes.size())
    return held.tobytes()


def test_a_codebook_of_values_in_any_order_codes_the_same(codebook: Codebook) -> None:
    """Snapshots of releases that learned them otherwise hold such."""
    shuffled = codebook_of(np.random.default_rng(6).permuted(codebook.values, axis=1), DIM)
    assert np.array_equal(shuffled.values, codebook.values)


@pytest.mark.parametrize("dropped", [1, 3, 31, 32, 33, 300, 999, 1_000])
@pytest.mark.parametrize("added", [0, 1, 40])
def test_rows_added_after_a_removal_are_all_findable(codebook: Codebook, dropped: int, added: int) -> None:
    """The library leaves old bits in the last block of codes and mixes the next rows into them."""
    vectors, more = units(1_000, 2), units(added, 3)
    slots = np.arange(1, 1_001)
    tier = extended(empty_tier(codebook), vectors, slots, drop=None)
    drop = np.zeros(1_000, dtype=np.bool_)
    drop[np.random.default_rng(4).choice(1_000, size=dropped, replace=False)] = True
    more_slots = np.arange(2_001, 2_001 + added)
    tier = extended(tier, more, more_slots, drop=drop)
    assert set(tier.slots.tolist()) - {GRAVE} == set(slots[~drop].tolist()) | set(more_slots.tolist())
    assert len(tier) <= 1_000 - dropped + added + 31
    if len(tier):
        assert all(found(tier, more, more_slots))
        assert all(found(tier, vectors[~drop], slots[~drop]))


def test_what_a_codebook_loses_tells_whether_it_is_of_such_rows(codebook: Codebook) -> None:
    """By the rows' own variance: of rows that lie close together codes that are as coarse tell less apart."""
    rows = units(2_000, 3)
    alike: np.ndarray = rows[:1] + np.float32(0.01) * rows
    assert 0.005 < codebook.lost(rows) < 0.015
    assert train_codebook(alike).lost(rows) > 0.3
    assert codebook.lost(alike) > 0.3
    assert codebook.lost(np.repeat(rows[:1], 10, axis=0)) == 0


def test_extending_a_tier_leaves_the_published_one_as_it_was(codebook: Codebook) -> None:
    """Readers hold the old one while the new one is made."""
    vectors, slots = units(500, 2), np.arange(1, 501)
    tier = extended(empty_tier(codebook), vectors, slots, drop=None)
    before = tier.nearest(vectors[7], 50).slots.tolist()
    drop = np.ones(500, dtype=np.bool_)
    extended(tier, units(80, 5), np.arange(600, 680), drop=drop)
    assert len(tier) == 500
    assert tier.nearest(vectors[7], 50).slots.tolist() == before


def test_asking_for_more_codes_than_there_are_gives_each_once(codebook: Codebook) -> None:
    """A filter widens the fetch beyond a small tier."""
    tier = extended(empty_tier(codebook), units(50, 2), np.arange(1, 51), drop=None)
    assert sorted(tier.nearest(units(1, 9)[0], 5_000).slots.tolist()) == list(range(1, 51))
