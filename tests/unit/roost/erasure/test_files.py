"""Snapshots, bundles and logs on disk, searched for an id."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import pytest

from roost.erasure.files import search_files, search_snapshots
from roost.erasure.mention import Mention
from schemas.records.candidates import Candidate, CandidateAttributes, CandidateFeatures, Counters
from schemas.records.feedback import Example, Label
from schemas.topics import DAY_MS
from serving.query.payload import row_payload
from serving.snapshots.keeping import RENEW_MS
from serving.snapshots.manifest import Manifest, read_manifest
from serving.snapshots.store import SnapshotStore
from tests.posts import Post, embedding
from tests.snapshot_samples import NOW_MS, OF, UnsyncedFiles, snapshot
from trainer.data.cache import write_cache
from trainer.data.windows import CorpusAt, LoggedExample, Window


def written(folder: Path, author_id: str, *, text: str = "a text", written_ms: int = NOW_MS) -> Path:
    """Write a snapshot of 9 rows, one of them of an author, and return its folder."""
    post = Post("t:1", author_id=author_id, text=text)
    row = row_payload(OF.bundle, embedding(post, [0.0] * OF.dim, append_time_ms=NOW_MS))
    other = row_payload(OF.bundle, embedding(replace(post, author_id="a:71", text=""), [0.0] * OF.dim, append_time_ms=NOW_MS))
    given = snapshot(9, written_ms=written_ms)
    rows = replace(given.contents.rows, payloads=[other] * 8 + [row], author_ids=["a:71"] * 8 + [author_id])
    store = SnapshotStore(folder, keep=3, files=UnsyncedFiles())
    return store.write(replace(given, contents=replace(given.contents, rows=rows)))


def test_a_snapshot_is_searched_string_by_string(tmp_path: Path) -> None:
    """Its columns are strings without anything between them: a search of the bytes would find `a:7` in `a:71`."""
    with_it = written(tmp_path / "index", "a:7")
    without_it = written(tmp_path / "index", "a:72")
    (trace,) = search_snapshots(tmp_path, Mention("a:7"), kept=2, deletes_kept_ms=7 * DAY_MS)
    assert (trace.place, trace.at, trace.until_ms) == (str(with_it), "authors, payloads", NOW_MS + 2 * RENEW_MS)
    assert [Path(found.place) for found in search_snapshots(tmp_path, Mention("a:72"), kept=2, deletes_kept_ms=7 * DAY_MS)] == [
        without_it
    ]
    assert list(search_snapshots(tmp_path, Mention("a:1"), kept=2, deletes_kept_ms=7 * DAY_MS)) == []


def test_a_delete_in_a_snapshot_ends_by_its_own_time(tmp_path: Path) -> None:
    """It is in every snapshot that the node writes meanwhile: counted from the newest of them, its end would never come."""
    for day in range(3):
        written(tmp_path / "index", "a:7", written_ms=NOW_MS + day * DAY_MS)
    found = list(search_snapshots(tmp_path, Mention("t:gone-0-1"), kept=2, deletes_kept_ms=7 * DAY_MS))
    assert {(trace.at, trace.why, trace.count) for trace in found} == {("deleted_ids", "delete", 1)}
    assert [trace.until_ms for trace in found] == [701 + 7 * DAY_MS + 2 * RENEW_MS] * 3


def test_what_a_text_says_of_an_id_is_found(tmp_path: Path) -> None:
    """A tweet may name its author, or anybody."""
    written(tmp_path, "a:1", text="thanks to a:7!")
    assert [trace.at for trace in search_snapshots(tmp_path, Mention("a:7"), kept=2, deletes_kept_ms=7 * DAY_MS)] == ["payloads"]


def test_a_damaged_snapshot_is_searched_as_bytes(tmp_path: Path) -> None:
    """A node ignores it; it still lies on the disk."""
    folder = written(tmp_path, "a:erased")
    (folder / "manifest.json").write_text("{}")
    traces = list(search_snapshots(tmp_path, Mention("a:erased"), kept=2, deletes_kept_ms=7 * DAY_MS))
    assert {(trace.why, trace.until_ms) for trace in traces} == {("damaged", None)}
    assert {Path(trace.place).name for trace in traces} >= {"authors"}


def test_a_damaged_snapshot_that_its_node_removes_meanwhile_ends_no_search(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is replaced like any other: the whole search ended with a traceback."""
    gone, left = written(tmp_path, "a:7"), written(tmp_path, "a:7")
    (gone / "manifest.json").write_text("{}")

    def removing(data: bytes) -> Manifest:
        if data == b"{}":
            shutil.rmtree(gone)
        return read_manifest(data)

    monkeypatch.setattr("roost.erasure.files.read_manifest", removing)
    assert {trace.place for trace in search_snapshots(tmp_path, Mention("a:7"), kept=2, deletes_kept_ms=DAY_MS)} == {str(left)}


@pytest.mark.parametrize("lost", ["manifest.json", "ids", "authors_ends", "payloads_ends", "deleted_ms"])
def test_a_snapshot_that_is_not_all_there_is_searched_as_far_as_it_goes(lost: str, tmp_path: Path) -> None:
    """A node that was killed while it wrote or removed one left it so: the search said that nothing is left of whom it holds."""
    folder = written(tmp_path, "a:7")
    (folder / lost).unlink()
    (trace,) = search_snapshots(tmp_path, Mention("a:7"), kept=2, deletes_kept_ms=7 * DAY_MS)
    assert (trace.place, trace.why, trace.at) == (str(folder), "snapshot", "authors, payloads")
    assert trace.until_ms == int(folder.stat().st_mtime * 1000) + 2 * RENEW_MS
    assert not list(search_snapshots(tmp_path, Mention("a:9"), kept=2, deletes_kept_ms=7 * DAY_MS))


