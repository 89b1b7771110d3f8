"""A node on a real broker: what was published is found, and the towers are swapped under it."""

import time
from pathlib import Path
from typing import Protocol

import pytest

from schemas.records.control import CommandKind
from schemas.records.users import UserState
from schemas.topics import embeddings_topic_name
from serving.client import InlineUser, NodeIsBehind, NotServing
from tests.served_node import node_on_a_thread, node_process, until
from tests.write_path import Post, WritePath


class HasBootstrap(Protocol):
    """The broker fixture."""

    bootstrap: str


@pytest.fixture
def path(broker: HasBootstrap, tmp_path: Path) -> WritePath:
    """Return a surface of the test's own."""
    return WritePath(broker.bootstrap, tmp_path)


def test_a_brand_new_candidate_is_found_and_the_towers_are_swapped_and_swapped_back(path: WritePath) -> None:
    """The core of the product: fresh, and never an answer of two towers."""
    first, second = path.bundle(1), path.bundle(2)
    posts = [Post(f"t:{n}", topics=(f"topic-{n % 7}",)) for n in range(300)]
    with node_on_a_thread(path) as node:
        assert not node.ready()
        with pytest.raises(NotServing, match=r"no bundle is live|still being read"):
            node.ask()
        path.go_live(first)
        until(node.ready)
        assert node.ask().candidates == []
        path.embed(posts, first)
        path.embed([Post("t:new")], first)
        until(lambda: node.finds("t:new"), within_s=5)

        path.start(second)
        path.embed([*posts, Post("t:new")], second)
        until(lambda: node.bundles()[second]["not_ready"] is None and node.bundles()[second]["coverage"] == 1.0)
        assert node.ask(pin=second).bundle == second
        path.ready(second)
        path.command(CommandKind.PROMOTE, second)
        until(lambda: node.answers_from(second))
        path.embed([Post("t:after-flip")], first, second)
        until(lambda: node.finds("t:after-flip"))

        path.command(CommandKind.ROLLBACK)
        until(lambda: node.answers_from(first), within_s=2)
        assert node.finds("t:after-flip"), "the draining bundle kept streaming, so rollback lands on a fresh index"
        assert node.ask(min_revision=path.revision).revision == path.revision
        with pytest.raises(NodeIsBehind, match=f"not yet {path.revision + 1}"):
            node.ask(min_revision=path.revision + 1)


def test_a_delete_on_one_bundles_topic_holds_in_all_epochs_and_a_higher_version_lifts_it(path: WritePath) -> None:
    """Somebody deleted a tweet: the epoch whose topic lags must not show it."""
    first, second = path.bundle(1), path.bundle(2)
    post, witness = Post("t:regretted"), Post("t:witness")
    with node_on_a_thread(path) as node:
        path.go_live(first)
        path.start(second)
        path.embed([post, witness], first, second)
        until(lambda: node.answers_from(first) and node.finds(post.candidate_id))
        until(lambda: second in node.bundles() and node.bundles()[second]["not_ready"] is None)
        until(lambda: node.finds(post.candidate_id, pin=second))
        path.delete(post, first)
        until(lambda: not node.finds(post.candidate_id))
        assert not node.finds(post.candidate_id, pin=second)
        path.embed([post], second)
        path.embed([Post("t:later")], second)
        until(lambda: node.finds("t:later", pin=second))
        assert not node.finds(post.candidate_id, pin=second), "an old version came after the delete"
        path.embed([Post(post.candidate_id, sequence=2, created_ms=post.created_ms)], first, second)
        until(lambda: node.finds(post.candidate_id))
        until(lambda: node.finds(post.candidate_id, pin=second))


def test_a_killed_node_comes_back_with_everything_and_says_when_it_is_whole(path: WritePath) -> None:
    """A kill -9 loses nothing: the topic is the log the index is rebuilt from."""
    bundle = path.bundle(1)
    path.go_live(bundle)
    path.embed([Post(f"t:{n}") for n in range(500)], bundle)
    with node_process(path) as (process, node):
        until(node.ready)
        assert len(node.ask(k=1000).candidates) == 500
        process.kill()
        process.wait()
        path.delete(Post("t:7"), bundle)
        path.embed([Post("t:while-down")], bundle)
    with node_process(path) as (process, node):
        until(node.ready)
        found = {c.candidate_id for c in node.ask(k=1000).candidates}
        assert found == {f"t:{n}" for n in range(500) if n != 7} | {"t:while-down"}
        process.terminate()
        assert process.wait(20) == 0, "SIGTERM is a clean end"


