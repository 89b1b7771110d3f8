"""A launcher's claim without a broker; with one: tests/integration/test_claims.py."""

import threading
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException

from roost.machine import claim as claim_module
from roost.machine.claim import HeldClaim, claim_of_this_process


class TopicAway:
    """A producer whose topic is being created anew when the first heartbeat comes, and is gone at the end."""

    def __init__(self) -> None:
        self.heartbeats = 0
        self.beats_again = threading.Event()

    def produce(self, _topic: str, value: bytes | None, _key: bytes, *, on_delivery: Any = None) -> None:
        """Take the claim, and the second heartbeat."""
        if value is None:
            raise KafkaException(KafkaError(KafkaError._UNKNOWN_TOPIC))
        if on_delivery is not claim_module._nobody_asks:
            on_delivery(None, None)
            return
        self.heartbeats += 1
        if self.heartbeats == 1:
            raise KafkaException(KafkaError(KafkaError._UNKNOWN_TOPIC))
        self.beats_again.set()

    def poll(self, _: float) -> None:
        """Report nothing."""

    def flush(self, _: float) -> None:
        """Wait for nothing."""


def test_a_launcher_is_heard_again_once_the_topic_of_heartbeats_is_there_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its heart stood still, in silence: a second `roost up` took its names, and both pushed each other out."""
    producer = TopicAway()
    monkeypatch.setattr(claim_module, "make_producer", lambda *_, **__: producer)
    monkeypatch.setattr(claim_module, "HEARTBEAT_S", 0.0)
    with HeldClaim("127.0.0.1:1", claim_of_this_process(frozenset({"embedder"}))):
        assert producer.beats_again.wait(30)
