"""`roost topics`: what an operator runs on a cluster of his own, and topics-init runs in containers."""

import json
from collections.abc import Callable

import pytest

from roost import cli
from roost.broker import Broker
from schemas.topics import TWEETS, standard_topics
from schemas.wire.admin import delete_topics, wait_for_broker


def test_topics_are_created_once_checked_and_a_missing_or_different_one_is_named(
    start_broker: Callable[[str], Broker], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
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
