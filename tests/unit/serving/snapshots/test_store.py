"""Snapshots on disk: whole or refused, whatever happens to the process, the disk, or the files."""

import errno
import hashlib
import json
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from serving.index import IndexContents
from serving.snapshots.manifest import FORMAT_VERSION, MANIFEST_NAME, read_manifest
from serving.snapshots.snapshot import MAX_AGE_MS, Snapshot, SnapshotOf
from serving.snapshots.store import SnapshotStore
from tests.snapshot_samples import NOW_MS, OF, Crash, FailingFiles, UnsyncedFiles, contents, deleted_ms, snapshot

Break = Callable[[Path], None]


def newest(folder: Path, *, of: SnapshotOf = OF, now_ms: int = NOW_MS) -> Snapshot | None:
    """Return what a node that starts now would use."""
    return SnapshotStore(folder, keep=2).newest(of, now_ms=now_ms)


def equal(one: IndexContents, other: IndexContents) -> bool:
    """Tell whether contents are the same to the bit."""
    assert list(one.rows.candidate_ids) == list(other.rows.candidate_ids)
    assert list(one.rows.payloads) == list(other.rows.payloads)
    assert list(one.rows.languages) == list(other.rows.languages)
    assert list(one.rows.author_ids) == list(other.rows.author_ids)
    for name in ("vectors", "versions", "created_ms"):
        np.testing.assert_array_equal(getattr(one.rows, name), getattr(other.rows, name))
    assert (one.codebook is None) == (other.codebook is None)
    assert one.codebook is None or other.codebook is None or (one.codebook == other.codebook).all()
    return dict(one.deleted) == dict(other.deleted) and one.expired_before_ms == other.expired_before_ms


@pytest.mark.parametrize("count", [0, 1, 20_000])
def test_what_was_written_is_read_back_to_the_bit(tmp_path: Path, count: int) -> None:
    """An index restored from other bytes would answer otherwise, and nobody would know."""
    written = snapshot(count, seed=count % 9)
    SnapshotStore(tmp_path, keep=2).write(written)
    read = newest(tmp_path)
    assert read is not None
    assert equal(read.contents, written.contents)
    assert replace(read, contents=written.contents) == written


def test_an_index_without_codes_or_deletes_is_a_snapshot_too(tmp_path: Path) -> None:
    """A young corpus has neither."""
    held = contents(5, deletes=0, codebook=False)
    SnapshotStore(tmp_path, keep=2).write(replace(snapshot(0), contents=held))
    read = newest(tmp_path)
    assert read is not None
    assert equal(read.contents, held)


