"""The runner with and without a tracer: whose spans are made, what goes on, and that without one no header is looked at."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any

import pytest

from schemas.errors import InvalidInput, InvalidRecord
from schemas.positions import Place
from schemas.wire.inbound import InboundRecord
from schemas.wire.tracing import Tracing
from streams.outbox import Failure, Outbox
from streams.processor import Work
from streams.runner.batch import BatchRunner, RunnerSettings
from streams.state import OutboundRecord, StateStore
from tests.traced import KEPT, TRACE, Traced

Headers = tuple[tuple[str, bytes | None], ...]
CARRIED: Headers = (("traceparent", KEPT),)


class KeptOutbox(Outbox):
    """Keeps what is produced, by key, and sends nothing."""

    def __init__(self) -> None:
        super().__init__("127.0.0.1:9")
        self.headers: dict[bytes, Any] = {}

    def produce(self, topic: str, value: Any = None, key: Any = None, *args: Any, headers: Any = None, **more: Any) -> None:
        """Keep the headers."""
        self.headers[key] = headers

    def produce_all(self, topic: str, records: Iterable[tuple[bytes, bytes | None]], *, partition: int = -1) -> None:
        """Keep that there are none."""
        self.headers.update((key, []) for key, _ in records)


class Echo:
    """A processor that writes one record for each of a batch, and finds those without a value bad."""

    def assign(self, partition: int, store: StateStore, positions: Mapping[str, int], ends: Mapping[str, int]) -> None:
        """See `BatchProcessor`."""

    def revoke(self, partition: int) -> None:
        """See `BatchProcessor`."""

    def not_yet(self) -> Collection[Place]:
        """See `BatchProcessor`."""
        return ()

    def process(self, records: Sequence[InboundRecord]) -> Work:
        """See `BatchProcessor`."""
        dead: tuple[tuple[InboundRecord, InvalidInput], ...] = tuple(
            (record, InvalidRecord("it is empty")) for record in records if record.value is None
        )
        return Work(tuple(OutboundRecord("out", r.key or b"", r.value) for r in records if r.value is not None), dead)

    def between(self) -> tuple[Work, float | None]:
        """See `BatchProcessor`."""
        return Work(), None

    def begin_checkpoint(self) -> int:
        """See `BatchProcessor`."""
        return 0

    def checkpoint(self, limit: int) -> tuple[Work, bool]:
        """See `BatchProcessor`."""
        return Work(), False

    def durable(self) -> None:
        """See `BatchProcessor`."""

    def forgiven(self, failures: Sequence[Failure]) -> Sequence[Failure]:
        """See `BatchProcessor`."""
        return ()


class Untouchable(InboundRecord):
    """A record whose headers nobody may look at."""

    def __getattribute__(self, name: str) -> Any:
        """Give everything but those."""
        if name == "headers":
            raise AssertionError("somebody looked at the headers")
        return super().__getattribute__(name)


def record(
    key: bytes, headers: Headers = (), *, value: bytes | None = b"v", kind: type[InboundRecord] = InboundRecord
) -> InboundRecord:
    """Return a tweet's record."""
    return kind("tweets", 2, 7, 1_000, key, value, headers)


@pytest.fixture
def run() -> Callable[[Tracing | None, Sequence[InboundRecord]], dict[bytes, Any]]:
    """Return what processes a batch, and gives the headers of what was produced by key."""

    def processed(tracing: Tracing | None, records: Sequence[InboundRecord]) -> dict[bytes, Any]:
        outbox = KeptOutbox()
        settings = RunnerSettings("127.0.0.1:9", "g", ("tweets",), "changelog", role="embedder", instance="0")
        runner = BatchRunner(settings, Echo(), outbox, tracing=tracing)
        try:
            runner._process(records)
        finally:
            runner._consumer.close()
        return outbox.headers

    return processed


Run = Callable[[Tracing | None, Sequence[InboundRecord]], dict[bytes, Any]]


def test_without_a_tracer_no_header_is_looked_at(run: Run) -> None:
    """Tens of thousands of records a second must not pay for what nobody asked for."""
    assert run(None, [record(b"t:1", kind=Untouchable)]) == {b"t:1": []}
    with pytest.raises(AssertionError, match="somebody looked"):
        run(Traced().tracing, [record(b"t:1", kind=Untouchable)])


def test_only_what_comes_of_a_traced_record_carries_its_trace(run: Run) -> None:
    """A trace that spreads over a batch's other records tells of strangers."""
    traced = Traced()
    headers = run(traced.tracing, [record(b"t:1"), record(b"t:2", CARRIED), record(b"t:3")])
    span = traced.one("process tweets")
    assert headers[b"t:1"] == headers[b"t:3"] == []
    assert dict(headers[b"t:2"])["traceparent"] == f"00-{TRACE}-{span.context.span_id:016x}-01".encode()
    assert span.attributes is not None
    assert (span.attributes["messaging.destination.partition.id"], span.attributes["messaging.kafka.offset"]) == ("2", 7)
    batch = traced.one("embedder batch")
    assert batch.attributes is not None
    assert batch.attributes["messaging.batch.message_count"] == 3
    assert [link.context.span_id for link in span.links] == [batch.context.span_id]


def test_a_batch_without_a_trace_makes_no_span(run: Run) -> None:
    """The producer decides what is traced."""
    traced = Traced()
    run(traced.tracing, [record(b"t:1"), record(b"t:2")])
    assert traced.kept.get_finished_spans() == ()


def test_a_dead_letter_ends_its_trace_with_the_reason(run: Run) -> None:
    """Where it went is the answer to why it was never found."""
    traced = Traced()
    run(traced.tracing, [record(b"t:1", CARRIED, value=None)])
    assert traced.one("process tweets").status.description == "it is empty"
