"""Records framed with a schema registry's id, with a real registry: known, not there, and while it does not answer."""

import json
import signal
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest
from confluent_kafka.schema_registry import Schema, SchemaRegistryClient

from roost import cli
from roost.broker import Broker
from roost.broker.config import free_port
from schemas.codec import decode, encode, schema_json
from schemas.errors import RegistryUnavailable, UnknownSchema
from schemas.records.base import Message
from schemas.records.candidates import Counters, Tweet
from schemas.records.feedback import Engagement, EngagementKind
from schemas.records.users import User
from schemas.topics import ENGAGEMENTS, TWEETS, USERS, dlq
from schemas.wire.dlq import DeadLetter
from schemas.wire.partition import partition_of
from schemas.wire.registry import RegistrySchemas
from streams.outbox import Outbox
from streams.settings import EmbedderSettings
from tests.apicurio import Apicurio
from tests.embedder_thread import running_embedder
from tests.integration.test_label_roles import committed, running, user_states
from tests.streams_kit import all_committed, candidates, prepare, read_all, wait_until

Register = Callable[[str], int]
# a registry that is there may be slow: it loads what it answers with when it is first asked
PATIENCE_S = 60.0


@pytest.fixture
def client(registry: Apicurio) -> Iterator[SchemaRegistryClient]:
    """Yield a client of the registry."""
    with SchemaRegistryClient({"url": registry.url}) as opened:
        yield opened


@pytest.fixture
def register(client: SchemaRegistryClient) -> Register:
    """Return a function that gives one of our subjects an id that no test before has asked for."""

    def new_id(subject: str) -> int:
        # another doc is another schema, and so another id
        schema = schema_json(subject, 1) | {"doc": f"As {uuid.uuid4().hex} writes it."}
        return client.register_schema(f"{subject}-{uuid.uuid4().hex[:8]}", Schema(json.dumps(schema), "AVRO"))

    return new_id


@pytest.fixture
def bootstrap(fresh_broker: Broker) -> str:
    """Return a broker with every topic."""
    prepare(fresh_broker.bootstrap)
    return fresh_broker.bootstrap


def tweet(candidate_id: str, sequence: int = 0, *, deleted: bool = False) -> Tweet:
    """Return a tweet of just now."""
    now_ms = time.time_ns() // 1_000_000
    return Tweet(candidate_id, now_ms, sequence, "a:1", now_ms, deleted=deleted)


def send(bootstrap: str, topic: str, key: str, message: Message, schema_id: int | None = None) -> None:
    """Send one record, framed with a registry's id where one is given."""
    outbox = Outbox(bootstrap)
    outbox.produce(topic, encode(message, schema_id=schema_id), key.encode())
    outbox.flush_all(timeout_s=10)


def ids_in(partition: int, count: int) -> list[str]:
    """Return tweets' ids whose partition is this one."""
    return [name for name in (f"t:{n}" for n in range(100 * count)) if partition_of(name.encode(), 4) == partition][:count]


