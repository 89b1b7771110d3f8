"""A user who is also an author is erased from a real deployment: a search finds the ids everywhere before, and nowhere after."""

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import OFFSET_END, TopicPartition
from confluent_kafka.admin import (  # type: ignore[attr-defined]
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
)

from roost import cli
from roost.broker import Broker
from schemas.codec import decode_embedding
from schemas.positions import SOURCE_TOPICS
from schemas.records.control import CommandKind
from schemas.surfaces import load_surfaces
from schemas.topics import (
    ACCOUNTS,
    CANDIDATES,
    DAY_MS,
    EXAMPLES,
    IMPRESSIONS,
    LABELER_STATE,
    STIR_KEY,
    TWEETS,
    USER_EVENTS,
    USER_STATES,
    USERS,
    deletes_kept_ms,
    dlq,
    embeddings_topic_name,
)
from schemas.wire.admin import partition_counts, topic_configs, wait_for_broker
from serving.client import Answer
from streams.candidates.partition import CandidatePartition
from streams.outbox import Outbox
from streams.processor import Clock
from streams.producer import Producer
from streams.runner.changelog import ChangelogStore, restore
from streams.settings import EmbedderSettings
from streams.userstate.markers import KEPT_MS
from streams.userstate.processor import UserStateProcessor
from tests.embedder_thread import running_embedder
from tests.posts import now_ms
from tests.served_node import ServedNode, node_on_a_thread, until
from tests.streams_kit import last_status, read_all
from tests.write_path import WritePath

USER, AUTHOR, FAN = "u:erased", "a:erased", "u:fan"
PARTITIONS = 4


@dataclass
class Deployment:
    """A broker, the roles of the write path and a node, with a surface of tweets and one of accounts, which do not age."""

    path: WritePath
    folder: Path
    bundle: str
    accounts: WritePath
    accounts_bundle: str
    node: ServedNode
    capsys: pytest.CaptureFixture[str]

    def roost(self, *words: str, code: int = 0) -> dict[str, Any]:
        """Run a command and return its JSON object."""
        self.capsys.readouterr()
        assert cli.run([*words, "--bootstrap", self.path.bootstrap, "--json"]) == code, self.capsys.readouterr()
        answer: dict[str, Any] = json.loads(self.capsys.readouterr().out)
        return answer

    def traces(self, group: str, name: str, *more: str, code: int = 0) -> dict[str, list[dict[str, Any]]]:
        """Return what the search finds of an id, by place; snapshots under one name."""
        folders = ["--snapshots", str(self.folder / "snapshots"), "--registry", str(self.path.registry)]
        words = [group, "traces", name, *folders, "--surfaces", str(self.path.surfaces_file), "--data-dir", str(self.folder), *more]
        found = self.roost(*words, code=code)
        assert {str(self.folder / "snapshots"), str(self.path.registry), USERS, USER_STATES} <= set(found["searched"])
        by_place: dict[str, list[dict[str, Any]]] = {}
        for trace in found["traces"]:
            place = "snapshots" if str(self.folder / "snapshots") in trace["place"] else trace["place"]
            by_place.setdefault(place, []).append(trace)
        return by_place


@contextmanager
def label_roles(path: WritePath) -> Iterator[None]:
    """Run labeler and user state in a process of their own."""
    environment = {**os.environ, "KAFKA_BOOTSTRAP_SERVERS": path.bootstrap, "ROOST_SURFACES": str(path.surfaces_file)}
    process = subprocess.Popen([sys.executable, "-m", "tests.label_roles_process"], env=environment)
    try:
        yield
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        process.wait()


