"""A node on a real broker: what was published is found, and the towers are swapped under it."""

import gc
import threading
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Protocol

import pytest

from roost.broker import Broker
from schemas.codec import decode, encode
from schemas.ids import Version
from schemas.positions import write_source_ids
from schemas.records.control import CommandKind, NodeStatus, Progress, SourcePosition
from schemas.records.users import QueryFeatures, UserEntry, UserEventKind, UserState
from schemas.topics import NODE_STATUS, ROLLOUTS, USER_STATES, embeddings_topic_name
from schemas.wire.admin import topic_id
from schemas.wire.tail import TailReader
from serving.client import Answer, ClientError, InlineUser, NodeIsBehind, NotServing
from serving.index import LiveIndex
from serving.node.heartbeat import NameTaken
from serving.node.role import run_node
from tests.living import living
from tests.posts import Post, now_ms
from tests.served_node import ServedNode, node_on_a_thread, node_process, settings_for, until
from tests.write_path import WritePath


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


def test_what_a_user_did_and_what_is_new_are_timed_until_an_answer_and_a_query_have_them(path: WritePath) -> None:
    """Both are what people feel; a lag says neither."""
    bundle, user = path.bundle(1), path.surface.name
    old = UserEntry("e1", UserEventKind.FAVORITE, "t:1", now_ms() - 3_600_000, author_id="author-1")
    path.user(UserState(user, profile_time_ms=1, entries=(old,)), user)
    path.go_live(bundle)
    with node_on_a_thread(path) as node:
        until(node.ready)
        path.embed([Post("t:1")], bundle)
        until(lambda: node.finds("t:1"))
        node.ask(user_id=user, k=1)
        found = {"surface": path.surface.name}
        until(lambda: node.metric("roost_publish_to_found_seconds_count", found) == 1)
        assert node.metric("roost_publish_to_found_seconds_sum", found) < 30
        assert node.metric("roost_engagement_to_answer_seconds_count", found) is None, "that was before this node"
        liked = UserEntry("e2", UserEventKind.FAVORITE, "t:1", now_ms(), author_id="author-9")
        path.user(UserState(user, profile_time_ms=1, entries=(liked, old)), user)
        until(lambda: node.ask(user_id=user, k=1) and node.metric("roost_engagement_to_answer_seconds_count", found) == 1)
        node.ask(user_id=user, k=1)
        assert node.metric("roost_engagement_to_answer_seconds_count", found) == 1
        assert node.metric("roost_engagement_to_state_seconds_count") == 1
        to_state_s = node.metric("roost_engagement_to_state_seconds_sum")
        to_answer_s = node.metric("roost_engagement_to_answer_seconds_sum", found)
        assert 0 <= to_state_s <= to_answer_s < 30


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
        path.embed([Post(post.candidate_id, created_ms=post.created_ms, version=Version(post.created_ms, 2))], first, second)
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


def test_a_corrupt_bundle_is_refused_while_the_live_one_stays(path: WritePath, monkeypatch: pytest.MonkeyPatch) -> None:
    """A bad deployment must cost nothing but the deployment."""
    monkeypatch.setattr("serving.node.bundle_tail.RELOAD_S", 0.5)
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


def test_a_bad_embedding_is_an_alarm_that_stands_until_its_candidate_is_embedded_anew(
    path: WritePath, caplog: pytest.LogCaptureFixture
) -> None:
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
        lines = [vars(record) for record in caplog.records if record.getMessage().startswith("bad embedding")]
        assert {(line["bundle"], line["topic"]) for line in lines} == {(bundle, embeddings_topic_name(bundle))}
        assert all(f"/{line['partition']}/{line['offset']}: " in line["message"] for line in lines), (
            "searched by field, not by text"
        )
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
    users = [f"user-{n}" for n in range(30)]
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
        assert 1 <= list(once.values()).count(canary) <= 20
        assert node.answers_from(live), "nobody in particular is answered by the live bundle"
        path.command(CommandKind.ABORT, canary)
        until(lambda: canary not in node.bundles())
        assert {node.ask(user_id=user, k=1).bundle for user in users} == {live}


@pytest.mark.usefixtures("impatient")
def test_a_node_without_a_broker_lives_and_says_what_it_waits_for(path: WritePath, monkeypatch: pytest.MonkeyPatch) -> None:
    """Started before its broker, a node waits in plain sight instead of crashing in a loop."""
    monkeypatch.setattr("serving.node.follower._BROKER_WAIT_S", 0.1)
    with node_on_a_thread(path, bootstrap="127.0.0.1:1") as node:
        assert node.http.get("/livez").status_code == 200
        until(lambda: any("no broker at 127.0.0.1:1" in reason for reason in node.health()["reasons"]))
        assert not node.ready()
        with pytest.raises(NotServing):
            node.ask()
        time.sleep(0.1)


