"""Producers that share no code with us: others' clients and serializers, a schema registry, and a whole machine that reads them."""

import asyncio
import gc
import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer
from confluent_kafka.schema_registry import SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroSerializer
from confluent_kafka.serialization import MessageField, SerializationContext

from roost import cli
from roost.broker import KafkaInstall
from roost.explain.timeline import read_timeline
from roost.machine.machine import Machine, MachinePlan
from roost.settings import LauncherSettings
from schemas.codec import encode
from schemas.records.candidates import Counters
from schemas.records.control import CommandKind, RolloutCommand
from schemas.surfaces import load_surfaces
from schemas.topics import ROLLOUT_COMMANDS
from schemas.wire.registry import RegistrySchemas
from serving.client import Answer, Client
from streams.controller.client import RolloutClient
from streams.outbox import Outbox
from tests.apicurio import Apicurio
from tests.bundles import publish_bundle
from tests.integration.test_label_roles import user_states
from tests.integration.waiting import until
from tests.java_client import JavaClient
from tests.posts import now_ms
from tests.streams_kit import candidates

HOME = "home-timeline"
GUIDE = Path(__file__).parents[2] / "docs" / "guides" / "schema-registry.md"
# by default it asks at a path that Apicurio has not, which Apicurio sometimes never answers
BY_TOPIC = {"subject.name.strategy.type": "TOPIC"}
# as another team would write it: what it needs, and a time as its language has them
THEIR_TWEET = {
    "type": "record",
    "name": "Tweet",
    "namespace": "roost",
    "fields": [
        {"name": "candidate_id", "type": "string"},
        {"name": "event_time_ms", "type": {"type": "long", "logicalType": "timestamp-millis"}},
        {"name": "sequence", "type": "long"},
        {"name": "author_id", "type": "string"},
        {"name": "created_ms", "type": {"type": "long", "logicalType": "timestamp-millis"}},
        {"name": "text", "type": "string", "default": ""},
    ],
}