@contextmanager
def deployment(bootstrap: str, folder: Path, capsys: pytest.CaptureFixture[str], **of_embedder: Any) -> Iterator[Deployment]:
    """Run everything, with a bundle live on each surface."""
    path = WritePath(bootstrap, folder)
    (folder / "accounts").mkdir()
    accounts = WritePath(bootstrap, folder / "accounts", window_s=0)
    accounts.registry = path.registry
    of_accounts = accounts.surfaces_file.read_text().replace('"tweets"', '"accounts"').replace('"t:"', '"a:"')
    surfaces = (path.surfaces_file.read_text() + of_accounts).replace("label_window_s = 1800", "label_window_s = 1")
    path.surfaces_file.write_text(surfaces)
    bundle, accounts_bundle = path.bundle(1), accounts.bundle(2)
    path.go_live(bundle)
    accounts.go_live(accounts_bundle)
    embedder = EmbedderSettings(bootstrap=bootstrap, registry=path.registry, surfaces=path.surfaces_file, **of_embedder)
    with running_embedder(embedder), label_roles(path), node_on_a_thread(path, **snapshots_in(folder)) as node:
        until(node.ready, within_s=60)
        yield Deployment(path, folder, bundle, accounts, accounts_bundle, node, capsys)


def snapshots_in(folder: Path) -> dict[str, Any]:
    """Return the settings of a node that saves often."""
    return {"snapshots": folder / "snapshots", "snapshot_every_s": 0.3}


def show(producer: Producer, answer: Answer, user_id: str, surface: str) -> None:
    """Send the answer's impressions, and a favourite of the first."""
    for candidate in answer.candidates:
        producer.impression(
            candidate.candidate_id,
            user_id=user_id,
            request_id=answer.request_id,
            surface=surface,
            position=candidate.rank,
            bundle=answer.bundle,
            query_token=answer.query_token,
            token=candidate.token,
        )
    first = answer.candidates[0].candidate_id
    producer.engagement(first, user_id=user_id, kind="favorite", request_id=answer.request_id)


def make_quick(admin: AdminClient) -> None:
    """Have the broker clean in seconds what it cleans in a day, and drop what it drops in weeks."""
    topics = {name: count for name, count in partition_counts(admin).items() if not name.startswith("__")}
    configs = topic_configs(admin, topics)
    quick = {"max.compaction.lag.ms": "500", "segment.ms": "500", "delete.retention.ms": "0", "min.cleanable.dirty.ratio": "0.001"}
    # and look for something to clean all the time, not every fifteen seconds
    cleaner = _changed({"log.cleaner.backoff.ms": "200"})
    resources = [ConfigResource(ConfigResource.Type.BROKER, "1", incremental_configs=cleaner)]
    resources += [ConfigResource(ConfigResource.Type.TOPIC, name, incremental_configs=_changed(quick)) for name in topics]
    for future in admin.incremental_alter_configs(resources).values():
        future.result(30)
    dropped = [name for name, config in configs.items() if "delete" in config["cleanup.policy"] and config["retention.ms"] != "-1"]
    ends = [TopicPartition(name, partition, OFFSET_END) for name in dropped for partition in range(topics[name])]
    for future in admin.delete_records(ends).values():
        future.result(30)


def _changed(values: dict[str, str]) -> list[ConfigEntry]:
    return [ConfigEntry(key, value, incremental_operation=AlterConfigOpType.SET) for key, value in values.items()]


def pass_a_month(running: Deployment, bundles: Mapping[str, Sequence[str]]) -> None:
    """Have the roles' own processors, on their real changelogs, find that the time of markers and deletes is over.

    Args:
        bundles: those that stream, by the prefix of their candidates.
    """
    bootstrap, surfaces = running.path.bootstrap, load_surfaces(running.path.surfaces_file)
    outbox = Outbox(bootstrap)
    for partition in range(PARTITIONS):
        store = ChangelogStore(restore(bootstrap, CANDIDATES, partition))
        candidates = CandidatePartition(
            store, positions={TWEETS: 0}, ends=dict.fromkeys(SOURCE_TOPICS, sys.maxsize), surfaces=surfaces, now_ms=now_ms()
        )
        candidates.append_times_ms[TWEETS] = now_ms() + deletes_kept_ms(surfaces.values())
        for candidate_id in candidates.expire():
            for bundle in bundles[candidate_id[:2]]:
                outbox.produce(embeddings_topic_name(bundle), None, candidate_id.encode())
        candidates.expire()
        for key, value in store.take_changes():
            outbox.produce(CANDIDATES, value, key.encode(), partition)
        store = ChangelogStore(restore(bootstrap, USER_STATES, partition))
        UserStateProcessor(store).process([], Clock(now_ms() + KEPT_MS))
        for key, value in store.take_changes():
            outbox.produce(USER_STATES, value, key.encode(), partition)
    outbox.flush_all(timeout_s=30)


