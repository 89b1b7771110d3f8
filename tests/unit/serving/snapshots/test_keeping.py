"""When a bundle's index is saved, and what a start makes of what it finds."""

import errno
import logging
from pathlib import Path

import numpy as np
import pytest

from serving.filling.filled import FilledIndex
from serving.filling.masks import Masks
from serving.index import ExactIndex, IndexContents
from serving.node.snapshotter import Snapshotter
from serving.snapshots.keeping import RENEW_MS, BundleSnapshots
from serving.snapshots.snapshot import MAX_AGE_MS
from serving.snapshots.store import SnapshotStore
from tests.snapshot_samples import NOW_MS, OF, FailingFiles, UnsyncedFiles, contents, deleted_ms


class Clock:
    """A clock that the test sets."""

    def __init__(self) -> None:
        self.now_ms = NOW_MS

    def __call__(self) -> int:
        """Return the time."""
        return self.now_ms


def filled(count: int) -> FilledIndex:
    """Return an index of so many candidates."""
    index = FilledIndex(ExactIndex(OF.dim), Masks(), id_prefix="t:")
    if count:
        held = contents(count)
        index.restore(held, deleted_ms(held), 42)
    return index


def kept(folder: Path, clock: Clock, files: UnsyncedFiles | None = None) -> BundleSnapshots:
    """Return the snapshots of a bundle."""
    return BundleSnapshots(OF.bundle, SnapshotStore(folder, keep=3, files=files or UnsyncedFiles()), now_ms=clock)


def count_of(folder: Path) -> int:
    """Return how many snapshots there are."""
    return len(list((folder / OF.bundle).iterdir()))


def save(snapshots: BundleSnapshots, index: FilledIndex, offset: int, *, still: bool = True, lag_ms: int = 0) -> None:
    """Save at an offset."""
    snapshots.save(index, OF.topic_id, {0: offset}, still=lambda: still, lag_ms=lag_ms)


def test_an_index_is_saved_when_there_is_news_or_the_old_snapshot_ages(tmp_path: Path) -> None:
    """A quiet surface must not write gigabytes a day, nor be left with a snapshot too old to use."""
    clock = Clock()
    snapshots, index = kept(tmp_path, clock), filled(5)
    save(snapshots, index, 9)
    save(snapshots, index, 9)
    assert count_of(tmp_path) == 1
    assert snapshots.health.written_ms == NOW_MS
    assert snapshots.health.rows == 5
    save(snapshots, index, 10)
    assert count_of(tmp_path) == 2
    clock.now_ms += RENEW_MS
    save(snapshots, index, 10)
    assert count_of(tmp_path) == 3


def test_a_snapshot_of_a_node_without_its_broker_ages_from_when_that_last_answered(tmp_path: Path) -> None:
    """Renewed every six hours it always seemed new enough to read on from: the log may have lost a delete in the days between."""
    clock = Clock()
    snapshots, index = kept(tmp_path, clock), filled(5)
    save(snapshots, index, 9)
    clock.now_ms += RENEW_MS
    save(snapshots, index, 9, lag_ms=RENEW_MS)
    assert count_of(tmp_path) == 1
    clock.now_ms = NOW_MS + MAX_AGE_MS + 1
    save(snapshots, index, 10, lag_ms=MAX_AGE_MS + 1)
    assert count_of(tmp_path) == 2, "of what was applied before"
    assert kept(tmp_path, clock).restore(filled(0), OF.topic_id) == {}


def test_a_start_takes_the_newest_and_does_not_write_it_again(tmp_path: Path) -> None:
    """What was just read is on disk already."""
    clock = Clock()
    save(kept(tmp_path, clock), filled(5), 9)
    started, index = kept(tmp_path, clock), filled(0)
    assert started.restore(index, OF.topic_id) == {0: 9}
    assert index.ids() == filled(5).ids()
    assert index.newest_append_ms == 42
    assert started.health.restored_rows == 5
    save(started, index, 9)
    assert count_of(tmp_path) == 1
    started.forget()
    assert kept(tmp_path, clock).restore(filled(0), OF.topic_id) == {}


