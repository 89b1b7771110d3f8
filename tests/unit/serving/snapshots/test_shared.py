"""Snapshots on a shared place: fetched whole and checked as a node's own are, and never a reason for a node not to start."""

import logging
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import ClassVar
from uuid import uuid4

import numpy as np
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from serving.snapshots.manifest import MANIFEST_NAME, Manifest, read_manifest
from serving.snapshots.shared import SharedSnapshot, SharedSnapshots
from serving.snapshots.snapshot import Snapshot, SnapshotRefused, SnapshotsUnavailable
from serving.snapshots.store import SnapshotStore, check
from tests.snapshot_samples import NOW_MS, OF, UnsyncedFiles, snapshot


@pytest.fixture(params=["folder", "object store"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> SharedSnapshots:
    """Return a place of either kind; the second has no folders and no renames, as s3:// has none."""
    return SharedSnapshots(f"file://{tmp_path}/shared" if request.param == "folder" else f"memory://{uuid4().hex}/roost")


def store(folder: Path, shared: SharedSnapshots | None = None) -> SnapshotStore:
    """Return a node's store."""
    return SnapshotStore(folder, keep=2, files=UnsyncedFiles(), shared=shared)


def test_a_new_replica_starts_from_the_newest_snapshot_of_another(place: SharedSnapshots, tmp_path: Path) -> None:
    """It need not read a topic of days; and what it fetched is its own from then on."""
    for node, seed, written_ms in (("one", 1, NOW_MS - 9_000), ("two", 2, NOW_MS - 1_000)):
        path = store(tmp_path / node).write(snapshot(50, seed=seed, written_ms=written_ms))
        place.put(path, node=node, bundle=OF.bundle)
        place.put(path, node=node, bundle=OF.bundle)
    found = store(tmp_path / "three", place).newest(OF, now_ms=NOW_MS)
    assert found is not None
    assert found.offsets == snapshot(50, seed=2).offsets
    np.testing.assert_array_equal(found.contents.rows.vectors, snapshot(50, seed=2).contents.rows.vectors)
    alone = store(tmp_path / "three").newest(OF, now_ms=NOW_MS)
    assert alone is not None
    assert alone.offsets == found.offsets


def test_a_nodes_own_snapshot_goes_first(place: SharedSnapshots, tmp_path: Path) -> None:
    """It is here, and reading on from it costs less than fetching."""
    place.put(store(tmp_path / "one").write(snapshot(5, seed=1)), node="one", bundle=OF.bundle)
    own = store(tmp_path / "two", place)
    own.write(snapshot(5, seed=2, written_ms=NOW_MS - 9_000))
    found = own.newest(OF, now_ms=NOW_MS)
    assert found is not None
    assert found.offsets == snapshot(5, seed=2).offsets


def test_what_is_damaged_unfinished_or_of_another_topic_there_is_passed_over(
    place: SharedSnapshots, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Anyone may write there: nothing of it is believed that a node would not believe of its own disk."""
    sound = store(tmp_path / "a").write(snapshot(5, seed=1, written_ms=NOW_MS - 9_000))
    place.put(sound, node="a", bundle=OF.bundle)
    flipped = store(tmp_path / "b").write(snapshot(5, seed=2, written_ms=NOW_MS - 3))
    vectors = bytearray((flipped / "vectors").read_bytes())
    vectors[7] ^= 1
    (flipped / "vectors").write_bytes(bytes(vectors))
    place.put(flipped, node="b", bundle=OF.bundle)
    elsewhere = replace(OF, topic_id="another")
    place.put(store(tmp_path / "c").write(snapshot(5, seed=3, of=elsewhere, written_ms=NOW_MS - 2)), node="c", bundle=OF.bundle)
    unfinished = store(tmp_path / "d").write(snapshot(5, seed=4, written_ms=NOW_MS - 1))
    (unfinished / MANIFEST_NAME).unlink()
    place.put(unfinished, node="d", bundle=OF.bundle)
    with caplog.at_level(logging.WARNING):
        found = store(tmp_path / "e", place).newest(OF, now_ms=NOW_MS)
    assert found is not None
    assert found.offsets == snapshot(5, seed=1).offsets
    assert "SHA-256" in caplog.text
    assert "the topic of that name is now" in caplog.text
    # the damaged one is not kept: it would be the newest here, refused at each start, and two of them push out the sound one
    assert [check(path).written_ms for path in store(tmp_path / "e").folders()] == [NOW_MS - 9_000]


def test_a_snapshot_that_lacks_a_file_there_is_passed_over_for_an_older_one(place: SharedSnapshots, tmp_path: Path) -> None:
    """Half removed, or half copied by hand: it says nothing of the one beside it."""
    sound = store(tmp_path / "a").write(snapshot(5, seed=1, written_ms=NOW_MS - 9_000))
    place.put(sound, node="a", bundle=OF.bundle)
    lacking = store(tmp_path / "b").write(snapshot(5, seed=2, written_ms=NOW_MS))
    (lacking / "vectors").unlink()
    place.put(lacking, node="b", bundle=OF.bundle)
    found = store(tmp_path / "c", place).newest(OF, now_ms=NOW_MS)
    assert found is not None
    assert found.offsets == snapshot(5, seed=1).offsets


def test_a_node_with_a_new_disk_counts_from_one_again_and_its_snapshots_are_copied_all_the_same(
    place: SharedSnapshots, tmp_path: Path
) -> None:
    """Under a number that was there already nothing was copied, and the command said that it was."""
    place.put(store(tmp_path / "old").write(snapshot(5, seed=1, written_ms=NOW_MS - 9_000)), node="one", bundle=OF.bundle)
    path = store(tmp_path / "new").write(snapshot(3, seed=2, written_ms=NOW_MS))
    place.put(path, node="one", bundle=OF.bundle)
    found = store(tmp_path / "other", place).newest(OF, now_ms=NOW_MS)
    assert found is not None
    assert found.offsets == snapshot(3, seed=2).offsets
    assert [one.manifest.written_ms for one in place.of_bundle(OF.bundle)] == [NOW_MS]


def test_a_stray_file_beside_the_snapshots_hides_none_of_them(tmp_path: Path) -> None:
    """A note, or what a desktop leaves in every folder: the whole place was given up, and the topic read from its beginning."""
    place = SharedSnapshots(f"file://{tmp_path}/shared")
    place.put(store(tmp_path / "a").write(snapshot(5, seed=1)), node="a", bundle=OF.bundle)
    for folder in (tmp_path / "shared", tmp_path / "shared" / "a", tmp_path / "shared" / "a" / OF.bundle):
        (folder / ".DS_Store").write_bytes(b"x")
    assert [one.manifest.written_ms for one in place.of_bundle(OF.bundle)] == [NOW_MS]


def test_what_cannot_be_read_there_hides_nothing_else_and_is_told_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """One node's folder that links to itself, and every new replica read its topics of days from the beginning."""
    place = SharedSnapshots(f"file://{tmp_path}/shared")
    for node, written_ms in (("b", NOW_MS - 9_000), ("c", NOW_MS), ("d", NOW_MS - 1)):
        place.put(store(tmp_path / node).write(snapshot(5, seed=1, written_ms=written_ms)), node=node, bundle=OF.bundle)
    shared = tmp_path / "shared"
    for looped in ("a", f"b/{'1' * 16}", f"c/{OF.bundle}/{1:012d}/vectors", f"d/{OF.bundle}/{1:012d}/{MANIFEST_NAME}"):
        (shared / looped).unlink(missing_ok=True)
        (shared / looped).symlink_to(shared / looped)
    with caplog.at_level(logging.WARNING):
        found = store(tmp_path / "e", place).newest(OF, now_ms=NOW_MS)
        assert store(tmp_path / "f", place).newest(OF, now_ms=NOW_MS) is not None
    assert found is not None
    assert found.written_ms == NOW_MS - 9_000
    assert caplog.text.count("shared/a/") == 1
    assert place.bundles() == {OF.bundle, "1" * 16}


class Locked(MemoryFileSystem):  # type: ignore[misc]  # fsspec has no types
    """Lets nobody see one node's folder, as a store does whose policy names prefixes."""

    store: ClassVar[dict[str, object]] = {}
    pseudo_dirs: ClassVar[list[str]] = [""]

    def ls(self, path: str, **how: object) -> list[str]:
        """See `AbstractFileSystem.ls`."""
        if "/locked" in path:
            raise PermissionError("Access Denied")
        found: list[str] = super().ls(path, **how)
        return found


def test_a_folder_that_only_another_may_see_hides_nothing_else(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A place where no folder can be listed is away: that must not pass for one without snapshots."""
    place = SharedSnapshots("memory://shared/roost")
    monkeypatch.setattr(place, "_files", Locked())
    for node in ("locked", "open"):
        place.put(store(tmp_path / node).write(snapshot(5, seed=1)), node=node, bundle=OF.bundle)
    assert [one.path for one in place.of_bundle(OF.bundle)] == [f"/shared/roost/open/{OF.bundle}/{1:012d}"]
    monkeypatch.setattr(place, "_root", "/locked")
    with pytest.raises(SnapshotsUnavailable, match="Access Denied"):
        place.of_bundle(OF.bundle)


class Remembering(MemoryFileSystem):  # type: ignore[misc]  # fsspec has no types
    """Remembers what it listed, as object stores' clients do."""

    cachable = False

    def __init__(self) -> None:
        super().__init__()
        self._listed: dict[str, list[str]] = {}

    def ls(self, path: str, *, detail: bool) -> list[str]:
        """List it once."""
        if path not in self._listed:
            self._listed[path] = super().ls(path, detail=detail)
        return self._listed[path]

    def invalidate_cache(self, path: str | None = None) -> None:
        """Forget it all."""
        self._listed.clear()


def test_a_snapshot_that_came_after_the_last_look_is_found(tmp_path: Path) -> None:
    """A node that runs for weeks looks whenever a bundle starts: it saw what was there when the first one did."""
    place = SharedSnapshots(f"memory://{uuid4().hex}/roost")
    place.put(store(tmp_path / "a").write(snapshot(5, written_ms=NOW_MS - 1)), node="a", bundle=OF.bundle)
    looking = SharedSnapshots(place.url)
    looking._files = Remembering()
    assert len(looking.of_bundle(OF.bundle)) == 1
    place.put(store(tmp_path / "a").write(snapshot(5, written_ms=NOW_MS)), node="a", bundle=OF.bundle)
    place.put(store(tmp_path / "b").write(snapshot(5, written_ms=NOW_MS)), node="b", bundle=OF.bundle)
    assert len(looking.of_bundle(OF.bundle)) == 3


def test_what_is_too_old_to_start_from_is_removed_there(place: SharedSnapshots, tmp_path: Path) -> None:
    """Nobody would start from it, and what was erased since is still in it."""
    for node, written_ms in (("gone", NOW_MS - 9_000), ("one", NOW_MS)):
        place.put(store(tmp_path / node).write(snapshot(5, written_ms=written_ms)), node=node, bundle=OF.bundle)
    (removed,) = place.remove_old(NOW_MS - 1_000)
    assert "/gone/" in removed
    assert [one.manifest.written_ms for one in place.of_bundle(OF.bundle)] == [NOW_MS]
    assert place.remove_old(NOW_MS - 1_000) == []


def test_what_its_node_removes_at_the_same_time_ends_no_clean_up(place: SharedSnapshots, tmp_path: Path) -> None:
    """Nodes that write there keep two of each bundle: the command ended at the first that was gone, with the others left."""

    class Late(SharedSnapshots):
        def of_bundle(self, bundle: str) -> list[SharedSnapshot]:
            found = super().of_bundle(bundle)
            for one in found:
                if "/gone/" in one.path:
                    self._files.rm(one.path, recursive=True)
            return found

    late = Late(place.url)
    for node in ("gone", "left"):
        late.put(store(tmp_path / node).write(snapshot(5, written_ms=NOW_MS - 9_000)), node=node, bundle=OF.bundle)
    (removed,) = late.remove_old(NOW_MS)
    assert "/left/" in removed


def test_a_place_that_is_away_costs_a_node_the_fetch_and_not_the_start(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """An object store that does not answer must not take the nodes down with it."""

    class Away(SharedSnapshots):
        def of_bundle(self, bundle: str) -> list[object]:  # type: ignore[override]
            raise ConnectionError(f"no route to {bundle}")

    with caplog.at_level(logging.WARNING):
        assert store(tmp_path, Away("memory://away")).newest(OF, now_ms=NOW_MS) is None
    assert "reading the topic from its beginning" in caplog.text


def test_while_one_bundles_snapshot_is_fetched_those_of_others_are_written_read_and_removed(tmp_path: Path) -> None:
    """Gigabytes take minutes: no other surface may start later for it, nor a bundle that is live go unsaved."""
    asked, answers = threading.Event(), threading.Event()

    class Slow(SharedSnapshots):
        def parts(self, one: SharedSnapshot, name: str, *, part_bytes: int = 1 << 20) -> Iterator[bytes]:
            asked.set()
            assert answers.wait(30)
            return super().parts(one, name, part_bytes=part_bytes)

    place = Slow(f"file://{tmp_path}/shared")
    place.put(store(tmp_path / "one").write(snapshot(5, seed=1)), node="one", bundle=OF.bundle)
    own, other = store(tmp_path / "two", place), replace(OF, bundle="f" * 16)
    with ThreadPoolExecutor(2) as pool:
        fetching = pool.submit(own.newest, OF, now_ms=NOW_MS)
        try:
            assert asked.wait(30)

            def work() -> list[Snapshot | None]:
                own.write(snapshot(3, seed=2, of=other))
                before = own.newest(other, now_ms=NOW_MS)
                own.keep_only({OF.bundle})
                return [before, own.newest(other, now_ms=NOW_MS)]

            read, removed = pool.submit(work).result(10)
            assert not fetching.done()
        finally:
            answers.set()
        fetched = fetching.result(30)
    assert (read is not None, removed) == (True, None)
    assert fetched is not None
    assert fetched.offsets == snapshot(5, seed=1).offsets


@pytest.mark.parametrize("name", ["../../etc/cron.d/x", "/etc/passwd", "a/b", ""])
def test_a_manifest_cannot_name_a_file_outside_its_folder(tmp_path: Path, name: str) -> None:
    """Its names become paths on the node that fetches it."""
    manifest = read_manifest((store(tmp_path).write(snapshot(1)) / MANIFEST_NAME).read_bytes())
    entries = {**manifest.files, name: next(iter(manifest.files.values()))}
    crafted = Manifest(
        manifest.of, manifest.offsets, None, manifest.written_ms, manifest.expired_before_ms, manifest.rows, entries
    ).to_json()
    with pytest.raises(SnapshotRefused, match="no column's name"):
        read_manifest(crafted)


def test_a_manifest_cannot_name_a_bundle_outside_the_nodes_folder(tmp_path: Path) -> None:
    """`roost index restore` fetched it to there, and removed what it took for older ones."""
    manifest = read_manifest((store(tmp_path).write(snapshot(1)) / MANIFEST_NAME).read_bytes())
    with pytest.raises(SnapshotRefused, match=r"'\.\./\.\./x' is no bundle's id"):
        read_manifest(replace(manifest, of=replace(manifest.of, bundle="../../x")).to_json())