@pytest.fixture(scope="module")
def machine(registry: Apicurio, launcher_settings: LauncherSettings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """Yield a machine that knows the registry, with random towers live on one surface."""
    assert cli.run(["schemas", "register", "--registry", registry.url]) == 0
    plan = MachinePlan(
        tmp_path_factory.mktemp("machine"),
        roles=("control", "embed", "label", "serve"),
        environment={"ROOST_SCHEMA_REGISTRY_URL": registry.url, "ROOST_SESSION_TIMEOUT_S": "6", "ROOST_SERVE": HOME},
    )
    with Machine(plan, launcher_settings, say=print) as machine, Client(machine.node_url, timeout_s=10.0) as client:
        bundle = publish_bundle(machine.registry, surface=HOME)
        with RolloutClient(machine.bootstrap) as commands:
            commands.send(RolloutCommand("start", HOME, CommandKind.START, time_ms=now_ms(), bundle=bundle, automatic=True))
        until(client.ready, what="the bundle is live on the node", timeout_s=60)
        yield machine
        # the guide's producer sits in a reference cycle, and would complain on stderr when the broker goes
        gc.collect()


def answer(machine: Machine) -> Answer:
    """Return the thousand best for somebody."""
    with Client(machine.node_url, timeout_s=10.0) as client:
        return client.retrieve(HOME, user_id="ann", k=1000)


def finds(machine: Machine, candidate_id: str) -> bool:
    """Tell whether the node returns a candidate."""
    return candidate_id in {found.candidate_id for found in answer(machine).candidates}


def test_what_the_guide_s_producer_sends_is_retrieved(
    machine: Machine, registry: Apicurio, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The code of the page as it is shown, with nothing of ours in it: its tweet is found, its engagement is counted."""
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", machine.bootstrap)
    monkeypatch.setenv("ROOST_SCHEMA_REGISTRY_URL", registry.url)
    (block,) = re.findall(r"^```python\n(.*?)^```", GUIDE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    assert not re.search(r"^\s*(from|import) (streams|schemas|roost|serving)\b", block, re.MULTILINE)
    exec(compile(block, GUIDE.name, "exec"), {"__name__": "guide"})  # noqa: S102  our own page
    until(lambda: finds(machine, "t:heron"), what="the tweet is found")
    (found,) = [found for found in answer(machine).candidates if found.candidate_id == "t:heron"]
    assert (found.text, found.language, found.author_id) == ("A heron on the roof", "en", "a:7")
    until(lambda: "t:heron" in candidates(machine.bootstrap), what="the tweet's state is written")
    until(lambda: candidates(machine.bootstrap)["t:heron"].counters == Counters(favorite=1), what="the engagement is counted")
    until(lambda: "ann" in user_states(machine.bootstrap), what="the engagement is in the user's state")


def test_another_client_with_a_schema_of_its_own_is_read_as_well(
    machine: Machine, registry: Apicurio, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing of librdkafka's is in aiokafka, and its producer registers a smaller schema by itself: the contract is the wire."""
    sent_ms = now_ms()
    moment = datetime.fromtimestamp(sent_ms / 1000, UTC)
    theirs = {
        "candidate_id": "t:theirs",
        "event_time_ms": moment,
        "sequence": 1,
        "author_id": "a:8",
        "created_ms": moment,
        "text": "from elsewhere",
    }
    user = {"user_id": "bo", "event_time_ms": now_ms(), "sequence": 0, "languages": ["pt"]}
    with SchemaRegistryClient({"url": registry.url}) as client:
        own = AvroSerializer(client, json.dumps(THEIR_TWEET), conf=BY_TOPIC)
        latest = AvroSerializer(client, conf=BY_TOPIC | {"auto.register.schemas": False, "use.latest.version": True})

        async def send() -> None:
            async with AIOKafkaProducer(bootstrap_servers=machine.bootstrap, enable_idempotence=True) as producer:
                for topic, key, serializer, value in (("tweets", "t:theirs", own, theirs), ("users", "bo", latest, user)):
                    data: Any = serializer(value, SerializationContext(topic, MessageField.VALUE))
                    await producer.send_and_wait(topic, data, key.encode())

        asyncio.run(send())
        assert client.get_versions("tweets-value") == [1, 2]
    until(lambda: finds(machine, "t:theirs"), what="the tweet is found")
    until(lambda: "t:theirs" in candidates(machine.bootstrap), what="its state is written")
    state = candidates(machine.bootstrap)["t:theirs"]
    assert state.version == (sent_ms, 1)
    until(lambda: "bo" in user_states(machine.bootstrap), what="the user's profile")
    assert user_states(machine.bootstrap)["bo"].languages == ("pt",)
    # what is beside ours at the registry still fits ours
    assert cli.run(["schemas", "check", "--registry", registry.url]) == 0
    # and who asks how it came in is told
    with RegistrySchemas(registry.url, timeout_s=5.0) as lookup:
        steps = read_timeline(machine.bootstrap, load_surfaces()[HOME], "t:theirs", [], lookup=lookup).steps
    assert [step.what for step in steps] == ["published", "folded"]


def test_a_java_producer_is_indexed_and_the_console_consumer_reads_it_back(
    machine: Machine, registry: Apicurio, kafka_install: KafkaInstall, tmp_path: Path
) -> None:
    """Most producers are Java: Kafka's own client, a serializer of others, the guide's settings; and the tool Kafka ships."""
    (block,) = re.findall(r"^```properties\n(.*?)^```", GUIDE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    addresses = {"127.0.0.1:9092": machine.bootstrap, "http://127.0.0.1:8081": registry.url.removesuffix("/apis/ccompat/v7")}
    for shown, real in addresses.items():
        assert shown in block
        block = block.replace(shown, real)
    settings, schema = tmp_path / "producer.properties", tmp_path / "tweet.avsc"
    settings.write_text(block)
    schema.write_text(json.dumps(THEIR_TWEET))
    java = JavaClient(kafka_install, tmp_path)
    java.compile(Path(__file__).with_name("TheirProducer.java"))
    partition, offset = java.run("TheirProducer", str(settings), str(schema)).split()
    until(lambda: finds(machine, "t:java"), what="the tweet is found")
    (found,) = [found for found in answer(machine).candidates if found.candidate_id == "t:java"]
    assert (found.text, found.author_id) == ("Uma garça no telhado", "a:9")
    reading = {"value.deserializer": "io.apicurio.registry.serde.avro.AvroKafkaDeserializer"}
    for line in block.splitlines():
        name, _, value = line.partition("=")
        if name.startswith("apicurio."):
            reading[f"value.deserializer.{name}"] = value
    options = [word for name, value in reading.items() for word in ("--formatter-property", f"{name}={value}")]
    place = ["--topic", "tweets", "--partition", partition, "--offset", offset, "--max-messages", "1"]
    printed = java.run("org.apache.kafka.tools.consumer.ConsoleConsumer", "--bootstrap-server", machine.bootstrap, *place, *options)
    assert json.loads(printed)["text"] == "Uma garça no telhado"


def test_a_rollout_command_under_a_registry_s_id_is_answered(machine: Machine, registry: Apicurio) -> None:
    """Who deploys with tools of another language commands rollouts by a record, as everybody else does."""
    with SchemaRegistryClient({"url": registry.url}) as client:
        schema_id = client.get_latest_version("rollout-command").schema_id
    command = RolloutCommand("freeze", HOME, CommandKind.FREEZE, time_ms=now_ms())
    outbox = Outbox(machine.bootstrap)
    outbox.produce(ROLLOUT_COMMANDS, encode(command, schema_id=schema_id), HOME.encode())
    outbox.flush_all(timeout_s=10)

    def frozen() -> bool:
        with RolloutClient(machine.bootstrap) as commands:
            return commands.states()[HOME].frozen

    until(frozen, what="no rollout starts by itself any more")
