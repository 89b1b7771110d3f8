"""The embedder on a real broker: events in, candidates and embeddings out, progress reported."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial as bound
from pathlib import Path

import numpy as np
import pytest
from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient

from roost.broker import Broker
from schemas.bundle import read_bundle
from schemas.codec import decode, encode
from schemas.errors import OffsetOutOfRange
from schemas.records.candidates import Counters
from schemas.records.control import Stage
from schemas.records.feedback import Engagement, EngagementKind
from schemas.registry.remote import RemoteRegistry
from schemas.topics import TWEETS, dlq, standard_topics
from schemas.towers import Towers
from schemas.wire.admin import create_topics, delete_topics
from schemas.wire.client import make_consumer, make_producer
from schemas.wire.committed import committed_offsets
from schemas.wire.dlq import DeadLetter
from schemas.wire.partition import partition_of
from streams.embedder.replay import seen_before
from streams.embedder.role import run_embedder
from streams.outbox import Outbox
from streams.producer import Producer
from streams.settings import EmbedderSettings
from tests.bundles import publish_bundle
from tests.embedder_thread import running_embedder
from tests.streams_kit import all_committed, candidates, embeddings, last_status, prepare, read_all, set_rollout, wait_until


def with_live_bundle(bootstrap: str, registry: Path | RemoteRegistry) -> tuple[str, EmbedderSettings]:
    """Publish a bundle, bring it live on a new broker, and return it and the settings of an embedder there."""
    live = publish_bundle(registry, seed=1)
    prepare(bootstrap, live)
    set_rollout(bootstrap, 1, {live: Stage.LIVE})
    return live, EmbedderSettings(bootstrap=bootstrap, registry=registry, checkpoint_interval_s=0.2)


def test_events_become_candidates_and_vectors(fresh_broker: Broker, tmp_path: Path) -> None:
    """The first half of the loop: a tweet is embedded at once, engagements refresh it, a delete follows, bad input goes aside."""
    bootstrap = fresh_broker.bootstrap
    live, settings = with_live_bundle(bootstrap, tmp_path / "registry")
    with running_embedder(settings), Producer(bootstrap) as producer:
        for n in range(20):
            producer.tweet(f"t:{n}", author_id=f"a:{n % 3}", language="en", topics=["cats"], text=f"tweet {n} \N{BIRD}")
        for n in range(5):
            producer.engagement("t:1", user_id=f"u{n}", kind="favorite")
        producer.engagement("t:1", user_id="u0", kind="unfavorite")
        producer.engagement("t:1", user_id="u9", kind="click", event_id="twice")
        producer.engagement("t:1", user_id="u9", kind="click", event_id="twice")
        producer.engagement("t:unseen", user_id="u1", kind="reply")
        producer.delete("t:2")
        producer.flush()
        raw = Outbox(bootstrap)
        raw.produce(TWEETS, b"\x00not avro", b"t:bad")
        raw.produce(TWEETS, b"no frame", b"t:bad2")
        raw.produce("engagements", b"garbage", b"t:1")
        raw.flush_all(timeout_s=10)
        producer.tweet("t:last", author_id="a:1")
        producer.flush()
        wait_until(lambda: "t:last" in candidates(bootstrap) and len(embeddings(bootstrap, live)) == 21, what="all written")
        wait_until(lambda: candidates(bootstrap)["t:1"].counters == Counters(favorite=4, click=1), what="counters")
    state = candidates(bootstrap)
    assert state["t:2"].deleted
    assert state["t:unseen"].is_stub
    assert state["t:unseen"].counters == Counters(reply=1)
    vectors = embeddings(bootstrap, live)
    assert set(vectors) == set(state) - {"t:unseen"}
    assert vectors["t:2"].deleted
    features = vectors["t:1"].features
    assert features is not None
    assert features == state["t:1"].features()
    expected = Towers(read_bundle(tmp_path / "registry", "home-timeline", live)).embed_candidates([features])[0]
    assert np.allclose(np.frombuffer(vectors["t:1"].vector, "<f4"), expected, atol=1e-6)
    dead = [decode(DeadLetter, record.value or b"") for record in read_all(bootstrap, dlq(TWEETS), 1)]
    assert sorted((letter.key, letter.value) for letter in dead) == [(b"t:bad", b"\x00not avro"), (b"t:bad2", b"no frame")]


def test_an_embedder_loads_a_bundle_from_a_registry_behind_a_url(fresh_broker: Broker, remote: RemoteRegistry) -> None:
    """The write path's host shares no folder with the trainer's."""
    bootstrap = fresh_broker.bootstrap
    live, settings = with_live_bundle(bootstrap, remote)
    with running_embedder(settings), Producer(bootstrap) as producer:
        producer.tweet("t:1", author_id="a:1", language="en", text="a tweet")
        producer.flush()
        wait_until(lambda: "t:1" in embeddings(bootstrap, live), what="the tweet's vector")


def test_a_new_bundle_is_dual_written_and_its_corpus_follows(fresh_broker: Broker, tmp_path: Path) -> None:
    """A rollout: live traffic goes to both bundles at once, the corpus behind it, and progress says when it is whole."""
    bootstrap = fresh_broker.bootstrap
    registry = tmp_path / "registry"
    live, building = publish_bundle(registry, seed=1), publish_bundle(registry, seed=2, dim=32)
    broken = "0123456789abcdef"
    prepare(bootstrap, live, building)
    set_rollout(bootstrap, 1, {live: Stage.LIVE})
    settings = EmbedderSettings(bootstrap=bootstrap, registry=registry, checkpoint_interval_s=0.2)
    with running_embedder(settings), Producer(bootstrap) as producer:
        for n in range(300):
            producer.tweet(f"t:{n}", author_id="a:1", topics=[f"topic{n % 7}"])
        producer.delete("t:7")
        # a film belongs to another surface: this bundle must not see it
        producer.tweet("t:ml-1", author_id="a:1")
        producer.flush()
        wait_until(lambda: len(embeddings(bootstrap, live)) == 300, what="the corpus in the live bundle")
        set_rollout(bootstrap, 2, {live: Stage.LIVE, building: Stage.BUILDING, broken: Stage.BUILDING})
        producer.tweet("t:new", author_id="a:1")
        producer.flush()

        def whole() -> bool:
            status = last_status(bootstrap, "embedder:0")
            progress = [p for p in status.progress if p.bundle == building] if status else []
            return len(progress) == 4 and all(p.backfill_done for p in progress)

        wait_until(whole, what="the backfill")
        status = last_status(bootstrap, "embedder:0")
        assert status is not None
        old, new = embeddings(bootstrap, live), embeddings(bootstrap, building, 32)
        assert set(new) == set(old) - {"t:7"}
        assert "t:ml-1" not in new
        assert sum(p.live_count for p in status.progress if p.bundle == building) == 300
        assert all(not p.backfill_done for p in status.progress if p.bundle == broken)
        assert any(broken in error and "manifest.json" in error for error in status.errors)
        ends = {p.partition: p.embeddings_end for p in status.progress if p.bundle == building}
        assert ends == _ends(bootstrap, f"embeddings.{building}")


def test_a_topic_that_is_deleted_under_the_embedder_costs_only_its_bundle(fresh_broker: Broker, tmp_path: Path) -> None:
    """Retiring a bundle deletes its topic; should that come before the embedder hears of it, live traffic must go on."""
    bootstrap, registry = fresh_broker.bootstrap, tmp_path / "registry"
    live, old = publish_bundle(registry, seed=1), publish_bundle(registry, seed=2)
    prepare(bootstrap, live, old)
    set_rollout(bootstrap, 1, {live: Stage.LIVE, old: Stage.DRAINING})
    settings = EmbedderSettings(bootstrap=bootstrap, registry=registry, checkpoint_interval_s=0.2)
    with running_embedder(settings), Producer(bootstrap) as producer:
        producer.tweet("t:0", author_id="a:1")
        producer.flush()
        wait_until(lambda: "t:0" in embeddings(bootstrap, old), what="a vector of each bundle")
        delete_topics(AdminClient({"bootstrap.servers": bootstrap}), [f"embeddings.{old}"])
        for n in range(1, 50):
            producer.tweet(f"t:{n}", author_id="a:1")
        producer.flush()
        wait_until(lambda: len(embeddings(bootstrap, live)) == 50, what="the live bundle's vectors")

        def set_aside() -> bool:
            status = last_status(bootstrap, "embedder:0")
            return status is not None and any(error.startswith(old) for error in status.errors)

        wait_until(set_aside, what="the reason in the heartbeat")
        wait_until(lambda: all_committed(bootstrap), what="all input committed")


def test_what_is_published_to_a_topic_created_anew_counts(fresh_broker: Broker, tmp_path: Path) -> None:
    """`roost doctor` tells when to make one again: a delete sent to it was taken for folded, and the tweet answered on."""
    bootstrap = fresh_broker.bootstrap
    live, settings = with_live_bundle(bootstrap, tmp_path / "registry")
    with running_embedder(settings), Producer(bootstrap) as producer:
        for n in range(40):
            producer.tweet(f"t:{n}", author_id="a:1")
            producer.engagement(f"t:{n}", user_id="u:1", kind="favorite")
        producer.flush()
        wait_until(lambda: all_committed(bootstrap), what="all input committed")
    admin = AdminClient({"bootstrap.servers": bootstrap})
    delete_topics(admin, [TWEETS])
    create_topics(admin, standard_topics())
    with running_embedder(settings), Producer(bootstrap) as producer:
        producer.delete("t:1")
        producer.tweet("t:2", author_id="a:2")
        producer.engagement("t:3", user_id="u:2", kind="favorite")
        producer.flush()
        wait_until(lambda: all_committed(bootstrap), what="all input committed")
    vectors, state = embeddings(bootstrap, live), candidates(bootstrap)
    assert [i for i, vector in vectors.items() if vector.deleted] == ["t:1"]
    assert (attributes := state["t:2"].attributes) is not None
    assert attributes.author_id == "a:2"
    # of a topic that is as it was nothing counts twice
    assert {i: candidate.counters.favorite for i, candidate in state.items()} == {f"t:{n}": 1 + (n == 3) for n in range(40)}


def test_a_topic_that_outgrew_the_one_before_it_is_read_from_its_beginning(fresh_broker: Broker, tmp_path: Path) -> None:
    """By offsets alone it is the same topic: what came first in it, deletes too, was passed over in silence, for good."""
    bootstrap = fresh_broker.bootstrap
    live, settings = with_live_bundle(bootstrap, tmp_path / "registry")

    def publish(*tweets: str, delete: str | None = None) -> None:
        with Producer(bootstrap) as producer:
            if delete is not None:
                producer.delete(delete)
            for tweet in tweets:
                producer.tweet(tweet, author_id="a:1")
            producer.flush()

    def recreate() -> None:
        wait_until(lambda: all_committed(bootstrap), what="all input committed")
        admin = AdminClient({"bootstrap.servers": bootstrap})
        delete_topics(admin, [TWEETS])
        create_topics(admin, standard_topics())
        publish(*(f"t:new{n}" for n in range(80)), delete="t:1")

    publish(*(f"t:{n}" for n in range(40)))
    with Producer(bootstrap) as producer:
        producer.engagement("t:3", user_id="u:1", kind="favorite")
        producer.flush()
    stop = threading.Event()
    given_up = threading.Timer(40, stop.set)
    given_up.start()
    with ThreadPoolExecutor(1) as pool:
        recreated = pool.submit(recreate)
        with pytest.raises(OffsetOutOfRange, match="created anew"):
            run_embedder(settings, stop)
        recreated.result()
    given_up.cancel()

    def deleted() -> list[str]:
        return [i for i, vector in embeddings(bootstrap, live).items() if vector.deleted]

    def whole(count: int) -> bool:
        return len(candidates(bootstrap)) == count and deleted() == ["t:1"]

    # what the first run read in the middle of the new topic it may have committed, so that its end tells of nothing
    for count in (121, 122):
        publish(f"t:then{count}")
        with running_embedder(settings):
            wait_until(bound(whole, count), what="all of the topic")
            wait_until(lambda: all_committed(bootstrap), what="all input committed")
        assert deleted() == ["t:1"]
        assert candidates(bootstrap)["t:3"].counters == Counters(favorite=1)


def test_a_topic_whose_offsets_the_broker_forgot_with_it_is_known_for_another(fresh_broker: Broker, tmp_path: Path) -> None:
    """A delete below what the state says of the topic before it was taken for folded, and the deleted candidate was answered on."""
    bootstrap = fresh_broker.bootstrap
    live, settings = with_live_bundle(bootstrap, tmp_path / "registry")

    def publish(first: int, count: int, delete: str | None = None) -> None:
        with Producer(bootstrap) as producer:
            if delete is not None:
                producer.delete(delete)
            for n in range(first, first + count):
                producer.tweet(f"t:{n}", author_id="a:1")
            producer.flush()

    def forgotten() -> bool:
        consumer = make_consumer(bootstrap, "embedder")
        try:
            return set(committed_offsets(consumer, [(TWEETS, p) for p in range(4)]).values()) == {None}
        finally:
            consumer.close()

    publish(0, 40)
    with Producer(bootstrap) as producer:
        producer.engagement("t:3", user_id="u:1", kind="favorite")
        producer.flush()
    with running_embedder(settings):
        wait_until(lambda: all_committed(bootstrap) and len(candidates(bootstrap)) == 40, what="all of the first topic")
    delete_topics(AdminClient({"bootstrap.servers": bootstrap}), [TWEETS])
    wait_until(forgotten, what="the group's offsets of the topic are gone with it")
    create_topics(AdminClient({"bootstrap.servers": bootstrap}), standard_topics())
    publish(40, 80, delete="t:1")
    with running_embedder(settings):
        wait_until(lambda: all_committed(bootstrap) and len(candidates(bootstrap)) == 120, what="all of the second topic")
    assert [i for i, vector in embeddings(bootstrap, live).items() if vector.deleted] == ["t:1"]
    assert candidates(bootstrap)["t:3"].counters == Counters(favorite=1)


def _ends(bootstrap: str, topic: str) -> dict[int, int]:
    ends = dict.fromkeys(range(4), 0)
    for record in read_all(bootstrap, topic):
        ends[record.partition] = record.offset + 1
    return ends


@pytest.mark.usefixtures("impatient")
def test_without_a_broker_the_embedder_waits_and_says_why(caplog: pytest.LogCaptureFixture) -> None:
    """Containers start in any order."""
    stop = threading.Event()
    settings = EmbedderSettings(bootstrap="127.0.0.1:9", broker_wait_s=60)
    thread = threading.Thread(target=run_embedder, args=(settings, stop), daemon=True)
    thread.start()
    wait_until(lambda: "waiting for the broker at 127.0.0.1:9" in caplog.text, timeout_s=10, what="a visible reason")
    stop.set()
    thread.join(10)
    assert not thread.is_alive()


def test_a_broker_that_goes_and_comes_back_finds_the_embedder_at_work(fresh_broker: Broker, tmp_path: Path) -> None:
    """A commit that nobody waits for may be lost on its way: the next one must still come, and the process must not end of it."""
    bootstrap = fresh_broker.bootstrap
    live, settings = with_live_bundle(bootstrap, tmp_path / "registry")
    # a commit is under way at nearly any moment
    settings = settings.model_copy(update={"checkpoint_interval_s": 0.05})
    sent = 1
    with running_embedder(settings), Producer(bootstrap) as producer:
        producer.tweet("t:0", author_id="a:1")
        producer.engagement("t:0", user_id="u:1", kind="favorite")
        wait_until(lambda: len(embeddings(bootstrap, live)) == 1, what="an embedder at work")
        for _ in range(2):
            for _ in range(60):
                producer.tweet(f"t:{sent}", author_id="a:1")
                producer.engagement(f"t:{sent}", user_id="u:1", kind="favorite")
                sent += 1
                time.sleep(0.005)
            fresh_broker.kill()
            time.sleep(1.0)
            fresh_broker.start()
            producer.flush()
            wait_until(lambda: len(embeddings(bootstrap, live)) == sent, what="all embedded")  # noqa: B023  awaited at once
            wait_until(lambda: all_committed(bootstrap), what="all committed")
    assert {candidate.counters.favorite for candidate in candidates(bootstrap).values()} == {1}


def test_event_ids_before_the_committed_offset_are_read_again(fresh_broker: Broker) -> None:
    """A duplicate may arrive just after a restart; and what retention removed must not stop a start."""
    bootstrap = fresh_broker.bootstrap
    prepare(bootstrap)
    with Producer(bootstrap) as producer:
        for n in range(10):
            producer.engagement("t:1", user_id="u", kind="click", event_id=f"e{n}")
    partition = partition_of(b"t:1", 4)
    now_ms = time.time_ns() // 1_000_000
    seen = seen_before(bootstrap, partition, 8)
    assert len(seen) == 8
    assert seen.repeats("e7", now_ms)
    assert not seen.repeats("e8", now_ms)
    admin = AdminClient({"bootstrap.servers": bootstrap})
    for future in admin.delete_records([TopicPartition("engagements", partition, 9)]).values():
        future.result(10)
    assert len(seen_before(bootstrap, partition, 5)) == 0
    assert len(seen_before(bootstrap, partition, 0)) == 0


def test_an_event_of_a_transaction_that_was_given_up_is_no_duplicate_of_the_one_that_follows(fresh_broker: Broker) -> None:
    """The embedder never read it: whoever took it for seen after a restart left out the engagement that its producer sent again."""
    bootstrap = fresh_broker.bootstrap
    prepare(bootstrap)
    now_ms = time.time_ns() // 1_000_000
    partition = partition_of(b"t:1", 4)
    foreign = make_producer(bootstrap, transactional_id="foreign")
    foreign.init_transactions(10)
    for event_id, is_kept in (("given up", False), ("kept", True)):
        foreign.begin_transaction()
        engagement = Engagement(event_id, "u", "t:1", EngagementKind.CLICK, now_ms)
        foreign.produce("engagements", encode(engagement), b"t:1")
        if is_kept:
            foreign.commit_transaction(10)
        else:
            # in the log, all the same
            foreign.flush(10)
            foreign.abort_transaction(10)
    # the record, what ends its transaction, and the record after it
    seen = seen_before(bootstrap, partition, 3)
    assert len(seen) == 1
    assert seen.repeats("kept", now_ms)
    assert not seen.repeats("given up", now_ms)
