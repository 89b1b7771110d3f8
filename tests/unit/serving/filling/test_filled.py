"""Indices that fill side by side: deletes in all of them, and how much of the live one another holds."""

import threading
from itertools import chain
from pathlib import Path

import pytest

from schemas.ids import Version
from schemas.wire.inbound import InboundRecord
from serving.filling import filled as filled_module
from serving.filling.embeddings import decode_batch
from serving.filling.filled import FilledIndex, coverage
from serving.filling.masks import PRUNE_EVERY_MS, Delete, Masks
from serving.index import ExactIndex
from tests.filled_epochs import DIM, FilledEpoch, tweeted


@pytest.fixture
def masks() -> Masks:
    """Return a node's masks."""
    return Masks()


@pytest.fixture
def settled_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let ids count for coverage as soon as they are held."""
    monkeypatch.setattr(filled_module, "SETTLED_S", -1.0)


def test_an_index_that_joins_late_knows_every_delete_before_its_first_record(tmp_path: Path, masks: Masks) -> None:
    """A bundle's topic may hold a candidate whose delete only the older bundle's topic brought so far."""
    FilledEpoch(tmp_path, seed=1, masks=masks).delete("t:1", Version(5, 0))
    late = FilledEpoch(tmp_path, seed=2, masks=masks)
    late.fill(tweeted("t:1", version=Version(5, 0)), tweeted("t:2", version=Version(5, 0)))
    assert late.filled.ids() == {"t:2"}
    late.fill(tweeted("t:1", version=Version(5, 1)))
    assert late.filled.ids() == {"t:1", "t:2"}


def test_a_delete_older_than_what_is_held_changes_nothing(tmp_path: Path, masks: Masks) -> None:
    """A delayed delete of an earlier life must not take the candidate that was created again."""
    epoch = FilledEpoch(tmp_path, seed=1, masks=masks)
    epoch.fill(tweeted("t:1", version=Version(9, 0)))
    epoch.delete("t:1", Version(5, 0))
    assert epoch.filled.ids() == {"t:1"}
    assert len(epoch.filled) == 1


def test_a_null_forgets_the_candidate_here_and_masks_nobody(tmp_path: Path, masks: Masks) -> None:
    """The null is clean-up, not a delete: a later life of the id must be taken in, whatever its clock said."""
    first, second = (FilledEpoch(tmp_path, seed=seed, masks=masks) for seed in (1, 2))
    for epoch in (first, second):
        epoch.fill(tweeted("t:1", version=Version(5, 0)))
    first.filled.apply(decode_batch(first.bundle, DIM, [InboundRecord("e", 0, 0, 99, b"t:1", None)]))
    assert first.filled.ids() == set()
    assert second.filled.ids() == {"t:1"}
    first.fill(tweeted("t:1", version=Version(6, 0)))
    assert len(first.filled) == 1


def test_what_was_forgotten_and_comes_again_is_held_by_index_and_roster_alike(tmp_path: Path, masks: Masks) -> None:
    """Held by the roster alone, no expiry would end it, and no other epoch ever cover it."""
    epoch = FilledEpoch(tmp_path, seed=1, masks=masks)
    gone = tweeted("t:1", version=Version(5, 0))
    epoch.fill(gone)
    epoch.filled.apply(decode_batch(epoch.bundle, DIM, [InboundRecord("e", 0, 0, 99, b"t:1", None)]))
    assert (epoch.filled.ids(), len(epoch.filled)) == (set(), 0)
    epoch.fill(gone)
    assert (epoch.filled.ids(), len(epoch.filled)) == ({"t:1"}, 1)
    assert epoch.filled.expire(10_000) == 1
    assert (epoch.filled.ids(), len(epoch.filled)) == (set(), 0)
    epoch.fill(gone)
    assert (epoch.filled.ids(), len(epoch.filled)) == (set(), 0)


def test_expiry_takes_rows_and_roster_and_refuses_stragglers(tmp_path: Path, masks: Masks) -> None:
    """A replay brings old records again; what left the window must not come back for a second."""
    epoch = FilledEpoch(tmp_path, seed=1, masks=masks)
    old, new = tweeted("t:old", created_ms=100, version=Version(100, 0)), tweeted("t:new", created_ms=900, version=Version(900, 0))
    epoch.fill(old, new)
    assert epoch.filled.expire(500) == 1
    epoch.fill(old)
    assert epoch.filled.ids() == {"t:new"}
    assert len(epoch.filled) == 1


@pytest.mark.usefixtures("settled_at_once")
def test_coverage_is_the_share_of_the_live_ids_that_the_other_holds(tmp_path: Path, masks: Masks) -> None:
    """The flip waits for it: counted from both ids, never from two totals that may agree by accident."""
    live, other = (FilledEpoch(tmp_path, seed=seed, masks=masks) for seed in (1, 2))
    assert coverage(live.filled, other.filled) == 1.0
    live.fill(*(tweeted(f"t:{n}") for n in range(4)))
    other.fill(tweeted("t:0"), *(tweeted(f"t:other-{n}") for n in range(3)))
    assert coverage(live.filled, other.filled) == pytest.approx(0.25)
    live.delete("t:3", Version(2_000, 0))
    assert coverage(live.filled, other.filled) == pytest.approx(1 / 3), "deleted ids are not owed"


@pytest.mark.usefixtures("settled_at_once")
def test_an_index_that_is_far_from_whole_is_not_compared_id_by_id(
    tmp_path: Path, masks: Masks, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It cannot hold more of them than it holds, and each second of a backfill queries waited for the comparison."""
    live, other = (FilledEpoch(tmp_path, seed=seed, masks=masks) for seed in (1, 2))
    live.fill(*(tweeted(f"t:{n}") for n in range(20)))
    other.fill(*(tweeted(f"t:other-{n}") for n in range(17)))
    with monkeypatch.context() as patch:
        patch.setattr(live.filled, "settled_ids", lambda: pytest.fail("compared"))
        assert coverage(live.filled, other.filled) == pytest.approx(0.85)
    other.fill(tweeted("t:0"))
    assert coverage(live.filled, other.filled) == pytest.approx(0.05), "near it, by count, each id counts"