def test_a_column_that_is_still_being_written_is_searched_to_its_end(tmp_path: Path) -> None:
    """Where the last of its strings end is not on the disk yet."""
    folder = written(tmp_path, "a:7")
    (folder / "manifest.json").unlink()
    (folder / "payloads").unlink()
    ends = (folder / "authors_ends").read_bytes()
    (folder / "authors_ends").write_bytes(ends[:-8])
    (trace,) = search_snapshots(tmp_path, Mention("a:7"), kept=2, deletes_kept_ms=7 * DAY_MS)
    assert trace.at == "authors"


def test_a_kept_training_is_searched_row_by_row(tmp_path: Path) -> None:
    """Its Parquet is compressed: a search of the bytes found no user and no author, and said that they are nowhere."""
    features = CandidateFeatures("a:7", "en", "", ("chess",), 1, Counters())
    shown = [
        LoggedExample(0, at, Example(f"r/t:{at}", 0, "home-timeline", "r", f"u:{at}", f"t:{at}", 0, 5, features, Label.POSITIVE))
        for at in range(40)
    ]
    corpus = [Candidate("t:1", 1, 0, 1, attributes=CandidateAttributes("a:8", 1, text="thanks to a:9!"))]
    folder = tmp_path / "cache" / "home-timeline" / "bundle"
    write_cache(folder, "home-timeline", Window(shown, {0: (0, 40)}, 0), CorpusAt(corpus, {0: 1}, 5))

    def found(name: str) -> list[tuple[str, int, int | None]]:
        return [(Path(trace.place).name, trace.count, trace.until_ms) for trace in search_files(tmp_path, Mention(name))]

    assert found("u:4") == [("examples.parquet", 1, None)]
    assert found("a:7") == [("examples.parquet", 40, None)]
    assert found("a:8") == found("a:9") == [("corpus.parquet", 1, None)]
    (kept,) = search_files(tmp_path, Mention("a:8"), trainings_kept_ms=DAY_MS)
    assert kept.until_ms == int((folder / "corpus.parquet").stat().st_mtime * 1000) + DAY_MS
    assert found("u:400") == []
    (folder / "examples.parquet").write_bytes(b"damaged")
    assert [trace.why for trace in search_files(tmp_path, Mention("u:400"))] == ["damaged"]


def test_any_other_file_is_searched_as_bytes(tmp_path: Path) -> None:
    """Bundles and logs: they ought to hold no id, and the search shows it."""
    (tmp_path / "bundle").mkdir()
    (tmp_path / "bundle" / "weights.npz").write_bytes(b"\x00" * 5_000)
    (tmp_path / "empty").touch()
    (tmp_path / "labeler.log").write_text("dead-lettered: user id 'u:42' is no good\n")
    assert list(search_files(tmp_path, Mention("u:4"))) == []
    (trace,) = search_files(tmp_path, Mention("u:42"))
    assert (Path(trace.place).name, trace.until_ms) == ("labeler.log", None)


_EMPTIED = """
import os, sys
from pathlib import Path
from roost.erasure.files import search_files
from roost.erasure.mention import Mention

class Emptying(Mention):
    def in_bytes(self, data):
        os.truncate(sys.argv[1], 0)
        return super().in_bytes(data)

print(len(list(search_files(Path(sys.argv[1]).parent, Emptying("u:42")))))
"""


def test_a_log_that_is_emptied_while_it_is_searched_ends_no_search(tmp_path: Path) -> None:
    """The launcher does so at 64 MiB: the process of the search was killed by SIGBUS, without a word. Hence one of its own here."""
    log = tmp_path / "labeler.log"
    log.write_bytes(b"\n" * 100_000 + b"user id 'u:42' is no good\n")
    ended = subprocess.run([sys.executable, "-c", _EMPTIED, log], capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stdout) == (0, "1\n")


class _Removing(Mention):
    """Has files removed while it looks at the first."""

    def __init__(self, name: str, removed: Iterable[Path]) -> None:
        super().__init__(name)
        self._removed = removed

    def in_bytes(self, data: bytes) -> bool:
        """See `Mention`."""
        for path in self._removed:
            path.unlink(missing_ok=True)
        return super().in_bytes(data)


def test_what_a_running_training_replaces_meanwhile_ends_no_search(tmp_path: Path) -> None:
    """States of trainings come and go every minute: the whole search ended, or called a table damaged that is not there."""
    paths = [tmp_path / name for name in ("a", "b", "c.parquet", "d")]
    for path in paths:
        path.write_bytes(b"of a:7")
    found = list(search_files(tmp_path, _Removing("a:7", paths[1:3])))
    assert [(trace.place, trace.why) for trace in found] == [(str(paths[0]), "file"), (str(paths[3]), "file")]


@pytest.mark.parametrize("search", ["snapshots", "files"])
def test_a_snapshot_that_its_node_removes_meanwhile_ends_no_search(
    search: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A node removes one a minute: of a folder that was gone when it was looked into the search knew only that it is not there."""
    gone, left = written(tmp_path, "a:7"), written(tmp_path, "a:7")
    scandir = os.scandir

    def removing(folder: str | Path) -> object:
        if Path(folder) == gone:
            gone.rename(tmp_path.parent / f"{tmp_path.name}-gone")
        return scandir(folder)

    monkeypatch.setattr(os, "scandir", removing)
    mention = Mention("a:7")
    if search == "snapshots":
        places = {trace.place for trace in search_snapshots(tmp_path, mention, kept=2, deletes_kept_ms=7 * DAY_MS)}
    else:
        places = {str(Path(trace.place).parent) for trace in search_files(tmp_path, mention)}
    assert places == {str(left)}