def test_queries_never_fail_nor_mix_while_the_towers_are_swapped_ten_times(path: WritePath) -> None:
    """An operator ships towers as calmly as a web deploy only if nobody who asks can tell the moment."""
    bundles = path.bundle(1), path.bundle(2)
    posts = [Post(f"t:{n}", topics=(f"topic-{n % 17}",), author_id=f"author-{n % 5}") for n in range(400)]
    query = QueryFeatures(languages=("en",), interests=("topic-4",))
    vectors = {b: path.towers(b).embed_candidates([post.features for post in posts]) for b in bundles}
    truth = {b: vectors[b] @ path.towers(b).embed_queries([query])[0] for b in bundles}
    place = {post.candidate_id: n for n, post in enumerate(posts)}
    answers: list[Answer] = []
    failures: list[ClientError] = []
    done = threading.Event()
    with node_on_a_thread(path) as node:

        def ask() -> None:
            while not done.is_set():
                try:
                    answers.append(node.ask(user=InlineUser(languages=("en",), interests=("topic-4",)), k=100))
                except ClientError as error:
                    failures.append(error)
                time.sleep(0.01)

        path.go_live(bundles[0])
        path.embed(posts, bundles[0])
        path.start(bundles[1])
        path.embed(posts, bundles[1])
        for bundle in bundles:
            until(lambda bundle=bundle: node.bundles().get(bundle, {"not_ready": "absent"})["not_ready"] is None)  # type: ignore[misc]
            until(lambda bundle=bundle: len(node.ask(k=1000, pin=bundle).candidates) == len(posts))  # type: ignore[misc]
        path.ready(bundles[1])
        asking = threading.Thread(target=ask, daemon=True)
        asking.start()
        try:
            path.command(CommandKind.PROMOTE, bundles[1])
            for turn in range(10):
                until(lambda turn=turn: answers and answers[-1].bundle == bundles[(turn + 1) % 2])  # type: ignore[misc]
                path.command(CommandKind.ROLLBACK)
            until(lambda: answers[-1].bundle == bundles[1])
        finally:
            done.set()
            asking.join()
    assert not failures
    for answer in answers:
        assert len(answer.candidates) == 100
        expected = [float(truth[answer.bundle][place[candidate.candidate_id]]) for candidate in answer.candidates]
        assert [candidate.score for candidate in answer.candidates] == pytest.approx(expected, abs=1e-5)
    changes = sum(one.bundle != other.bundle for one, other in pairwise(answers))
    assert changes == 11 - (answers[0].bundle == bundles[1])


def test_the_heartbeat_tells_the_controller_what_it_compares(path: WritePath, monkeypatch: pytest.MonkeyPatch) -> None:
    """Parity, the quorum and a rejected bundle are all decided from this record alone."""
    # what is told of a moment is not awaited for a second each time
    monkeypatch.setattr("serving.node.node.HEARTBEAT_S", 0.1)
    good, bad = path.bundle(1), path.bundle(2)
    (path.registry / path.surface.name / bad / "manifest.json").unlink()
    with node_on_a_thread(path) as node, TailReader(path.bootstrap, NODE_STATUS, [0]) as statuses:

        def heard(check: Callable[[NodeStatus], bool]) -> None:
            mine = f"node:{path.surface.name}".encode()

            def newest() -> bool:
                records = [record.value for record in statuses.poll() if record.key == mine and record.value is not None]
                return bool(records) and check(decode(NodeStatus, records[-1]))

            until(newest)

        path.go_live(good)
        path.start(bad)
        path.embed([Post(f"t:{n}") for n in range(40)], good)
        name = path.surface.name
        heard(lambda s: s.ready and s.url == node.url and s.live == {name: good} and s.revisions == {name: path.revision})
        heard(lambda s: sum(p.applied for p in s.progress if p.bundle == good) == 40)
        heard(lambda s: sum(p.live_count for p in s.progress if p.bundle == good) == 40 and s.coverage[good] == 1.0)
        for languages in (None, ["tlh"]):
            node.ask(languages=languages)
        heard(lambda s: good in s.answers and (s.answers[good].answered, s.answers[good].empty) == (2, 1))
        heard(lambda s: any(error.startswith(f"{bad}: ") and "manifest.json" in error for error in s.errors))
        path.send(embeddings_topic_name(good), b"t:garbled", b"?")
        path.embed([Post(f"t:{n}") for n in range(40)], good)
        heard(lambda s: not s.ready and any("1 bad embeddings" in error for error in s.errors))
        heard(lambda s: sum(p.applied for p in s.progress if p.bundle == good) < 81)