@pytest.mark.usefixtures("settled_at_once")
def test_coverage_counts_every_part_of_a_large_index(tmp_path: Path, masks: Masks, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is counted in parts, so that queries are answered in between; the last, short one counts too."""
    monkeypatch.setattr(filled_module, "_PART", 4)
    live, other = (FilledEpoch(tmp_path, seed=seed, masks=masks) for seed in (1, 2))
    live.fill(*(tweeted(f"t:{n}") for n in range(10)))
    other.fill(*(tweeted(f"t:{n}") for n in range(7)))
    assert coverage(live.filled, other.filled) == pytest.approx(0.7)


def test_what_just_arrived_is_not_owed_yet_but_a_refresh_still_is(tmp_path: Path, masks: Masks) -> None:
    """Without the grace a busy stream never covers; with it on refreshes, a hot candidate is never compared."""
    live, other = (FilledEpoch(tmp_path, seed=seed, masks=masks) for seed in (1, 2))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(filled_module, "SETTLED_S", -1.0)
        live.fill(tweeted("t:settled"))
        assert [*chain(*live.filled.settled_ids())] == ["t:settled"]
    live.fill(tweeted("t:settled", version=Version(3_000, 0)), tweeted("t:fresh"))
    assert [*chain(*live.filled.settled_ids())] == ["t:settled"]
    assert coverage(live.filled, other.filled) == 0.0


def test_a_closed_index_leaves_the_masks(tmp_path: Path, masks: Masks) -> None:
    """Retired bundles must neither be written to nor kept alive by the deletes of others."""
    gone, stays = (FilledEpoch(tmp_path, seed=seed, masks=masks) for seed in (1, 2))
    gone.filled.close()
    stays.delete("t:1", Version(5, 0))
    assert masks.deleted_at("t:1") == Version(5, 0)


def null(candidate_id: str, appended_ms: int) -> InboundRecord:
    """Return a null on an embeddings topic."""
    return InboundRecord("e", 0, 0, appended_ms, candidate_id.encode(), None)


def test_a_null_ends_the_delete_in_every_epoch_whatever_the_horizon(tmp_path: Path, masks: Masks) -> None:
    """Without a recency window an erased id stayed in every later snapshot, and its next life was refused."""
    first, second = (FilledEpoch(tmp_path, seed=seed, masks=masks) for seed in (1, 2))
    for epoch in (first, second):
        epoch.fill(tweeted("t:1", version=Version(5, 0)))
    first.delete("t:1", Version(9, 0))
    assert list(second.filled.contents()[0].deleted) == ["t:1"]
    first.filled.apply(decode_batch(first.bundle, DIM, [null("t:1", 5_001)]))
    assert len(masks) == 0
    for epoch in (first, second):
        assert epoch.filled.contents()[0].deleted == {}
        epoch.fill(tweeted("t:1", version=Version(4, 0)))
        assert epoch.filled.ids() == {"t:1"}
        assert len(epoch.filled) == 1


def test_a_null_of_an_earlier_life_ends_no_later_delete(tmp_path: Path, masks: Masks) -> None:
    """A topic that is read anew brings both: the old null must not undo a takedown that another epoch has brought already."""
    live, anew = (FilledEpoch(tmp_path, seed=seed, masks=masks) for seed in (1, 2))
    live.delete("t:1", Version(9, 0))
    anew.fill(tweeted("t:1", version=Version(5, 0)))
    anew.filled.apply(decode_batch(anew.bundle, DIM, [null("t:1", 4_999)]))
    anew.fill(tweeted("t:1", version=Version(9, 0)))
    assert anew.filled.ids() == set()
    assert len(anew.filled) == 0


def test_masks_forget_by_the_time_of_the_delete_however_few_there_are(tmp_path: Path, masks: Masks) -> None:
    """What was promised is a time: of a node with few deletes none was ever forgotten."""
    epoch = FilledEpoch(tmp_path, seed=1, masks=masks)
    masks.add([Delete("t:old", Version(9, 0), 1_000_000), Delete("t:new", Version(9, 0), 1_000_001)])
    masks.prune(1_000_001)
    assert masks.ids() == {"t:new"}
    assert list(epoch.filled.contents()[0].deleted) == ["t:new"]
    epoch.fill(tweeted("t:old", version=Version(8, 0)), tweeted("t:new", version=Version(8, 0)))
    assert epoch.filled.ids() == {"t:old"}
    masks.prune(1_000_001 + PRUNE_EVERY_MS)
    assert len(masks) == 0


def test_a_restart_does_not_begin_a_deletes_time_anew(tmp_path: Path, masks: Masks) -> None:
    """A node that is restarted every day would remember for ever."""
    saved = FilledEpoch(tmp_path, seed=1)
    saved.delete("t:1", Version(9, 0))
    held, deleted_ms = saved.filled.contents()
    assert deleted_ms == {"t:1": 5_000}
    started = FilledEpoch(tmp_path, seed=1, masks=masks)
    started.filled.restore(held, deleted_ms, 77)
    masks.prune(5_001 + PRUNE_EVERY_MS)
    assert len(masks) == 0
    assert started.filled.contents()[0].deleted == {}


def test_an_index_hears_of_no_other_surfaces_candidates(masks: Masks) -> None:
    """A snapshot of accounts held the ids of two hundred deleted tweets, for ever: an index of accounts expires nothing."""
    tweets, accounts = (FilledIndex(ExactIndex(DIM), masks, id_prefix=prefix) for prefix in ("t:", "a:"))
    masks.add([Delete("t:1", Version(9, 0), 0), Delete("a:1", Version(9, 0), 0)])
    late = FilledIndex(ExactIndex(DIM), masks, id_prefix="t:ml-")
    assert [list(index.contents()[0].deleted) for index in (tweets, accounts, late)] == [["t:1"], ["a:1"], []]


def test_a_restored_index_brings_its_deletes_to_all_epochs_and_heeds_theirs(tmp_path: Path, masks: Masks) -> None:
    """A takedown holds whichever of the two knew of it: the snapshot, or the node before it read the snapshot."""
    saved = FilledEpoch(tmp_path, seed=1)
    saved.fill(tweeted("t:kept"), tweeted("t:gone"), tweeted("t:again", version=Version(9, 0)), tweeted("t:taken-down"))
    saved.delete("t:gone", Version(5_000, 0))
    held = saved.filled.contents()
    other = FilledEpoch(tmp_path, seed=2, masks=masks)
    other.fill(tweeted("t:gone"), tweeted("t:kept"))
    other.delete("t:taken-down", Version(5_000, 0))
    other.delete("t:again", Version(8, 0))
    started = FilledEpoch(tmp_path, seed=1, masks=masks)
    started.filled.restore(*held, 77)
    assert started.filled.ids() == {"t:kept", "t:again"}
    assert len(started.filled) == 2
    assert started.filled.newest_append_ms == 77
    assert other.filled.ids() == {"t:kept"}
    started.fill(tweeted("t:gone", version=Version(5_000, 0)), tweeted("t:taken-down", version=Version(4_999, 9)))
    assert started.filled.ids() == {"t:kept", "t:again"}
    started.fill(tweeted("t:gone", version=Version(5_001, 0)))
    assert started.filled.ids() == {"t:kept", "t:again", "t:gone"}


@pytest.mark.usefixtures("settled_at_once")
def test_what_left_the_window_while_the_node_was_down_is_owed_by_no_other_bundle(tmp_path: Path, masks: Masks) -> None:
    """A tail sets the horizon before it restores: held by the roster alone, such ids kept every rollout there from parity."""
    stopped = FilledEpoch(tmp_path, seed=1)
    new = tweeted("t:new", created_ms=900, version=Version(900, 0))
    stopped.fill(tweeted("t:old", created_ms=100, version=Version(100, 0)), new)
    held = stopped.filled.contents()
    live, next_one = (FilledEpoch(tmp_path, seed=seed, masks=masks) for seed in (1, 2))
    live.filled.expire(500)
    live.filled.restore(*held, 77)
    next_one.fill(new)
    assert (live.filled.ids(), len(live.filled)) == ({"t:new"}, 1)
    assert coverage(live.filled, next_one.filled) == 1.0


def test_restoring_beside_a_stream_of_takedowns_never_stands_still(tmp_path: Path, masks: Masks) -> None:
    """Two locks taken in two orders would freeze the node at its start, once in a thousand."""
    saved = FilledEpoch(tmp_path, seed=1)
    saved.fill(*(tweeted(f"t:{n}") for n in range(200)))
    held = saved.filled.contents()
    started = FilledEpoch(tmp_path, seed=1, masks=masks)

    def take_down() -> None:
        for n in range(200):
            masks.add([Delete(f"t:{n}", Version(5_000, 0), 0)])

    others = threading.Thread(target=take_down, daemon=True)
    others.start()
    restoring = threading.Thread(target=started.filled.restore, args=(*held, None), daemon=True)
    restoring.start()
    for thread in (others, restoring):
        thread.join(10)
        assert not thread.is_alive()
    assert started.filled.ids() == set()
    assert len(started.filled) == 0
