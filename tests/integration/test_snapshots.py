"""A node that starts from its snapshot, on a real broker: it reads only what came after, and no takedown comes back."""

import resource
from pathlib import Path
from typing import Any, Protocol

import pytest

from serving.client import Answer
from tests.posts import Post
from tests.served_node import ServedNode, node_on_a_thread, node_process, until
from tests.write_path import WritePath

COUNT = 400


class HasBootstrap(Protocol):
    """The broker fixture."""

    bootstrap: str


@pytest.fixture
def path(broker: HasBootstrap, tmp_path: Path) -> WritePath:
    """Return a surface of the test's own."""
    return WritePath(broker.bootstrap, tmp_path)


def saving(tmp_path: Path, **changes: Any) -> dict[str, Any]:
    """Return settings of a node that saves its indexes often."""
    return {"snapshots": tmp_path / "snapshots", "snapshot_every_s": 0.2} | changes


def of_bundle(node: ServedNode, metric: str, bundle: str) -> float:
    """Return a metric of a bundle; -1 while there is none."""
    for line in node.http.get("/metrics").text.splitlines():
        if line.startswith(metric + "{") and bundle in line:
            return float(line.rpartition(" ")[2])
    return -1.0


def saved_rows(node: ServedNode, bundle: str) -> int:
    """Return how many candidates the newest snapshot holds; -1 while there is none."""
    snapshot = node.bundles()[bundle]["snapshot"]
    return -1 if snapshot is None or snapshot["written_ms"] is None else int(snapshot["rows"])


def scores(answer: Answer) -> dict[str, float]:
    """Return the scores of an answer, by candidate."""
    return {candidate.candidate_id: candidate.score for candidate in answer.candidates}


def test_a_node_killed_at_once_restores_its_snapshot_and_reads_only_what_came_after(path: WritePath, tmp_path: Path) -> None:
    """A restart must cost what happened meanwhile, not what ever happened; and a takedown, before or after, holds."""
    bundle = path.bundle(1)
    path.go_live(bundle)
    posts = [Post(f"t:{n}", topics=(f"topic-{n % 7}",), text=f"鳥 {n}") for n in range(COUNT)]
    path.embed(posts, bundle)
    path.delete(posts[7], bundle)
    with node_process(path, **saving(tmp_path)) as (process, node):
        until(lambda: node.ready() and saved_rows(node, bundle) == COUNT - 1, within_s=30)
        before = node.ask(k=1000)
        process.kill()
        process.wait()
    path.delete(posts[8], bundle)
    path.embed([Post("t:while-down"), posts[7]], bundle)
    with node_process(path, **saving(tmp_path, snapshot_every_s=600)) as (process, node):
        until(node.ready, within_s=30)
        assert of_bundle(node, "roost_snapshot_restored_rows", bundle) == COUNT - 1
        assert of_bundle(node, "roost_embeddings_applied_total", bundle) == 3, "it read what came after the snapshot, and no more"
        after = scores(node.ask(k=1000))
        assert after.keys() == {p.candidate_id for p in posts} - {"t:7", "t:8"} | {"t:while-down"}
        kept = scores(before)
        # to the last bit but one: where a row lies decides the order in which BLAS adds
        assert {i: after[i] for i in kept if i != "t:8"} == pytest.approx({i: kept[i] for i in kept if i != "t:8"}, abs=1e-6)
        texts = {candidate.candidate_id: candidate.text for candidate in node.ask(k=1000).candidates}
        assert texts["t:9"] == "鳥 9"
        process.terminate()
        assert process.wait(20) == 0
    with node_process(path, **saving(tmp_path, snapshot_every_s=600)) as (_, node):
        until(node.ready, within_s=30)
        assert of_bundle(node, "roost_snapshot_restored_rows", bundle) == COUNT - 1, "a clean end saved the news"
        assert of_bundle(node, "roost_embeddings_applied_total", bundle) <= 0
        assert scores(node.ask(k=1000)) == pytest.approx(after, abs=1e-6)


def test_a_damaged_snapshot_is_passed_over_for_the_older_one(path: WritePath, tmp_path: Path) -> None:
    """A flipped bit on disk must cost a few records read again, not an answer."""
    bundle = path.bundle(1)
    path.go_live(bundle)
    path.embed([Post(f"t:{n}") for n in range(20)], bundle)
    with node_on_a_thread(path, **saving(tmp_path)) as node:
        until(lambda: node.ready() and saved_rows(node, bundle) == 20)
        path.embed([Post("t:later")], bundle)
        until(lambda: saved_rows(node, bundle) == 21)
    folders = sorted((tmp_path / "snapshots" / path.surface.name / bundle).iterdir())
    assert len(folders) == 2
    vectors = folders[1] / "vectors"
    raw = bytearray(vectors.read_bytes())
    raw[100] ^= 4
    vectors.write_bytes(raw)
    with node_on_a_thread(path, **saving(tmp_path)) as node:
        until(node.ready)
        assert of_bundle(node, "roost_snapshot_restored_rows", bundle) == 20
        assert len(node.ask(k=1000).candidates) == 21