@contextmanager
def knows_no_path() -> Iterator[str]:
    """Yield the URL of a server that answers every question with 404; Apicurio now and then leaves an unknown path unanswered."""

    class NotFound(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_error(404)

    with ThreadingHTTPServer(("127.0.0.1", 0), NotFound) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/apis/ccompat/v7"
        finally:
            server.shutdown()


def letters(bootstrap: str, topic: str) -> list[DeadLetter]:
    """Return a topic's dead letters."""
    return [decode(DeadLetter, record.value or b"") for record in read_all(bootstrap, dlq(topic), 1)]


def test_not_found_is_an_answer_and_no_answer_is_none(registry: Apicurio, client: SchemaRegistryClient, register: Register) -> None:
    """The first makes a dead letter of a record, the second keeps it waiting: whoever mixes them up loses good records."""
    known = register("tweet")
    with RegistrySchemas(registry.url, timeout_s=PATIENCE_S) as schemas:
        assert json.loads(schemas(known))["name"] == "Tweet"
        said = []
        for _ in range(3):
            with pytest.raises(UnknownSchema, match="schema id 999999 is not in the registry") as not_there:
                schemas(999_999)
            said.append(len(not_there.traceback))
        assert said[1] == said[2], "what is said again does not keep the records it was said of"
    other = client.register_schema(f"proto-{uuid.uuid4().hex}", Schema('syntax = "proto3"; message M { int32 a = 1; }', "PROTOBUF"))
    with RegistrySchemas(registry.url, timeout_s=PATIENCE_S) as schemas, pytest.raises(UnknownSchema, match="is PROTOBUF"):
        schemas(other)
    # where no registry is: its 404 says nothing of a schema
    with (
        knows_no_path() as elsewhere,
        RegistrySchemas(elsewhere, timeout_s=PATIENCE_S) as schemas,
        pytest.raises(RegistryUnavailable, match="answers 404"),
    ):
        schemas(known)
    nobody = f"http://ann:secret@127.0.0.1:{free_port()}/"
    with (
        RegistrySchemas(nobody, timeout_s=PATIENCE_S) as schemas,
        pytest.raises(RegistryUnavailable, match="does not answer") as caught,
    ):
        schemas(known)
    assert "secret" not in str(caught.value)
    hangs = RegistrySchemas(registry.url, timeout_s=0.5)
    with registry.frozen(), hangs as schemas, pytest.raises(RegistryUnavailable, match="does not answer"):
        schemas(known)


def test_nobody_who_asks_whether_a_schema_is_known_waits_for_the_registry(registry: Apicurio, register: Register) -> None:
    """The embedder asks between two batches of live traffic: one hanging registry must not make everything old."""
    first, second = (encode(tweet("t:1"), schema_id=register("tweet")) for _ in range(2))
    with RegistrySchemas(registry.url, timeout_s=3.0, retry_s=0.2) as schemas:
        assert all(schemas.answered(value) for value in (None, b"", b"junk", encode(tweet("t:1"))))
        wait_until(lambda: schemas.answered(first), what="the first answer", timeout_s=10)
        with registry.frozen():
            began_s = time.monotonic()
            assert [schemas.answered(second) for _ in range(1_000)] == [False] * 1_000
            assert schemas.answered(first)
            assert time.monotonic() - began_s < 1.5
            wait_until(lambda: schemas.trouble is not None, what="the reason", timeout_s=10)
            assert not schemas.answered(second)
        wait_until(lambda: schemas.answered(second), what="the second answer", timeout_s=10)
        assert schemas.trouble is None
        assert decode(Tweet, second, schemas).candidate_id == "t:1"


@pytest.fixture
def soon_away(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have this process take the registry for away after a second without an answer, not five."""
    monkeypatch.setattr("schemas.wire.registry._ANSWER_S", 1.0)


@pytest.mark.usefixtures("soon_away")
def test_the_embedder_pauses_a_partition_until_the_registry_answers_and_says_so(
    bootstrap: str, registry: Apicurio, register: Register, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """An outage of the registry delays the records that need it: it stops no other, loses none and changes no order."""
    schema_id, port = register("tweet"), free_port()
    settings = EmbedderSettings(
        bootstrap=bootstrap,
        registry=tmp_path,
        schema_registry_url=registry.url,
        checkpoint_interval_s=0.2,
        metrics_port=port,
    )
    waits, after, gone = ids_in(2, 3)
    (elsewhere,) = ids_in(0, 1)
    click = Engagement("e1", "ann", waits, EngagementKind.CLICK, 1_700_000_000_000)

    def paused() -> list[str]:
        shown = httpx.get(f"http://127.0.0.1:{port}/metrics").text.splitlines()
        return [line for line in shown if line.startswith("roost_partition_paused{")]

    with registry.frozen(), running_embedder(settings):
        send(bootstrap, TWEETS, waits, tweet(waits), schema_id)
        send(bootstrap, TWEETS, after, tweet(after))
        send(bootstrap, TWEETS, gone, tweet(gone, 1), schema_id)
        send(bootstrap, TWEETS, gone, tweet(gone, 2, deleted=True))
        send(bootstrap, TWEETS, elsewhere, tweet(elsewhere))
        # of the same partition number, and of no schema that is asked for
        send(bootstrap, ENGAGEMENTS, waits, click)
        wait_until(lambda: candidates(bootstrap).keys() == {elsewhere, waits}, what="the partitions that need no registry")
        wait_until(lambda: "does not answer" in caplog.text, what="the reason in the log")
        assert paused() == ['roost_partition_paused{partition="2",topic="tweets"} 1.0']
        assert candidates(bootstrap)[waits].is_stub
        assert not all_committed(bootstrap)
    # stopped meanwhile: what waited was not committed
    with running_embedder(settings):
        wait_until(lambda: candidates(bootstrap).keys() == {elsewhere, waits, after, gone}, what="what had waited")
        wait_until(lambda: all_committed(bootstrap), what="all committed")
        assert paused() == []
    state = candidates(bootstrap)
    assert state[gone].deleted
    assert state[waits].counters.click == 1
    assert not state[waits].is_stub
    assert letters(bootstrap, TWEETS) == []


def test_the_embedder_goes_on_by_itself_when_the_registry_is_back(
    bootstrap: str, registry: Apicurio, register: Register, tmp_path: Path
) -> None:
    """Nobody should have to restart a role because another service was away for a while."""
    schema_id = register("tweet")
    settings = EmbedderSettings(bootstrap=bootstrap, registry=tmp_path, schema_registry_url=registry.url, checkpoint_interval_s=0.2)
    ids = ids_in(1, 50)
    with running_embedder(settings):
        with registry.frozen():
            outbox = Outbox(bootstrap)
            for name in ids:
                outbox.produce(TWEETS, encode(tweet(name), schema_id=schema_id), name.encode())
            outbox.flush_all(timeout_s=10)
            send(bootstrap, TWEETS, "t:0", tweet("t:0"))
            wait_until(lambda: candidates(bootstrap).keys() == {"t:0"}, what="another partition")
        wait_until(lambda: candidates(bootstrap).keys() == {"t:0", *ids}, what="what had waited")
        # an id that the registry does not have is a bad record: the partition goes on
        send(bootstrap, TWEETS, ids[0], tweet(ids[0], 9), 999_999)
        send(bootstrap, TWEETS, ids[1], tweet(ids[1], 9, deleted=True), schema_id)
        wait_until(lambda: candidates(bootstrap)[ids[1]].deleted, what="the record behind the bad one")
        wait_until(lambda: all_committed(bootstrap), what="all committed")
    (letter,) = letters(bootstrap, TWEETS)
    assert (letter.key, letter.error_kind, letter.schema_id) == (ids[0].encode(), "UnknownSchema", 999_999)
    assert registry.url in letter.error


@pytest.mark.usefixtures("soon_away")
def test_an_embedder_that_starts_without_its_registry_takes_tweets_and_waits_for_the_event_ids_it_must_know(
    bootstrap: str, registry: Apicurio, register: Register, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Left out, a duplicate that comes just after a restart would be counted twice; and a stop must not wait for anybody."""
    settings = EmbedderSettings(bootstrap=bootstrap, registry=tmp_path, schema_registry_url=registry.url, checkpoint_interval_s=0.2)
    schema_id = register("engagement")
    click = Engagement("twice", "ann", "t:1", EngagementKind.CLICK, 1_700_000_000_000)
    with running_embedder(settings):
        send(bootstrap, ENGAGEMENTS, "t:1", click, schema_id)
        wait_until(lambda: all_committed(bootstrap), what="the first is committed")
    send(bootstrap, ENGAGEMENTS, "t:1", click, schema_id)
    send(bootstrap, TWEETS, "t:1", tweet("t:1"))
    with registry.frozen(), running_embedder(settings):
        wait_until(lambda: "does not answer" in caplog.text, what="the reason in the log")
        wait_until(lambda: not candidates(bootstrap)["t:1"].is_stub, what="the tweet, of a schema that ships with Roost")
        assert candidates(bootstrap)["t:1"].source[ENGAGEMENTS] == 1, "the second click waits"
    with running_embedder(settings):
        wait_until(lambda: all_committed(bootstrap), what="all committed")
    assert candidates(bootstrap)["t:1"].counters == Counters(click=1)
    assert not candidates(bootstrap)["t:1"].is_stub


@pytest.fixture
def asked_again_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have this process ask again for what was not found after a second, not five."""
    monkeypatch.setattr("schemas.wire.registry._NOT_FOUND_S", 1.0)


@pytest.mark.usefixtures("asked_again_soon")
def test_a_schema_that_is_registered_after_its_records_mends_their_letters(
    bootstrap: str, registry: Apicurio, register: Register, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A registry that lost its last schemas, or was copied too early: nobody has to restart a role once they are there."""
    settings = EmbedderSettings(bootstrap=bootstrap, registry=tmp_path, schema_registry_url=registry.url, checkpoint_interval_s=0.2)
    # ids are given in order
    coming = register("tweet") + 1
    with running_embedder(settings):
        send(bootstrap, TWEETS, "t:1", tweet("t:1"), coming)
        wait_until(lambda: len(letters(bootstrap, TWEETS)) == 1, what="a dead letter")
        assert register("tweet") == coming
        # not asked for again before that: the letter would come back
        time.sleep(1)
        assert cli.run(["dlq", "replay", "tweets", "--error", "UnknownSchema", "--bootstrap", bootstrap]) == 0
        wait_until(lambda: candidates(bootstrap).keys() == {"t:1"}, what="the candidate")
        assert cli.run(["dlq", "show", "tweets", "--bootstrap", bootstrap, "--json"]) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["entries"] == []


def test_roles_on_faust_pause_a_partition_and_go_on_too(
    bootstrap: str, registry: Apicurio, register: Register, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More waits than a fetch holds, for longer than a wedged role would be let live: none is lost, others are folded meanwhile."""
    schema_id = register("user")
    monkeypatch.setenv("ROOST_SCHEMA_REGISTRY_URL", registry.url)
    monkeypatch.setenv("ROOST_WEDGED_AFTER_S", "6")
    waiting = [name for name in (f"u:{n}" for n in range(8_000)) if partition_of(name.encode(), 4) == 3]
    others = [name for name in (f"o:{n}" for n in range(100)) if partition_of(name.encode(), 4) != 3]
    outbox = Outbox(bootstrap, linger_ms=20)
    with running(bootstrap, tmp_path) as roles:
        with registry.frozen():
            for name in waiting:
                user = User(name, 5, 0, follows=tuple(f"a:{n:0>60}" for n in range(8)))
                outbox.produce(USERS, encode(user, schema_id=schema_id), name.encode())
            for name in others:
                outbox.produce(USERS, encode(User(name, 5, 0)), name.encode())
            outbox.flush_all(timeout_s=20)
            wait_until(lambda: user_states(bootstrap).keys() == set(others), what="the other partitions", timeout_s=60)
            time.sleep(8)
            assert roles.process is not None
            assert roles.process.poll() is None
            for name in others:
                outbox.produce(USERS, encode(User(name, 6, 1, languages=("fr",))), name.encode())
            outbox.flush_all(timeout_s=20)

            def are_french() -> bool:
                return {state.languages for state in user_states(bootstrap).values()} == {("fr",)}

            wait_until(are_french, what="news of the others")
            assert user_states(bootstrap).keys() == set(others)
            assert "does not answer" in (tmp_path / "roles-0.log").read_text()
        wait_until(lambda: user_states(bootstrap).keys() == {*waiting, *others}, what="what had waited", timeout_s=60)
        # and the null that user state writes to each of the four partitions when it opens them
        everything = len(waiting) + 2 * len(others) + 4
        wait_until(lambda: committed(bootstrap, USERS) == everything, what="the commit of all")
        assert roles.stop(signal.SIGTERM) == 0
    assert committed(bootstrap, USERS) == everything
    assert letters(bootstrap, USERS) == []