def test_a_corrupt_bundle_is_refused_while_the_live_one_stays(path: WritePath) -> None:
    """A bad deployment must cost nothing but the deployment."""
    good, bad = path.bundle(1), path.bundle(2)
    query_tower = path.registry / path.surface.name / bad / "query.onnx"
    whole = query_tower.read_bytes()
    query_tower.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with node_on_a_thread(path) as node:
        path.go_live(good)
        path.embed([Post("t:1")], good)
        until(node.ready)
        path.start(bad)
        until(lambda: "differs from its SHA-256" in str(node.bundles().get(bad, {}).get("not_ready")))
        path.ready(bad)
        path.command(CommandKind.PROMOTE, bad)
        until(lambda: not node.ready())
        assert node.answers_from(good), "the live bundle stays"
        assert any("SHA-256" in reason for reason in node.health()["reasons"])
        query_tower.write_bytes(whole)
        until(lambda: node.answers_from(bad))


def test_a_bad_embedding_is_an_alarm_that_stands_until_its_candidate_is_embedded_anew(path: WritePath) -> None:
    """A NaN in an index poisons every ranking it meets; a silent skip hides a broken tower."""
    bundle = path.bundle(1)
    topic = embeddings_topic_name(bundle)
    with node_on_a_thread(path) as node:
        path.go_live(bundle)
        path.embed([Post("t:good")], bundle)
        until(lambda: node.ready() and node.finds("t:good"))
        path.embed_vector(Post("t:nan"), bundle, [float("nan")] * 64)
        path.send(topic, b"t:garbled", b"\x00garbled")
        path.embed([Post("t:behind")], bundle)
        until(lambda: node.finds("t:behind"))
        until(lambda: not node.ready())
        (alarm,) = node.bundles()[bundle]["alarms"]
        assert "2 bad embeddings" in alarm
        assert not node.finds("t:nan")
        assert 'roost_embeddings_bad_total{bundle="' + bundle in node.http.get("/metrics").text
        path.embed([Post("t:nan"), Post("t:garbled")], bundle)
        until(node.ready)
        assert node.finds("t:nan")


def test_a_known_user_is_answered_from_their_state_and_a_stranger_is_marked_cold(path: WritePath) -> None:
    """Retrieval that forgets who asks is a popularity list."""
    bundle = path.bundle(1)
    user_id = f"user-{path.surface.name}"
    with node_on_a_thread(path) as node:
        path.go_live(bundle)
        path.embed([Post("t:ja", language="ja", topics=()), Post("t:en", language="en", topics=())], bundle)
        until(lambda: node.ready() and node.finds("t:en"))
        stranger = node.ask(user_id=user_id)
        assert stranger.cold
        state = UserState(user_id, profile_time_ms=1, profile_sequence=0, languages=("ja",))
        path.user(state, user_id)
        until(lambda: not node.ask(user_id=user_id).cold)
        inline = node.ask(user=InlineUser(languages=("ja",)))
        assert inline.cold
        known = node.ask(user_id=user_id)
        assert [c.score for c in known.candidates] == [c.score for c in inline.candidates]
        path.user(None, user_id)
        until(lambda: node.ask(user_id=user_id).cold)


def test_what_leaves_the_recency_window_leaves_the_index(path: WritePath, tmp_path: Path) -> None:
    """A timeline of yesterday's news is stale even when every record arrived."""
    short = WritePath(path.bootstrap, tmp_path, window_s=4)
    bundle = short.bundle(1)
    with node_on_a_thread(short) as node:
        short.go_live(bundle)
        until(node.ready)
        short.embed([Post("t:soon-old")], bundle)
        until(lambda: node.finds("t:soon-old"))
        until(lambda: node.bundles()[bundle]["index"]["live"] == 0, within_s=8)
        assert not node.finds("t:soon-old")


def test_a_canary_takes_its_share_of_users_and_keeps_them(path: WritePath) -> None:
    """A user who flips between towers sees two products; one bucket, one bundle."""
    live, canary = path.bundle(1), path.bundle(2)
    users = [f"user-{n}" for n in range(60)]
    with node_on_a_thread(path) as node:
        path.go_live(live)
        until(node.ready)
        path.start(canary)
        until(lambda: node.bundles().get(canary, {"not_ready": "absent"})["not_ready"] is None)
        path.ready(canary)
        path.command(CommandKind.CANARY, canary, share_bp=3_000)
        until(lambda: node.ask(k=1).revision == path.revision)
        once = {user: node.ask(user_id=user, k=1).bundle for user in users}
        assert once == {user: node.ask(user_id=user, k=1).bundle for user in users}
        assert 5 <= list(once.values()).count(canary) <= 35
        assert node.answers_from(live), "nobody in particular is answered by the live bundle"
        path.command(CommandKind.ABORT, canary)
        until(lambda: canary not in node.bundles())
        assert {node.ask(user_id=user, k=1).bundle for user in users} == {live}


def test_a_node_without_a_broker_lives_and_says_what_it_waits_for(path: WritePath) -> None:
    """Started before its broker, a node waits in plain sight instead of crashing in a loop."""
    with node_on_a_thread(path, bootstrap="127.0.0.1:1") as node:
        assert node.http.get("/livez").status_code == 200
        until(lambda: any("no broker at 127.0.0.1:1" in reason for reason in node.health()["reasons"]))
        assert not node.ready()
        with pytest.raises(NotServing):
            node.ask()
        time.sleep(0.1)