def whys(running: Deployment, author_id: str) -> defaultdict[str, set[str]]:
    """Return why an author is still named, by place."""
    found = running.traces("authors", author_id)
    return defaultdict(set, {place: {trace["why"] for trace in traces} for place, traces in found.items()})


def stir(bootstrap: str, *accounts_bundles: str) -> None:
    """Write what the roles write to every partition twice a day, and what is news to every index of accounts."""
    outbox = Outbox(bootstrap)
    for partition in range(PARTITIONS):
        for bundle in accounts_bundles:
            outbox.produce(embeddings_topic_name(bundle), None, b"a:nobody", partition)
    for topic in (USERS, USER_STATES, CANDIDATES, LABELER_STATE):
        for partition in range(PARTITIONS):
            outbox.produce(topic, None, STIR_KEY, partition)
    outbox.flush_all(timeout_s=30)


def nothing_is_left_after_a_month(running: Deployment, bundles: Mapping[str, Sequence[str]], *authors: str) -> None:
    """Let time pass for the broker, a node and the processors; assert that the search then finds neither user nor authors.

    Args:
        bundles: see `pass_a_month`.
    """
    bootstrap = running.path.bootstrap

    def left() -> list[Any]:
        found = [running.traces("users", USER), *(running.traces("authors", author) for author in authors)]
        return [traces for traces in found if traces]

    make_quick(wait_for_broker(bootstrap, timeout_s=10))
    with node_on_a_thread(running.path, **snapshots_in(running.folder)):
        pass_a_month(running, bundles)
        deadline_s = time.monotonic() + 150
        while left_now := left():
            assert time.monotonic() < deadline_s, left_now
            stir(bootstrap, *bundles["a:"])
            # a segment that is older than half a second ends with the next record
            time.sleep(1)
    assert running.traces("users", USER, "--check") == {}
    for author in authors:
        assert running.traces("authors", author, "--check") == {}


