"""SIGTERM while a role that starts waits for a broker that went away: it ends, and no container waits for its kill."""

import threading
from types import TracebackType
from typing import NoReturn, Self

import pytest
from confluent_kafka import TopicPartition

from schemas.surfaces import load_surfaces
from schemas.wire.inbound import InboundRecord
from streams.embedder.targets import Targets
from streams.outbox import Outbox
from streams.runner import takeover
from streams.runner.batch import BatchRunner, RunnerSettings
from tests.unit.streams.runner.test_batch_spans import Echo


class Away:
    """A log whose broker went away: its end never comes. Whoever asks is told to stop at the second time."""

    def __init__(self, stop: threading.Event) -> None:
        self._stop = stop
        self.asked = 0

    def poll(self, max_messages: int = 1, timeout_s: float = 0.0) -> list[InboundRecord]:
        """See `TailReader`."""
        self.asked += 1
        if self.asked == 2:
            self._stop.set()
        assert self.asked < 5, "it goes on for ever"
        return []

    def at_end(self) -> bool:
        """See `TailReader`."""
        return False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        pass


def _never(*_: str) -> NoReturn:
    raise AssertionError("nothing is loaded")


def test_an_embedder_that_reads_the_rollouts_ends() -> None:
    """It looked at the signal only once it had read them."""
    stop = threading.Event()
    targets = Targets(Away(stop), _never, load_surfaces())
    targets.start(stop.is_set)
    assert targets.active() == []
    targets.close()


def test_a_runner_that_restores_its_state_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """As above, of the changelog; nothing is committed, so that all of it comes again."""
    stop = threading.Event()
    monkeypatch.setattr(takeover, "TailReader", lambda *_, **__: Away(stop))
    settings = RunnerSettings("127.0.0.1:9", "g", ("tweets",), "changelog", role="embedder", instance="0")
    runner = BatchRunner(settings, Echo(), Outbox("127.0.0.1:9"))
    monkeypatch.setattr(runner, "_poll", lambda _: runner._surveyor._restore([0], stop.is_set))
    runner.run(stop)
    assert runner._stores == {}


def test_a_runner_that_closes_is_assigned_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """One stopped as it joined its group was handed partitions still, and ended with the error of a client that answers no more."""
    stop = threading.Event()
    stop.set()
    settings = RunnerSettings("127.0.0.1:9", "g", ("tweets",), "changelog", role="embedder", instance="0")
    runner = BatchRunner(settings, Echo(), Outbox("127.0.0.1:9"))
    runner.run(stop)
    monkeypatch.setattr(takeover, "awaited_ids", _never)
    runner._assigned(runner._consumer, [TopicPartition("tweets", 0)])
    assert runner._stores == {}
