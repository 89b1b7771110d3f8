"""`roost topics`: what an operator runs on a cluster of his own, and topics-init runs in containers."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from roost import cli
from roost.broker import Broker
from roost.doctor.examine import Patient, examine
from roost.doctor.finding import Verdict
from schemas.registry.folder import FolderRegistry
from schemas.topics import CANDIDATES, TWEETS, USER_STATES, standard_topics
from schemas.wire.admin import Setting, TopicFault, alter_topics, delete_topics, topic_configs, wait_for_broker


def test_topics_are_created_once_checked_and_a_missing_or_different_one_is_named(
    start_broker: Callable[[str], Broker], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """It runs before every role on every start: the second time it must change nothing, and never hide a difference."""
    own = start_broker("kafka")
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", own.bootstrap)
    wanted = sorted(topic.name for topic in standard_topics(2))
    assert cli.run(["topics", "check", "--partitions", "2"]) == 1
    assert "does not exist; run `roost topics create`" in capsys.readouterr().err

    # the commonest mistake on a small cluster: the broker's own reason is shown
    assert cli.run(["topics", "create", "--partitions", "2", "--replication", "3"]) == 1
    assert "replication" in capsys.readouterr().err.lower()

    assert cli.run(["topics", "create", "--partitions", "2", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"created": wanted, "topics": len(wanted)}
    assert cli.run(["topics", "create", "--partitions", "2", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"created": [], "topics": len(wanted)}
    assert cli.run(["topics", "check", "--partitions", "2"]) == 0

    assert cli.run(["topics", "check", "--partitions", "4"]) == 1
    assert "has 2 partitions, not 4" in capsys.readouterr().err
    delete_topics(wait_for_broker(own.bootstrap, timeout_s=10), [TWEETS])
    assert cli.run(["topics", "check", "--partitions", "2"]) == 1
    assert f"topic {TWEETS} does not exist" in capsys.readouterr().err
    patient = Patient(own.bootstrap, None, FolderRegistry(tmp_path), None, None, {}, 2)
    found = {finding.check: finding for finding in examine(patient)}
    assert found[f"topic {TWEETS}"].fix == f"roost topics create --bootstrap {own.bootstrap}"
    assert found["broker"].verdict is Verdict.OK, "it answers, and starting it mends nothing"


def test_settings_of_another_release_are_altered_and_another_count_of_partitions_is_told(
    start_broker: Callable[[str], Broker], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """After an upgrade no role starts before the topics are as it relies on: one command mends that, and says what it cannot."""
    own = start_broker("kafka")
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", own.bootstrap)
    assert cli.run(["topics", "create", "--partitions", "2"]) == 0
    admin = wait_for_broker(own.bootstrap, timeout_s=10)
    wanted = {topic.name: topic.config for topic in standard_topics(2)}
    old = [
        TopicFault(name, "", setting=Setting("segment.bytes", wanted[name]["segment.bytes"], "1048576"))
        for name in (CANDIDATES, USER_STATES)
    ]
    alter_topics(admin, [*old, TopicFault(TWEETS, "", setting=Setting("cleanup.policy", "", "delete"))])
    capsys.readouterr()

    assert cli.run(["topics", "check", "--partitions", "2"]) == 1
    assert "`roost topics alter` sets it" in capsys.readouterr().err
    patient = Patient(own.bootstrap, None, FolderRegistry(tmp_path), None, None, {}, 2)
    fixes = {finding.check: finding.fix for finding in examine(patient)}
    assert fixes[f"topic {CANDIDATES}"] == f"roost topics alter --bootstrap {own.bootstrap}"

    assert cli.run(["topics", "alter", "--partitions", "2", "--dry-run", "--json"]) == 0
    would = json.loads(capsys.readouterr().out)
    assert {(row["topic"], row["name"]) for row in would["settings"]} == {
        (CANDIDATES, "segment.bytes"),
        (USER_STATES, "segment.bytes"),
        (TWEETS, "cleanup.policy"),
    }
    assert topic_configs(admin, [TWEETS])[TWEETS]["cleanup.policy"] == "delete", "nothing was set"
    assert cli.run(["topics", "alter", "--partitions", "2", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {**would, "dry_run": False}
    found = topic_configs(admin, [CANDIDATES, USER_STATES, TWEETS])
    assert all(wanted[name].items() <= found[name].items() for name in found)
    assert cli.run(["topics", "check", "--partitions", "2"]) == 0
    capsys.readouterr()
    assert cli.run(["topics", "alter", "--partitions", "2"]) == 0
    assert capsys.readouterr().out.startswith("0 settings of")

    findings = {finding.check: finding for finding in examine(replace(patient, partitions=4))}
    assert findings[f"topic {TWEETS}"].fix.startswith("set ROOST_PARTITIONS")
    assert findings["broker"].verdict is Verdict.OK, "it was asked for partitions that are not there"
    assert findings["embedders"].verdict is Verdict.OK, "what comes after is looked at"
    assert cli.run(["topics", "alter", "--partitions", "4"]) == 1
    assert "has 2 partitions, not 4" in capsys.readouterr().out
