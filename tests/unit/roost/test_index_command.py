"""`roost index`: what an operator sees of snapshots, and takes from one machine to another."""

import json
from pathlib import Path

import pytest

from roost import cli
from serving.snapshots.store import SnapshotStore
from tests.posts import now_ms
from tests.snapshot_samples import OF, UnsyncedFiles, snapshot


def run(capsys: pytest.CaptureFixture[str], *words: str, code: int = 0) -> dict[str, object]:
    """Return the JSON object a command prints."""
    assert cli.run(["index", *words, "--json"]) == code
    printed: dict[str, object] = json.loads(capsys.readouterr().out)
    return printed


@pytest.fixture
def nodes(tmp_path: Path) -> Path:
    """Return a folder under which two nodes wrote."""
    for node in ("node-1", "node-2"):
        store = SnapshotStore(tmp_path / "snapshots" / node, keep=2, files=UnsyncedFiles())
        for seed in (1, 2):
            store.write(snapshot(10 * seed, seed=seed, written_ms=now_ms()))
    return tmp_path / "snapshots"


def test_inspect_lists_every_snapshot_and_verify_finds_the_flipped_bit(nodes: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A backup that was never read is a hope."""
    listed = run(capsys, "inspect", "--folder", str(nodes))["snapshots"]
    assert isinstance(listed, list)
    assert [(one["node"], one["rows"]) for one in listed] == [("node-1", 20), ("node-1", 10), ("node-2", 20), ("node-2", 10)]
    assert run(capsys, "verify", "--folder", str(nodes))["sound"] is True
    vectors = nodes / "node-2" / OF.bundle / "000000000002" / "vectors"
    data = bytearray(vectors.read_bytes())
    data[-1] ^= 128
    vectors.write_bytes(bytes(data))
    found = run(capsys, "verify", "--folder", str(nodes), code=1)["snapshots"]
    assert isinstance(found, list)
    assert [(one["node"], one["snapshot"]) for one in found if not one["sound"]] == [("node-2", "000000000002")]


def test_snapshots_go_to_a_shared_place_and_come_from_it_sound(
    nodes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The way of an index to a machine that has no disk in common with the first."""
    place = f"file://{tmp_path}/bucket"
    vectors = nodes / "node-1" / OF.bundle / "000000000002" / "vectors"
    vectors.write_bytes(vectors.read_bytes()[:-1])
    copied = run(capsys, "snapshot", place, "--folder", str(nodes))["copied"]
    assert isinstance(copied, list)
    assert [(one["node"], one["rows"]) for one in copied] == [("node-1", 10), ("node-2", 20)], "the damaged one stays here"
    fetched = run(capsys, "restore", place, "--folder", str(tmp_path / "new"), "--node-id", "node-3")["fetched"]
    assert isinstance(fetched, list)
    assert [one["node"] for one in fetched] == ["node-3"]
    assert run(capsys, "verify", "--folder", str(tmp_path / "new"))["sound"] is True


def test_damaged_snapshots_of_a_shared_place_replace_none_that_is_sound(
    nodes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A node keeps so many of a bundle: two that cannot be read would push out the one that it could start from."""
    run(capsys, "snapshot", f"file://{tmp_path}/bucket", "--folder", str(nodes))
    copies = list((tmp_path / "bucket").rglob("vectors"))
    assert len(copies) == 2
    for vectors in copies:
        vectors.write_bytes(vectors.read_bytes()[:-1])
    own = tmp_path / "own"
    SnapshotStore(own / "node-3", keep=2, files=UnsyncedFiles()).write(snapshot(30, written_ms=now_ms()))
    assert run(capsys, "restore", f"file://{tmp_path}/bucket", "--folder", str(own), "--node-id", "node-3")["fetched"] == []
    kept = run(capsys, "verify", "--folder", str(own))["snapshots"]
    assert isinstance(kept, list)
    assert [one["rows"] for one in kept] == [30]


def test_a_place_of_no_known_kind_is_a_usage_error(nodes: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A typing mistake must not look like an outage."""
    assert cli.run(["index", "snapshot", "s4://bucket", "--folder", str(nodes)]) == 2
    assert "no place to share snapshots on" in " ".join(capsys.readouterr().err.split())