def heartbeats(path: WritePath) -> list[NodeStatus]:
    """Return what the log holds under the name of the node of a surface, the newest last."""
    with TailReader(path.bootstrap, NODE_STATUS, [0], once=True) as reader:
        records = [record for record in reader.read_to_end() if record.key == f"node:{path.surface.name}".encode()]
    return [decode(NodeStatus, record.value or b"") for record in records]


def heartbeat(path: WritePath) -> NodeStatus:
    """Return the newest heartbeat of the node of a surface."""
    return heartbeats(path)[-1]


def test_of_two_nodes_under_one_name_the_second_ends_and_says_why(path: WritePath) -> None:
    """They shared one heartbeat: the controller took what either held for what both hold, and nothing told of it."""
    bundle = path.bundle(1)
    path.go_live(bundle)
    with node_on_a_thread(path) as first:
        until(first.ready)
        # whose order decides who was first: a node that is ready may not lose its name any more
        assert first.url in [status.url for status in heartbeats(path)]
        stop = threading.Event()
        given_up = threading.Timer(20, stop.set)
        given_up.start()
        with pytest.raises(NameTaken, match=f"reports as '{path.surface.name}', from {first.url}, .*ROOST_NODE_ID"):
            run_node(settings_for(path), stop)
        given_up.cancel()
        until(lambda: heartbeat(path).url == first.url)
        assert first.ready()
    with node_on_a_thread(path) as after_it:
        until(after_it.ready)
        until(lambda: heartbeat(path).url == after_it.url)
        # as long as it would take to hear another
        time.sleep(2)
        assert after_it.ready(), "a name is free again when its node has ended"


def test_a_bundle_started_again_is_filled_from_its_new_topic_alone(path: WritePath, monkeypatch: pytest.MonkeyPatch) -> None:
    """Offsets of a deleted topic mean nothing in the next one of that name."""
    live, again = path.bundle(1), path.bundle(2)
    indices = living(LiveIndex, monkeypatch)

    def held() -> int:
        gc.collect()
        return len(indices)

    with node_on_a_thread(path) as node:
        path.go_live(live)
        path.start(again)
        path.embed([Post(f"t:old-{n}") for n in range(50)], again)
        until(lambda: node.bundles().get(again, {"index": None})["index"])
        until(lambda: node.bundles()[again]["index"]["live"] == 50)
        path.restart(again)
        path.embed([Post("t:new")], again)
        until(lambda: (node.bundles().get(again, {}).get("index") or {"live": 0})["live"] == 1)
        until(lambda: node.bundles()[again]["not_ready"] is None)
        assert [c.candidate_id for c in node.ask(pin=again).candidates] == ["t:new"]
        assert held() == 2, "the index of the deleted topic gave its memory back"
        path.command(CommandKind.ABORT, again)
        until(lambda: held() == 1)


def test_a_topic_of_rollouts_created_anew_takes_no_answer_away_and_is_followed(fresh_broker: Broker, tmp_path: Path) -> None:
    """Nodes kept the old revision, said that they were ready, and every new rollout stayed `building` until they were restarted."""
    path = WritePath(fresh_broker.bootstrap, tmp_path)
    first, second = path.bundle(1), path.bundle(2)
    path.go_live(first)
    path.embed([Post("t:1")], first)

    def surface(node: ServedNode) -> tuple[str, int]:
        found = node.health()["surfaces"][0]
        return found["live"], found["revision"]

    with node_on_a_thread(path) as node:
        until(node.ready)
        assert surface(node) == (first, 4)
        path.begin_another_log()
        until(lambda: surface(node) == (first, 0) and node.ready())
        # an operator starts what was live: its topic is emptied
        path.start(first)
        until(lambda: node.bundles()[first]["stage"] == "building" and surface(node) == (first, 2))
        assert node.ready()
        assert node.finds("t:1")
        path.embed([Post("t:1"), Post("t:2")], first)
        path.ready(first)
        path.command(CommandKind.PROMOTE, first)
        until(lambda: node.finds("t:2") and surface(node) == (first, 4))
        path.begin_another_log()
        until(lambda: surface(node) == (first, 0) and node.ready())
        path.start(second)
        path.embed([Post("t:3")], second)
        path.ready(second)
        path.command(CommandKind.PROMOTE, second)
        until(lambda: surface(node) == (second, 4))
        assert {c.candidate_id for c in node.ask(k=10).candidates} == {"t:3"}