def test_a_file_in_the_place_of_a_bundles_snapshots_is_none(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The node never became ready, though the topic holds everything; another user's folder, closed to it, is the same."""
    (tmp_path / OF.bundle).write_text("")
    assert newest(tmp_path) is None
    assert "Not a directory" in caplog.text


def test_only_so_many_snapshots_are_kept_and_a_bundle_that_left_has_none(tmp_path: Path) -> None:
    """Disk is finite; retiring a bundle gives its space back."""
    store = SnapshotStore(tmp_path, keep=2)
    other = replace(OF, bundle="f" * 16)
    for seed in range(5):
        store.write(snapshot(3, seed=seed))
    store.write(snapshot(3, of=other))
    assert sorted(path.name for path in (tmp_path / OF.bundle).iterdir()) == ["000000000004", "000000000005"]
    store.keep_only({OF.bundle})
    assert [path.name for path in tmp_path.iterdir()] == [OF.bundle]
    store.forget(OF.bundle)
    assert newest(tmp_path) is None
    assert list(tmp_path.iterdir()) == []


def test_what_else_lies_in_a_nodes_folder_is_left_alone(tmp_path: Path) -> None:
    """A copy that an operator had put beside the snapshots was gone within a minute."""
    (tmp_path / "before-the-upgrade").mkdir()
    SnapshotStore(tmp_path, keep=2).keep_only({OF.bundle})
    assert [path.name for path in tmp_path.iterdir()] == ["before-the-upgrade"]


def _cut(name: str) -> Break:
    def damage(folder: Path) -> None:
        path = folder / name
        os.truncate(path, path.stat().st_size - 1)

    return damage


def _flip(name: str) -> Break:
    def damage(folder: Path) -> None:
        raw = bytearray((folder / name).read_bytes())
        raw[len(raw) // 2] ^= 1
        (folder / name).write_bytes(raw)

    return damage


def _lose(name: str) -> Break:
    return lambda folder: (folder / name).unlink()


def _fill(name: str, raw: bytes) -> Break:
    def damage(folder: Path) -> None:
        (folder / name).write_bytes(raw)

    return damage


DAMAGES: dict[str, tuple[Break, str]] = {
    "truncated vectors": (_cut("vectors"), "vectors is of 1599 bytes"),
    "flipped vectors": (_flip("vectors"), "SHA-256"),
    "flipped ids": (_flip("ids"), "SHA-256"),
    "flipped payloads": (_flip("payloads"), "SHA-256"),
    "flipped deletes": (_flip("deleted_versions"), "SHA-256"),
    "flipped codebook": (_flip("codebook"), "SHA-256"),
    "missing versions": (_lose("versions"), "versions cannot be read"),
    "missing manifest": (_lose(MANIFEST_NAME), "manifest.json cannot be read"),
    "truncated manifest": (_cut(MANIFEST_NAME), "no JSON with a digest"),
    "empty manifest": (_fill(MANIFEST_NAME, b""), "no JSON with a digest"),
    "list as manifest": (_fill(MANIFEST_NAME, b"[1]"), "no JSON with a digest"),
    "manifest nested too deeply": (_fill(MANIFEST_NAME, b"[" * 100_000), "no JSON with a digest"),
    "garbage as manifest": (_fill(MANIFEST_NAME, b"\xff\x00"), "no JSON with a digest"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_snapshot_is_refused_with_a_sentence_and_the_older_one_is_used(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, damage: str
) -> None:
    """The graph library loads a flipped byte in silence; we must not."""
    store = SnapshotStore(tmp_path, keep=3)
    store.write(snapshot(50, seed=1))
    store.write(snapshot(50, seed=2))
    breaks, sentence = DAMAGES[damage]
    breaks(store.write(snapshot(50, seed=3)))
    with caplog.at_level(logging.WARNING):
        used = newest(tmp_path)
    assert used is not None
    assert used.offsets[0] == 2
    (refusal,) = [record.getMessage() for record in caplog.records]
    assert sentence in refusal


def test_every_single_flipped_byte_of_a_manifest_is_noticed(tmp_path: Path) -> None:
    """The manifest vouches for the rest, so nothing in it may change unseen: not an offset, not a topic id."""
    path = SnapshotStore(tmp_path, keep=1).write(snapshot(2, seed=1)) / MANIFEST_NAME
    whole = path.read_bytes()
    body = json.loads(whole)
    for at in range(0, len(whole), 7):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 0x01]) + whole[at + 1 :])
        used = newest(tmp_path)
        # white space between two fields may change: the meaning is what is under the digest
        assert used is None or json.loads(path.read_bytes()) == body


FOREIGN: dict[str, tuple[SnapshotOf, str]] = {
    "bundle": (replace(OF, bundle="f" * 16), "of bundle"),
    "topic": (replace(OF, topic_id="topic-two"), "offsets are of topic"),
    "dim": (replace(OF, dim=4), "4 dimensions"),
    "metric": (replace(OF, metric="l2"), "metric is 'l2'"),
}


@pytest.mark.parametrize("what", FOREIGN)
def test_a_snapshot_of_something_else_is_refused(tmp_path: Path, caplog: pytest.LogCaptureFixture, what: str) -> None:
    """Vectors of other towers, or offsets of another topic, are wrong in a way that no checksum shows."""
    of, sentence = FOREIGN[what]
    store = SnapshotStore(tmp_path, keep=2)
    store.write(snapshot(5, seed=1))
    held = contents(5)
    rows = replace(held.rows, vectors=held.rows.vectors[:, : of.dim])
    codebook = None if held.codebook is None else held.codebook[: of.dim]
    foreign = replace(snapshot(5, seed=2, of=of), contents=replace(held, rows=rows, codebook=codebook), deleted_ms=deleted_ms(held))
    if of.bundle == OF.bundle:
        store.write(foreign)
    else:
        store.write(foreign).rename(tmp_path / OF.bundle / "000000000002")
    with caplog.at_level(logging.WARNING):
        used = newest(tmp_path)
    assert used is not None
    assert used.offsets[0] == 1
    assert sentence in caplog.text


def test_a_snapshot_of_a_later_format_is_refused(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A release that was rolled back must not guess at what its successor wrote."""
    path = SnapshotStore(tmp_path, keep=2).write(snapshot(5)) / MANIFEST_NAME
    body = json.loads(path.read_bytes())
    del body["digest"]
    body["format_version"] = FORMAT_VERSION + 1
    digest = hashlib.sha256(json.dumps(body, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
    path.write_bytes(json.dumps({**body, "digest": digest}).encode())
    with caplog.at_level(logging.WARNING):
        assert newest(tmp_path) is None
    assert "this release reads" in caplog.text


@pytest.mark.parametrize("age_ms", [MAX_AGE_MS + 1, -3_600_000])
def test_a_snapshot_too_old_to_know_every_delete_is_refused(tmp_path: Path, age_ms: int) -> None:
    """A delete's marker leaves the log after 24 hours: an older snapshot would bring a takedown back. A clock ahead has no age."""
    SnapshotStore(tmp_path, keep=2).write(snapshot(5, written_ms=NOW_MS - age_ms))
    assert newest(tmp_path) is None


def operations_of_a_write(folder: Path) -> int:
    """Return how many operations one write does when two snapshots are there."""
    files = FailingFiles(10**9, Crash())
    store = _store_with_two(folder, files)
    before = files._left
    store.write(snapshot(40, seed=3))
    return before - files._left


def _store_with_two(folder: Path, files: FailingFiles) -> SnapshotStore:
    whole = SnapshotStore(folder, keep=2, files=UnsyncedFiles())
    whole.write(snapshot(40, seed=1))
    whole.write(snapshot(40, seed=2))
    return SnapshotStore(folder, keep=2, files=files)


@pytest.mark.parametrize("power_cut", [False, True])
def test_a_crash_at_every_single_operation_leaves_a_whole_snapshot(tmp_path: Path, *, power_cut: bool) -> None:
    """Every write, sync, rename and removal may be the last thing the machine does."""
    total = operations_of_a_write(tmp_path / "counted")
    assert total > 40
    seen = set()
    for n in range(1, total + 1):
        folder = tmp_path / str(n)
        files = FailingFiles(n, Crash())
        store = _store_with_two(folder, files)
        with pytest.raises(Crash):
            store.write(snapshot(40, seed=3))
        if power_cut:
            files.lose_unsynced()
        used = newest(folder)
        assert used is not None, f"nothing is left after a crash at operation {n}"
        seen.add(used.offsets[0])
        assert equal(used.contents, contents(40, seed=used.offsets[0]))
        SnapshotStore(folder, keep=2, files=UnsyncedFiles()).write(snapshot(40, seed=4))
        after = newest(folder)
        assert after is not None
        assert after.offsets[0] == 4
        assert not list((folder / OF.bundle).glob("*.unfinished"))
    assert seen == {2, 3}, "crashes before the rename use the older one, those after it the new one"


def test_a_full_disk_leaves_the_older_snapshots_and_gives_its_space_back(tmp_path: Path) -> None:
    """The disk is not only ours, and the node has better things to do than to die of it."""
    total = operations_of_a_write(tmp_path / "counted")
    for n in range(1, total + 1):
        folder = tmp_path / str(n)
        store = _store_with_two(folder, FailingFiles(n, OSError(errno.ENOSPC, "No space left on device")))
        with pytest.raises(OSError, match="No space left"):
            store.write(snapshot(40, seed=3))
        used = newest(folder)
        assert used is not None
        assert used.offsets[0] in (2, 3)
        assert not list((folder / OF.bundle).glob("*.unfinished"))


_WRITER = """
import sys
from pathlib import Path
from serving.snapshots.store import SnapshotStore
from tests.snapshot_samples import snapshot
store = SnapshotStore(Path(sys.argv[1]), keep=2)
for seed in range(1, 10**6):
    store.write(snapshot(2_000, seed=seed % 1000 + 1))
    print(seed, flush=True)
"""


def test_a_writer_killed_at_any_moment_leaves_a_whole_snapshot(tmp_path: Path) -> None:
    """A kill -9 asks nobody."""
    for delay_s in (0.0, 0.013, 0.031):
        with subprocess.Popen([sys.executable, "-c", _WRITER, str(tmp_path)], stdout=subprocess.PIPE, cwd=Path.cwd()) as writer:
            assert writer.stdout is not None
            assert writer.stdout.readline()
            time.sleep(delay_s)
            writer.send_signal(signal.SIGKILL)
        used = newest(tmp_path)
        assert used is not None
        assert equal(used.contents, contents(2_000, seed=used.offsets[0]))


def test_a_manifest_reads_back_as_it_was_written(tmp_path: Path) -> None:
    """Its bytes are a contract with the next release."""
    path = SnapshotStore(tmp_path, keep=1).write(snapshot(3, seed=1)) / MANIFEST_NAME
    manifest = read_manifest(path.read_bytes())
    assert manifest.of == OF
    assert manifest.rows == 3
    assert manifest.files["vectors"].bytes == 3 * OF.dim * 4
    assert read_manifest(manifest.to_json()) == manifest