def test_an_index_that_was_replaced_or_closed_meanwhile_is_not_saved(tmp_path: Path) -> None:
    """Its offsets may be another topic's."""
    snapshots, index = kept(tmp_path, Clock()), filled(5)
    save(snapshots, index, 9, still=False)
    index.close()
    save(snapshots, index, 10)
    assert not (tmp_path / OF.bundle).exists()
    assert snapshots.health.trouble is None


def test_a_failing_disk_is_said_once_and_forgotten_once_it_is_well(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """An operator needs one sentence with the folder in it, not one a minute."""
    clock, index = Clock(), filled(5)
    files = FailingFiles(1, OSError(errno.ENOSPC, "No space left on device"))
    snapshots = kept(tmp_path, clock, files)
    with caplog.at_level(logging.ERROR):
        save(snapshots, index, 1)
        files._left = 1
        save(snapshots, index, 2)
    assert len(caplog.records) == 1
    assert snapshots.health.trouble is not None
    assert f"{tmp_path} (No space left on device)" in snapshots.health.trouble
    save(snapshots, index, 3)
    assert snapshots.health.trouble is None


def test_a_snapshot_that_there_is_no_memory_for_is_said(tmp_path: Path) -> None:
    """Only the log told of it, and the bundles behind it in the round were not saved either."""

    class Large(ExactIndex):
        """An index that does not fit into memory twice."""

        def contents(self) -> IndexContents:
            """As `ExactIndex.contents`."""
            raise MemoryError

    snapshots, index = kept(tmp_path, Clock()), FilledIndex(Large(OF.dim), Masks(), id_prefix="t:")
    save(snapshots, index, 1)
    assert snapshots.health.trouble is not None
    assert "no snapshot can be written for want of memory; the older stay" in snapshots.health.trouble


def test_a_file_in_the_place_of_the_nodes_folder_is_said(tmp_path: Path) -> None:
    """The tidying before each writing ended it: nothing was ever written, and the node's health told nothing of it."""
    (tmp_path / "node").write_text("")
    store = SnapshotStore(tmp_path / "node", keep=2, files=UnsyncedFiles())
    store.keep_only({OF.bundle})
    snapshots = BundleSnapshots(OF.bundle, store, now_ms=Clock())
    save(snapshots, filled(5), 9)
    assert snapshots.health.trouble is not None
    assert "free some space or name another folder in ROOST_SNAPSHOTS" in snapshots.health.trouble


def test_a_snapshot_with_rows_no_index_takes_is_passed_over(tmp_path: Path) -> None:
    """Written by a build with a fault: the topic is read instead, record by record."""

    class Faulty(ExactIndex):
        """An index whose contents are not a number."""

        def contents(self):  # type: ignore[no-untyped-def]
            held = contents(3)
            held.rows.vectors[1] = np.nan
            return held

    clock = Clock()
    save(kept(tmp_path, clock), FilledIndex(Faulty(OF.dim), Masks(), id_prefix="t:"), 9)
    index = filled(0)
    assert kept(tmp_path, clock).restore(index, OF.topic_id) == {}
    assert len(index) == 0


def test_a_node_saves_now_and_then_survives_a_fault_and_saves_at_its_end() -> None:
    """One bad attempt must not end all later ones, and a clean stop loses nothing."""
    calls: list[int] = []

    def save_or_fail() -> None:
        calls.append(len(calls))
        if len(calls) == 1:
            raise RuntimeError("a fault of ours")

    snapshotter = Snapshotter(save_or_fail, every_s=0.01)
    snapshotter.start()
    while len(calls) < 3:
        assert snapshotter._thread.is_alive()
        snapshotter._thread.join(0.005)
    slow = Snapshotter(save_or_fail, every_s=600)
    slow.start()
    snapshotter.stop()
    before = len(calls)
    slow.stop()
    assert len(calls) == before + 1