def test_of_user_states_created_anew_a_node_knows_what_is_in_them(fresh_broker: Broker, tmp_path: Path) -> None:
    """A user whose null was in the topic that is gone was kept for ever; nobody else is to be a stranger for long."""
    path = WritePath(fresh_broker.bootstrap, tmp_path)
    bundle = path.bundle(1)
    path.go_live(bundle)
    path.embed([Post("t:1")], bundle)
    for user_id in ("stays", "goes"):
        path.user(UserState(user_id, profile_time_ms=1, languages=("ja",)), user_id)
    with node_on_a_thread(path) as node:
        until(node.ready)
        assert node.health()["users"] == 2
        path.create_anew(USER_STATES)
        path.user(UserState("stays", profile_time_ms=2, languages=("ja",)), "stays")
        until(lambda: node.health()["users"] == 1 and node.ready())
        assert (node.ask(user_id="stays").cold, node.ask(user_id="goes").cold) == (False, True)
        path.user(UserState("goes", profile_time_ms=3, languages=("pt",)), "goes")
        until(lambda: not node.ask(user_id="goes").cold)


def test_of_heartbeats_created_anew_a_node_forgets_the_embedders_and_keeps_its_name(fresh_broker: Broker, tmp_path: Path) -> None:
    """What an embedder that ended had said was believed until the node ended, too."""
    path = WritePath(fresh_broker.bootstrap, tmp_path)
    bundle = path.bundle(1)
    path.start(bundle)
    path.embed([Post("t:1")], bundle)
    progress = Progress(path.surface.name, bundle, 0, live_count=2)
    said = encode(NodeStatus("embedder:gone", now_ms(), ready=True, progress=(progress,)))
    # more than the node writes to the new topic before it looks
    for _ in range(50):
        path.send(NODE_STATUS, b"embedder:gone", said)
    with node_on_a_thread(path) as node:
        until(lambda: node.bundles().get(bundle, {}).get("coverage") == 0.5)
        path.create_anew(NODE_STATUS)
        until(lambda: node.bundles()[bundle]["coverage"] == 0.0)
        with TailReader(path.bootstrap, NODE_STATUS, [0]) as reader:
            until(lambda: bool(reader.poll(1, 0.1)))
        stop = threading.Event()
        given_up = threading.Timer(20, stop.set)
        given_up.start()
        with pytest.raises(NameTaken, match=f"from {node.url}, "):
            run_node(settings_for(path), stop)
        given_up.cancel()
        path.ready(bundle)
        path.command(CommandKind.PROMOTE, bundle)
        until(node.ready)


def test_a_node_answers_on_without_its_broker_and_catches_up_after(fresh_broker: Broker, tmp_path: Path) -> None:
    """A broker restart is routine; answers must not depend on it, and the age of the index must show."""
    path = WritePath(fresh_broker.bootstrap, tmp_path)
    bundle = path.bundle(1)
    path.send(ROLLOUTS, b"x", b"garbled")
    path.send(USER_STATES, b"\xff", b"garbled")
    with node_on_a_thread(path) as node:
        path.go_live(bundle)
        path.embed([Post("t:before")], bundle)
        until(lambda: node.ready() and node.finds("t:before"))
        assert 'roost_records_skipped_total{topic="rollouts"} 1.0' in node.http.get("/metrics").text
        fresh_broker.kill()
        assert node.finds("t:before")
        until(lambda: node.ask().freshness.lag_ms > 3_000)
        fresh_broker.start()
        path.embed([Post("t:after")], bundle)
        until(lambda: node.finds("t:after"), within_s=30)
        until(lambda: node.ask().freshness.lag_ms < 2_000)


def test_of_tweets_created_anew_a_node_reflects_only_what_was_read_of_them(fresh_broker: Broker, tmp_path: Path) -> None:
    """By offsets of the topic that is gone, a tweet's author was told that it is there before it was, until the node restarted."""
    path = WritePath(fresh_broker.bootstrap, tmp_path)
    bundle = path.bundle(1)
    path.go_live(bundle)
    first = Post("t:1")
    path.embed([first], bundle)

    def report(next_offset: int, source_id: str) -> None:
        source = {"tweets": SourcePosition(next_offset, 0)}
        status = NodeStatus(
            "embedder:0", now_ms(), ready=True, progress=(Progress(path.surface.name, bundle, 0, source, backfill_done=True),)
        )
        path.send(NODE_STATUS, b"embedder:0", encode(status), write_source_ids({"tweets": source_id}))

    with node_on_a_thread(path) as node:
        until(node.ready)
        gone = topic_id(path.admin, "tweets")
        report(5_000, gone)
        until(lambda: node.ask().as_of == {"tweets": {0: 5_000}})
        path.create_anew("tweets")
        until(lambda: node.ask().as_of == {"tweets": {}})
        with pytest.raises(NodeIsBehind, match="tweets/0 up to offset 0, not yet 1"):
            node.ask(min_offset={"tweets": {0: 1}})
        report(1, topic_id(path.admin, "tweets"))
        until(lambda: node.ask().as_of == {"tweets": {0: 1}})
        # of an embedder that has not noticed
        report(5_001, gone)
        path.embed([first], bundle)
        assert node.ask(min_offset={"tweets": {0: 1}}).as_of == {"tweets": {0: 1}}
