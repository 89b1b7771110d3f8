"""`roost schemas` and the doctor's look at a registry, against a real one."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka.schema_registry import Schema, SchemaRegistryClient

from roost import cli
from roost.broker.config import free_port
from roost.doctor.finding import Verdict
from roost.doctor.schemas import check_schema_registry
from roost.subjects.registered import names_at_registry
from schemas.codec import encode, schema_json, subjects, versions
from schemas.records.control import NodeStatus
from schemas.wire.registry import RegistrySchemas
from tests.apicurio import Apicurio

STRANGE = Schema(json.dumps({"type": "record", "name": "Tweet", "fields": [{"name": "body", "type": "string"}]}), "AVRO")


@pytest.fixture
def client(registry: Apicurio) -> Iterator[SchemaRegistryClient]:
    """Yield a client of the registry, which holds none of our names before and after."""

    def forget_ours() -> None:
        for name in names_at_registry().keys() & set(opened.get_subjects()):
            opened.delete_subject(name)
            opened.delete_subject(name, permanent=True)

    with SchemaRegistryClient({"url": registry.url}) as opened:
        forget_ours()
        yield opened
        forget_ours()


def roost(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, dict[str, Any]]:
    """Run `roost schemas …` and return its exit code and the JSON object it prints."""
    capsys.readouterr()
    code = cli.run(["schemas", *words, "--json"])
    return code, json.loads(capsys.readouterr().out)


def test_what_is_registered_twice_is_registered_once(
    registry: Apicurio, client: SchemaRegistryClient, capsys: pytest.CaptureFixture[str]
) -> None:
    """It runs at every deployment: a second version of the same schema would be a new id that nobody expects."""
    code, checked = roost(capsys, "check", "--registry", registry.url)
    assert code == 1
    assert "tweets-value: version 1 is not registered" in checked["faults"]
    code, first = roost(capsys, "register", "--registry", registry.url)
    assert (code, first["new"]) == (0, len(first["registered"]))
    of_status = [one["version"] for one in first["registered"] if one["subject"] == "node-status"]
    assert of_status == list(versions("node-status"))
    assert client.get_versions("node-status") == of_status
    assert str(client.get_compatibility("tweets-value")) == "FULL_TRANSITIVE"
    code, second = roost(capsys, "register", "--registry", registry.url)
    assert (code, second["new"]) == (0, 0)
    assert [one["schema_id"] for one in second["registered"]] == [one["schema_id"] for one in first["registered"]]
    code, checked = roost(capsys, "check", "--registry", registry.url)
    assert (code, checked["faults"]) == (0, [])
    assert [finding.verdict for finding in check_schema_registry(registry.url)] == [Verdict.OK]
    # what was registered is what is read
    schema_id = next(one["schema_id"] for one in first["registered"] if one["subject"] == "node-status")
    with RegistrySchemas(registry.url, timeout_s=5.0) as schemas:
        assert json.loads(schemas(schema_id))["name"] == schema_json("node-status", 1)["name"]
    assert encode(NodeStatus("node:1", 5, ready=True), schema_id=schema_id)


def test_a_registry_that_lets_readers_break_is_told(
    registry: Apicurio, client: SchemaRegistryClient, capsys: pytest.CaptureFixture[str]
) -> None:
    """A producer's own schema under our topic, taken because nobody forbade it, becomes dead letters one by one."""
    assert roost(capsys, "register", "--registry", registry.url)[0] == 0
    client.set_compatibility("tweets-value", level="NONE")
    client.register_schema("tweets-value", STRANGE)
    code, checked = roost(capsys, "check", "--registry", registry.url)
    assert code == 1
    level, *others = checked["faults"]
    assert level.startswith("tweets-value: its level is NONE")
    assert any("version 1 cannot read what the registry's number 2 wrote" in fault for fault in others)
    # what the doctor prints mends it: registering alone would leave the strange one there
    of_level, *of_strange = check_schema_registry(registry.url)
    assert {finding.verdict for finding in (of_level, *of_strange)} == {Verdict.WRONG}
    assert of_level.fix == "roost schemas register"
    assert {finding.fix for finding in of_strange} == {
        "delete that number of tweets-value at the registry, and have its producer use ours"
    }
    client.delete_version("tweets-value", 2)
    assert roost(capsys, "register", "--registry", registry.url)[0] == 0
    assert [finding.verdict for finding in check_schema_registry(registry.url)] == [Verdict.OK]


def test_a_name_that_holds_something_else_is_refused(
    registry: Apicurio, client: SchemaRegistryClient, capsys: pytest.CaptureFixture[str]
) -> None:
    """Registered over it, every record of either would be unreadable to the other's readers."""
    client.register_schema("tweets-value", STRANGE)
    assert cli.run(["schemas", "register", "--registry", registry.url]) == 3
    assert "tweets-value: version 1 does not fit what is there" in capsys.readouterr().err
    assert client.get_versions("tweets-value") == [1]


def test_a_registry_that_is_away_is_one_sentence(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """Nobody reads the trace of an HTTP library."""
    nowhere = f"http://127.0.0.1:{free_port()}"
    assert cli.run(["schemas", "register", "--registry", nowhere]) == 1
    said = capsys.readouterr().err
    assert "the schema registry does not answer" in said
    assert "Traceback" not in said
    (finding,) = check_schema_registry(nowhere)
    assert finding.verdict is Verdict.WRONG
    # without one, what there is to check is in the package
    released = sum(len(versions(subject)) for subject in subjects())
    assert roost(capsys, "check") == (0, {"ok": True, "subjects": len(subjects()), "versions": released, "faults": []})
