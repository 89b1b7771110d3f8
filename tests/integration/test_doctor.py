"""`roost doctor` on a set-up that is broken in seven ways: each is found, with what mends it, as the operators' guide shows."""

import re
from pathlib import Path
from textwrap import dedent

import pytest
from confluent_kafka.admin import (  # type: ignore[attr-defined]
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewPartitions,
)

from roost import cli
from roost.broker import Broker
from roost.broker.config import free_port
from schemas.bundle import CANDIDATE_TOWER
from schemas.topics import ACCOUNTS, TWEETS, dlq
from schemas.wire.admin import delete_topics, partition_counts, wait_for_broker
from tests.bundles import publish_bundle
from tests.integration.waiting import until

GUIDE = Path(__file__).parents[2] / "docs" / "guides" / "operators.md"
MISSING = dlq("articles")


def shown() -> list[str]:
    """Return the findings of the guide."""
    page = GUIDE.read_text(encoding="utf-8")
    (block,) = re.findall(r"^ {4}wrong {2}.+\n(?: {4}.+\n)+", page, re.MULTILINE)
    return dedent(block).splitlines()


def damaged_bundle(registry: Path) -> str:
    """Publish a bundle, and change a byte of its tower."""
    bundle = publish_bundle(registry, surface="movies", dim=32)
    tower = registry / "movies" / bundle / CANDIDATE_TOWER
    data = bytearray(tower.read_bytes())
    data[100] ^= 1
    tower.write_bytes(data)
    return bundle


def break_topics(admin: AdminClient) -> None:
    """Delete one, give one more partitions, and let one be configured by hand."""
    delete_topics(admin, [MISSING])
    entries = [
        ConfigEntry(name, value, incremental_operation=AlterConfigOpType.SET)
        for name, value in (("cleanup.policy", "delete"), ("message.timestamp.type", "CreateTime"))
    ]
    changes = [ConfigResource(ConfigResource.Type.TOPIC, TWEETS, incremental_configs=entries)]
    for done in admin.incremental_alter_configs(changes).values():
        done.result()
    for done in admin.create_partitions([NewPartitions(ACCOUNTS, 6)]).values():
        done.result()
    until(lambda: MISSING not in (counts := partition_counts(admin)) and counts[ACCOUNTS] == 6, what="the topics are broken")


def test_each_fault_of_a_broken_set_up_is_found_with_what_mends_it(
    fresh_broker: Broker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whoever runs it at night copies the line below the fault: a guide that shows others than it prints would be believed."""
    # it names the folder of bundles as it is given
    monkeypatch.chdir(tmp_path)
    bundle = damaged_bundle(tmp_path / ".roost" / "registry")
    break_topics(wait_for_broker(fresh_broker.bootstrap, timeout_s=10))
    registry, node = (f"127.0.0.1:{free_port()}" for _ in range(2))
    words = ["--bootstrap", fresh_broker.bootstrap, "--schema-registry", f"http://{registry}", "--node", f"http://{node}"]
    assert cli.run(["doctor", *words]) == 1
    said = capsys.readouterr().out
    for real, told in {
        fresh_broker.bootstrap: "127.0.0.1:9092",
        node: "127.0.0.1:8470",
        bundle: "3f9a0c11d2e4b567",
        f"{tmp_path}/": "",
    }.items():
        said = said.replace(real, told)
    # each system has its own number for it
    said = re.sub(r"Errno \d+", "Errno 111", said)
    findings = re.findall(r"^wrong .+\n {7}.+\n", said, re.MULTILINE)
    assert "".join(findings).splitlines() == shown()
    assert said.endswith("7 wrong\n")
