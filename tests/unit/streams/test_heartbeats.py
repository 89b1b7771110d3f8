"""Following heartbeats: by whose clock who is silent is told."""

import time

import pytest

from schemas.codec import encode
from schemas.records.control import SILENCE_MS, NodeStatus
from schemas.topics import NODE_STATUS
from schemas.wire.inbound import InboundRecord
from streams.controller import journal
from tests.fake_tail import FakeTail


def test_a_heartbeat_that_comes_tells_the_brokers_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beside a broker whose clock is behind, a node that was heard of this moment was silent, and one that is gone was not."""
    broker_ms = time.time_ns() // 1_000_000 - SILENCE_MS
    record = InboundRecord(NODE_STATUS, 0, 0, broker_ms, b"node:n1", encode(NodeStatus("node:n1", 0, ready=True)))

    class Tail(FakeTail):
        def read_to_end(self) -> list[InboundRecord]:
            return [record]

    monkeypatch.setattr(journal, "TailReader", lambda *_, **__: Tail([[record]]))
    heartbeats = journal.Heartbeats("b:1")
    heartbeats.catch_up()
    assert heartbeats.now_ms() - broker_ms >= SILENCE_MS, "of what was there before nobody knows how old it is"
    heartbeats.refresh()
    assert 0 <= heartbeats.now_ms() - broker_ms < 1_000