def test_what_is_erased_is_found_everywhere_before_and_nowhere_after(
    fresh_broker: Broker, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """An operator must be able to prove it: with one search over all places, that shows what it would have found."""
    with deployment(fresh_broker.bootstrap, tmp_path, capsys) as running, Producer(fresh_broker.bootstrap) as producer:
        node, surface = running.node, running.path.surface.name
        producer.user(USER, languages=["de"], follows=["a:other"])
        producer.user(FAN, languages=["de"], follows=[AUTHOR, "a:other"])
        producer.tweet("t:1", author_id=AUTHOR, text="one", language="de")
        producer.tweet("t:2", author_id=AUTHOR, text="two", language="de")
        producer.tweet("t:3", author_id="a:other", text="three", language="de")
        producer.account(AUTHOR, followers=7, text="I am a:erased")
        producer.flush()
        until(lambda: all(node.finds(f"t:{n}") for n in (1, 2, 3)), within_s=60)
        until(lambda: "t:1" in {c.candidate_id for c in node.ask(user_id=FAN, k=3).candidates})
        for user_id in (USER, FAN):
            show(producer, node.ask(user_id=user_id, k=3), user_id, surface)
        for user_id in (USER, FAN):
            producer.impression(
                AUTHOR, user_id=user_id, request_id=f"r-{user_id}", surface=running.accounts.surface.name, position=0
            )
            producer.engagement(AUTHOR, user_id=user_id, kind="follow", request_id=f"r-{user_id}")
        producer.impression("t:3", user_id=USER, request_id="r-dead", surface="not-configured", position=0)
        producer.flush()

        embeddings, of_accounts = embeddings_topic_name(running.bundle), embeddings_topic_name(running.accounts_bundle)
        of_user = {USERS, USER_STATES, USER_EVENTS, IMPRESSIONS, "engagements", EXAMPLES, LABELER_STATE, dlq(IMPRESSIONS)}
        of_author = {TWEETS, ACCOUNTS, CANDIDATES, embeddings, of_accounts, "snapshots"}
        of_author |= {USERS, USER_STATES, USER_EVENTS, IMPRESSIONS, EXAMPLES}
        until(lambda: of_user <= running.traces("users", USER).keys(), within_s=60)
        until(lambda: of_author <= running.traces("authors", AUTHOR).keys(), within_s=60)
        assert running.traces("users", USER, "--check", code=1)[USERS][0]["why"] == "kept", "nothing ends a profile by itself"

        planned = running.roost("users", "delete", USER, "--author", AUTHOR, "--dry-run")
        assert (planned["erased"], planned["history"], planned["author"]["followers"]) == (False, 6, 1)
        assert sorted(planned["author"]["candidates"]) == [AUTHOR, "t:1", "t:2"]
        assert node.finds("t:1"), "nothing is written by a dry run"
        began_ms = now_ms()
        done = running.roost("users", "delete", USER, "--author", AUTHOR, "--yes")
        assert done["erased_ms"] >= began_ms
        assert done["author"]["candidates"] == [AUTHOR, "t:1", "t:2"]

        until(lambda: not node.finds("t:1") and not node.finds("t:2"))
        assert node.finds("t:3")

        def only_deletes_are_left_in_snapshots() -> bool:
            # the older of the two that a node keeps goes when there is news, or after hours
            producer.tweet("t:4", author_id="a:other")
            producer.account("a:other")
            producer.flush()
            return whys(running, AUTHOR)["snapshots"] == {"delete"}

        until(only_deletes_are_left_in_snapshots, within_s=60)
        assert whys(running, AUTHOR)[CANDIDATES] == whys(running, AUTHOR)[of_accounts] == {"replaced", "delete"}
        assert whys(running, AUTHOR)[USER_STATES] == {"replaced"}
        left = [*running.traces("users", USER).values(), *running.traces("authors", AUTHOR).values()]
        ends = [trace["until_ms"] for traces in left for trace in traces]
        assert None not in ends, "from here on time alone ends all of it"
        assert max(ends) <= now_ms() + 36 * DAY_MS
        assert [trace["why"] for trace in running.traces("users", USER)[USER_STATES]].count("marker") == 1
        assert running.roost("authors", "takedown", AUTHOR, "--yes")["candidates"] == [], "done twice, it changes nothing"

    nothing_is_left_after_a_month(running, {"t:": [running.bundle], "a:": [running.accounts_bundle]}, AUTHOR)
    fan = running.traces("users", FAN)
    assert {USERS, USER_STATES} <= fan.keys(), "nobody else is touched"


def kept_vectors(bootstrap: str, bundle: str) -> set[str]:
    """Return the ids of which compaction keeps a vector in a bundle's topic: the last record of the key is one."""
    last = {record.key or b"": record.value or b"" for record in read_all(bootstrap, embeddings_topic_name(bundle), PARTITIONS)}
    return {key.decode() for key, value in last.items() if value and not decode_embedding(64, value).deleted}


@contextmanager
def trickle(bootstrap: str) -> Iterator[None]:
    """Engage with a tweet ten times a second: beside live traffic the embedder fills a new bundle at its share of the time."""
    ended = threading.Event()

    def engage() -> None:
        with Producer(bootstrap) as producer:
            while not ended.wait(0.1):
                producer.engagement("t:3", user_id=FAN, kind="click")

    thread = threading.Thread(target=engage, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join(30)


def test_who_is_erased_while_a_bundle_builds_or_is_a_canary_is_left_in_neither_bundle(
    fresh_broker: Broker, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The second index is filled from what was read before the delete: it must not bring back what the first let go of."""
    bootstrap, later = fresh_broker.bootstrap, "a:later"
    slowly = {"backfill_slice": 1, "backfill_share": 0.002}
    with deployment(bootstrap, tmp_path, capsys, **slowly) as running, Producer(bootstrap) as producer:
        node, path, accounts = running.node, running.path, running.accounts
        authors = [AUTHOR, later, "a:other", "a:another"]
        tweets = {f"t:{n}": authors[n % 4] for n in range(40)}
        for author in authors:
            producer.account(author)
        for tweet, author in tweets.items():
            producer.tweet(tweet, author_id=author, text=f"by {author}", language="de")
        producer.user(USER, languages=["de"])
        producer.flush()
        until(lambda: node.finds("t:39"), within_s=60)
        show(producer, node.ask(user_id=USER, k=3), USER, path.surface.name)
        producer.flush()
        until(lambda: {USER_STATES, EXAMPLES} <= running.traces("users", USER).keys(), within_s=60)

        tweets_too, accounts_too = path.bundle(3), accounts.bundle(4)
        bundles = {"t:": [running.bundle, tweets_too], "a:": [running.accounts_bundle, accounts_too]}

        def built() -> dict[str, bool]:
            status = last_status(bootstrap, "embedder:0")
            assert status is not None
            done = [(progress.bundle, progress.backfill_done) for progress in status.progress]
            return {b: (b, True) in done and (b, False) not in done for b in (tweets_too, accounts_too)}

        def held() -> list[set[str]]:
            return [kept_vectors(bootstrap, bundle) for both in bundles.values() for bundle in both]

        def found() -> list[set[str]]:
            asked = [(surface, b) for surface, both in zip((path, accounts), bundles.values(), strict=True) for b in both]
            answers = [node.client.retrieve(one.surface.name, k=1000, pin=bundle) for one, bundle in asked]
            return [{candidate.candidate_id for candidate in answer.candidates} for answer in answers]

        def left_of(*erased: str) -> list[set[str]]:
            of_tweets = {tweet for tweet, author in tweets.items() if author not in erased}
            of_accounts = set(authors) - set(erased)
            return [of_tweets, of_tweets, of_accounts, of_accounts]

        with trickle(bootstrap):
            path.start(tweets_too)
            accounts.start(accounts_too)
            until(lambda: held()[1], within_s=60)
            done = running.roost("users", "delete", USER, "--author", AUTHOR, "--yes")
            assert len(done["author"]["candidates"]) == 11
            assert not built()[tweets_too], "erased behind, amid and ahead of what is written again"
        until(lambda: all(built().values()), within_s=60)
        assert held() == left_of(AUTHOR)
        until(lambda: found() == left_of(AUTHOR))

        path.ready(tweets_too)
        accounts.ready(accounts_too)
        path.command(CommandKind.CANARY, tweets_too, share_bp=5_000)
        accounts.command(CommandKind.CANARY, accounts_too, share_bp=5_000)
        running.roost("authors", "takedown", later, "--yes")
        until(lambda: found() == left_of(AUTHOR, later))
        until(lambda: held() == left_of(AUTHOR, later))

        def only_deletes_are_left_in_snapshots() -> bool:
            producer.tweet("t:3", author_id="a:another")
            producer.account("a:another")
            producer.flush()
            return all(whys(running, author)["snapshots"] == {"delete"} for author in (AUTHOR, later))

        until(only_deletes_are_left_in_snapshots, within_s=60)
        left = [running.traces("users", USER), running.traces("authors", AUTHOR), running.traces("authors", later)]
        ends = [trace["until_ms"] for places in left for traces in places.values() for trace in traces]
        assert None not in ends
        assert max(ends) <= now_ms() + 36 * DAY_MS
    nothing_is_left_after_a_month(running, bundles, AUTHOR, later)


def test_who_is_not_answered_is_told_what_to_start(
    fresh_broker: Broker, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The delete is in the log; what is not there yet is its fold, and the sentence says whose."""
    path = WritePath(fresh_broker.bootstrap, tmp_path)
    path.command(CommandKind.FREEZE)
    words = ["--bootstrap", fresh_broker.bootstrap, "--wait-s", "1", "--yes"]
    assert cli.run(["users", "delete", "u:1", *words]) == 1
    assert "is `roost label` running?" in capsys.readouterr().err
    with Producer(fresh_broker.bootstrap) as producer:
        producer.tweet("t:1", author_id="a:1")
    assert cli.run(["authors", "takedown", "a:1", *words]) == 1
    said = capsys.readouterr().err
    assert "is `roost embed` running?" in said
    assert re.search(r"^tweets .* 100%", said, re.MULTILINE), "a topic may take minutes to read"
    assert re.search(r"^candidates folded .* 0%", said, re.MULTILINE)
    assert cli.run(["authors", "takedown", "a:1", "--bootstrap", fresh_broker.bootstrap, "--json"]) == 2
    assert cli.run(["users", "traces", "x" * 65, "--bootstrap", fresh_broker.bootstrap]) == 2
