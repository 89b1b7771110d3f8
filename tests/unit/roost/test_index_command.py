"""`roost index`: what an operator sees of snapshots, and takes from one machine to another."""

import errno
import json
import shutil
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import cast

import pytest
from fsspec.implementations.local import LocalFileSystem

from roost import cli
from roost.cli.output import Unwound
from serving.snapshots.manifest import MANIFEST_NAME, Manifest
from serving.snapshots.store import SnapshotStore, check
from tests.posts import now_ms
from tests.snapshot_samples import OF, UnsyncedFiles, snapshot


def run(capsys: pytest.CaptureFixture[str], *words: str, code: int = 0) -> dict[str, object]:
    """Return the JSON object a command prints."""
    assert cli.run(["index", *words, "--json"]) == code
    printed: dict[str, object] = json.loads(capsys.readouterr().out)
    return printed


@contextmanager
def answering(body: object) -> Iterator[str]:
    """Yield the address of a server that answers every question with the same JSON."""

    class Same(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(json.dumps(body).encode())

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Same) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


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
    (damaged,) = [one for one in found if not one["sound"]]
    assert (damaged["node"], damaged["snapshot"]) == ("node-2", "000000000002")
    assert damaged["reason"] == "vectors differs from its SHA-256 in the manifest", "its length is as it was"


def test_a_damaged_manifest_is_listed_beside_the_sound_ones(nodes: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One bad file of one node must not hide what all the others hold."""
    (nodes / "node-1" / OF.bundle / "000000000002" / MANIFEST_NAME).write_bytes(b"{")
    listed = run(capsys, "inspect", "--folder", str(nodes), code=1)["snapshots"]
    assert isinstance(listed, list)
    damaged = {
        "node": "node-1",
        "bundle": OF.bundle,
        "snapshot": "000000000002",
        "reason": f"{MANIFEST_NAME} is no JSON with a digest",
    }
    assert listed[0] == damaged
    assert [(one["node"], one["rows"]) for one in listed[1:]] == [("node-1", 10), ("node-2", 20), ("node-2", 10)]
    assert cli.run(["index", "inspect", "--folder", str(nodes)]) == 1
    assert f"node-1/{OF.bundle}/000000000002 is not sound: {MANIFEST_NAME}" in capsys.readouterr().out


@pytest.mark.parametrize("replaced", [["node-1"], ["node-1", "node-2"]])
def test_a_snapshot_that_its_node_replaces_while_it_is_read_is_not_called_damaged(
    replaced: list[str], nodes: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A node writes one a minute, and to read all of a large one takes longer: the nightly `verify` failed beside sound ones."""

    def removed_before(path: Path) -> Manifest:
        if path.parents[1].name in replaced:
            shutil.rmtree(path)
        return check(path)

    monkeypatch.setattr("roost.cli.index.check", removed_before)
    if len(replaced) == 1:
        verified = run(capsys, "verify", "--folder", str(nodes))
        assert [(one["node"], one["sound"]) for one in cast("list[dict[str, object]]", verified["snapshots"])] == [
            ("node-2", True)
        ] * 2
    else:
        assert cli.run(["index", "verify", "--folder", str(nodes), "--json"]) == 1
        printed = capsys.readouterr()
        assert "run this again" in json.loads(printed.out)["error"], "nothing was verified"


@pytest.mark.parametrize("command", ["inspect", "verify"])
def test_a_folder_that_is_not_there_is_never_called_sound(command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A backup that is looked for in the wrong place would pass every night."""
    assert cli.run(["index", command, "--folder", str(tmp_path / "nowhere"), "--json"]) == 1
    assert "nowhere is no folder; name the one that nodes write under" in json.loads(capsys.readouterr().out)["error"]


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
    bucket = f"file://{tmp_path}/bucket"
    restored = run(capsys, "restore", bucket, "--folder", str(own), "--node-id", "node-3", code=1)
    assert restored == {"fetched": [], "without": [OF.bundle]}
    kept = run(capsys, "verify", "--folder", str(own))["snapshots"]
    assert isinstance(kept, list)
    assert [one["rows"] for one in kept] == [30]


def test_a_snapshot_that_its_node_replaces_while_it_is_copied_leaves_nothing_and_stops_no_other(
    nodes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A million rows take longer to copy than a node takes to write two more: the command ended, the other nodes uncopied."""
    put_file = LocalFileSystem.put_file

    def replaced(files: LocalFileSystem, here: str, there: str) -> None:
        put_file(files, here, there)
        if "node-1" in here:
            shutil.rmtree(nodes / "node-1" / OF.bundle)

    monkeypatch.setattr(LocalFileSystem, "put_file", replaced)
    printed = run(capsys, "snapshot", f"file://{tmp_path}/bucket", "--folder", str(nodes), code=1)
    assert [one["node"] for one in cast("list[dict[str, str]]", printed["copied"])] == ["node-2"]
    assert printed["without"] == [{"node": "node-1", "bundle": OF.bundle}]
    assert not [path for path in (tmp_path / "bucket" / "node-1").rglob("*") if path.is_file()]


@pytest.mark.parametrize("ended_by", [OSError(errno.ENOSPC, "No space left on device"), Unwound(signal.SIGINT)])
def test_a_copy_that_is_cut_short_leaves_nothing_there(
    ended_by: BaseException, nodes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What has no manifest nobody ever removes: each run on a place that was full, or that was stopped, took more room of it."""
    put_file = LocalFileSystem.put_file

    def cut_short(files: LocalFileSystem, here: str, there: str) -> None:
        if here.endswith(MANIFEST_NAME):
            raise ended_by
        put_file(files, here, there)

    monkeypatch.setattr(LocalFileSystem, "put_file", cut_short)
    assert cli.run(["index", "snapshot", f"file://{tmp_path}/bucket", "--folder", str(nodes)]) != 0
    assert not [path for path in (tmp_path / "bucket").rglob("*") if path.is_file()]


@pytest.mark.parametrize(
    ("place", "said"),
    [("file:///nowhere/at/all", "holds no snapshot that can be read"), ("http://127.0.0.1:9/x", "cannot be used")],
    ids=["empty", "unreachable"],
)
def test_a_place_that_gives_nothing_fails_with_a_sentence(
    place: str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A node started after a restore that did nothing reads days of a topic; whoever runs it must learn so before."""
    assert cli.run(["index", "restore", place, "--folder", str(tmp_path), "--json"]) == 1
    printed = capsys.readouterr()
    assert f"{place} {said}" in json.loads(printed.out)["error"]
    assert f"roost: {place} {said}" in printed.err


def test_an_audit_of_what_is_no_node_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    """Many services answer in JSON, and one port is soon taken for another."""
    with answering({"status": "ok"}) as url:
        assert cli.run(["index", "audit", "--node", url]) == 1
    assert f"what answers at {url} is no node of this release" in capsys.readouterr().err


def test_a_place_of_no_known_kind_is_a_usage_error(nodes: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A typing mistake must not look like an outage."""
    assert cli.run(["index", "snapshot", "s4://bucket", "--folder", str(nodes)]) == 2
    assert "no place to share snapshots on" in " ".join(capsys.readouterr().err.split())