def test_a_topic_recreated_while_the_node_was_down_is_read_from_its_start(path: WritePath, tmp_path: Path) -> None:
    """Offsets of another topic of the same name would skip records: the snapshot is not used."""
    bundle = path.bundle(1)
    path.start(bundle)
    path.embed([Post(f"t:old-{n}") for n in range(30)], bundle)
    with node_on_a_thread(path, **saving(tmp_path)) as node:
        until(lambda: bundle in node.bundles() and saved_rows(node, bundle) == 30)
    path.restart(bundle)
    path.embed([Post("t:new")], bundle)
    with node_on_a_thread(path, **saving(tmp_path)) as node:
        until(lambda: (node.bundles().get(bundle, {}).get("index") or {"live": 0})["live"] == 1)
        until(lambda: node.bundles()[bundle]["not_ready"] is None)
        assert [c.candidate_id for c in node.ask(pin=bundle).candidates] == ["t:new"]
        until(lambda: saved_rows(node, bundle) == 1)


def test_a_log_whose_start_passed_the_snapshot_is_read_anew(path: WritePath, tmp_path: Path) -> None:
    """Retention removed what came after the snapshot, deletes perhaps among it: what is left is the truth."""
    bundle = path.bundle(1)
    path.go_live(bundle)
    path.embed([Post(f"t:{n}") for n in range(40)], bundle)
    with node_on_a_thread(path, **saving(tmp_path)) as node:
        until(lambda: node.ready() and saved_rows(node, bundle) == 40)
    path.embed([Post(f"t:{n}") for n in range(40)], bundle)
    path.embed([Post(f"t:last-{n}") for n in range(40)], bundle)
    path.forget_all_but_the_last(bundle, count=2)
    with node_on_a_thread(path, **saving(tmp_path)) as node:
        until(node.ready, within_s=30)
        found = {c.candidate_id for c in node.ask(k=1000).candidates}
        assert found
        assert all(i.startswith("t:last-") for i in found), "the snapshot's rows were discarded with it"


def test_a_retired_bundles_snapshots_leave_the_disk_even_if_the_node_was_down(path: WritePath, tmp_path: Path) -> None:
    """Retiring gives the space back: at once on a node that runs, at the next start on one that did not."""
    live, gone, gone_meanwhile = path.bundle(1), path.bundle(2), path.bundle(3)
    path.go_live(live)
    folder = tmp_path / "snapshots" / path.surface.name
    for bundle in (gone, gone_meanwhile):
        path.start(bundle)
        path.embed([Post("t:1")], bundle)
    path.embed([Post("t:1")], live)
    with node_on_a_thread(path, **saving(tmp_path)) as node:
        until(lambda: {p.name for p in folder.glob("*")} == {live, gone, gone_meanwhile}, within_s=30)
        path.abort(gone)
        until(lambda: {p.name for p in folder.glob("*")} == {live, gone_meanwhile})
        assert node.answers_from(live)
    path.abort(gone_meanwhile)
    with node_on_a_thread(path, **saving(tmp_path)) as node:
        until(lambda: {p.name for p in folder.glob("*")} == {live})


def test_a_node_whose_disk_is_full_answers_on_and_says_so(path: WritePath, tmp_path: Path) -> None:
    """The disk is a convenience of the next start: nothing that answers may depend on it."""
    bundle = path.bundle(1)
    path.go_live(bundle)
    path.embed([Post("t:1")], bundle)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    with node_on_a_thread(path, **saving(tmp_path)) as node:
        until(lambda: node.ready() and saved_rows(node, bundle) == 1)
        # the kernel refuses every file over a kilobyte from now on, as it would on a full disk
        resource.setrlimit(resource.RLIMIT_FSIZE, (1024, hard))
        try:
            path.embed([Post(f"t:more-{n}") for n in range(50)], bundle)
            until(lambda: of_bundle(node, "roost_snapshot_failing", bundle) == 1.0)
            assert node.ready()
            assert len(node.ask(k=1000).candidates) == 51
            assert "no snapshot can be written" in node.bundles()[bundle]["snapshot"]["trouble"]
            path.embed([Post("t:even-then")], bundle)
            until(lambda: node.finds("t:even-then"))
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        until(lambda: of_bundle(node, "roost_snapshot_failing", bundle) == 0.0 and saved_rows(node, bundle) == 52)


def test_a_new_replica_starts_from_another_nodes_snapshot(path: WritePath, tmp_path: Path) -> None:
    """Adding a node to a busy surface must not mean reading days of vectors."""
    bundle = path.bundle(1)
    path.go_live(bundle)
    posts = [Post(f"t:{n}", topics=(f"topic-{n % 7}",)) for n in range(COUNT)]
    path.embed(posts, bundle)
    with node_on_a_thread(path, **saving(tmp_path), node_id="first") as node:
        until(lambda: node.ready() and saved_rows(node, bundle) == COUNT, within_s=30)
    path.delete(posts[8], bundle)
    shared = {"snapshots": tmp_path / "elsewhere", "snapshots_shared": f"file://{tmp_path}/snapshots", "node_id": "second"}
    with node_process(path, **shared) as (_, node):
        until(node.ready, within_s=30)
        assert of_bundle(node, "roost_snapshot_restored_rows", bundle) == COUNT
        assert of_bundle(node, "roost_embeddings_applied_total", bundle) == 1, "it read what came after the snapshot, and no more"
        assert len(node.ask(k=1000).candidates) == COUNT - 1
