"""What Kafka's client library says of itself, as far as people are to read it."""

from uuid import uuid4

import pytest

from schemas.wire.client import kafka_log

GETPID = "GETPID [rdkafka#producer-3] Failed to acquire idempotence PID from broker 127.0.0.1:9092/1: Broker: "


def test_a_broker_that_is_still_starting_is_no_warning(caplog: pytest.LogCaptureFixture) -> None:
    """`roost up` would begin with it, though all is well; whatever else the client library warns of is told."""
    kafka_log.warning(GETPID + "Coordinator load in progress: retrying")
    assert not caplog.records
    kafka_log.warning(GETPID + "Cluster authorization failed: fatal error, %s", uuid4())
    assert len(caplog.records) == 1


def test_the_same_text_is_told_once_in_a_while(caplog: pytest.LogCaptureFixture) -> None:
    """A client that cannot connect says so ten times a second, each time after other milliseconds."""
    client = uuid4()
    for took_ms in range(20):
        kafka_log.warning("FAIL: %s: connection refused (after %dms in state CONNECT)", client, took_ms)
    assert len(caplog.records) == 1
