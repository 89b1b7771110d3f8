"""Trace context on records, and spans by OpenTelemetry: what goes on, what does not, and what a span says."""

import sys

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from opentelemetry.trace import StatusCode

from schemas.wire.tracing import TracingNotInstalled, context_of, start_tracing
from schemas.wire.tracing.otel import OpenTelemetryTracing
from tests.traced import KEPT, SPAN, TRACE, Traced


@pytest.fixture
def traced() -> Traced:
    """Return a tracer."""
    return Traced()


@pytest.mark.parametrize(
    "header",
    [
        None,
        b"",
        b"nonsense",
        KEPT[:-1],
        KEPT[:-1] + b"0",
        KEPT.replace(TRACE.encode(), b"0" * 32),
        KEPT.replace(SPAN.encode(), b"0" * 16),
        b"ff" + KEPT[2:],
        KEPT.upper(),
    ],
)
def test_a_context_that_is_unsound_or_not_kept_is_none(header: bytes | None) -> None:
    """Spans of a trace that nobody keeps cost time for nothing, and those of no trace are found by nobody."""
    assert context_of((("traceparent", header), ("other", b"x"))) is None
    assert context_of(()) is None


def test_a_context_is_what_w3c_says_and_nothing_else() -> None:
    """A producer's own headers are not ours to hand on."""
    headers = (("x-app", b"1"), ("traceparent", KEPT), ("tracestate", b"vendor=1"))
    assert context_of(headers) == (("traceparent", KEPT), ("tracestate", b"vendor=1"))
    assert context_of((("traceparent", KEPT + b"-more"),)) is not None, "a later version may say more"


def test_a_span_goes_on_with_the_context_that_came_and_hands_its_own_on(traced: Traced) -> None:
    """A trace that is begun anew at each process is no trace."""
    span = traced.tracing.span("work", "consumer", parent=(("traceparent", KEPT), ("tracestate", b"vendor=1")))
    handed_on = dict(span.context)
    span.child("part", 5, 7)
    span.end(attributes={"n": 3})
    work, part = traced.one("work"), traced.one("part")
    assert work.parent is not None
    assert part.parent is not None
    assert (f"{work.context.trace_id:032x}", f"{work.parent.span_id:016x}") == (TRACE, SPAN)
    assert handed_on["traceparent"] == f"00-{TRACE}-{work.context.span_id:016x}-01".encode()
    assert handed_on["tracestate"] == b"vendor=1"
    assert (part.parent.span_id, part.start_time, part.end_time) == (work.context.span_id, 5, 7)
    assert dict(work.attributes or {}) == {"n": 3}
    assert work.status.status_code is StatusCode.UNSET


def test_a_failed_span_says_why(traced: Traced) -> None:
    """A red span without a reason sends people to the logs."""
    traced.tracing.span("work", "internal").end(error="the key is no candidate id")
    status = traced.one("work").status
    assert (status.status_code, status.description) == (StatusCode.ERROR, "the key is no candidate id")


def test_a_span_without_a_parent_goes_on_with_the_programs_own(traced: Traced) -> None:
    """A request that sends a tweet wants to see the tweet in its own trace; a batch belongs to none."""
    tracer = traced.provider.get_tracer("app")
    with tracer.start_as_current_span("request") as request:
        traced.tracing.span("send", "producer").end()
        traced.tracing.span("batch", "consumer", parent=(), links=[(("traceparent", KEPT),)]).end()
    assert traced.one("send").context.trace_id == request.get_span_context().trace_id
    batch = traced.one("batch")
    assert batch.parent is None
    assert [f"{link.context.span_id:016x}" for link in batch.links] == [SPAN]


def test_what_is_not_kept_sends_no_context() -> None:
    """Fifty bytes on each record that say "look away" are bytes for nothing."""
    tracing = OpenTelemetryTracing(TracerProvider(sampler=ALWAYS_OFF))
    span = tracing.span("send", "producer")
    assert span.context == ()
    span.child("part", 1, 2)
    span.end(error="x")
    assert trace.get_current_span() is trace.INVALID_SPAN, "nothing of it stays behind in the program"


def test_a_missing_extra_is_said_in_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    """The variable is set in one place and packages are installed in another."""
    monkeypatch.delitem(sys.modules, "schemas.wire.tracing.otel", raising=False)
    monkeypatch.setitem(sys.modules, "opentelemetry", None)
    with pytest.raises(TracingNotInstalled, match=r"install roost\[tracing\], or unset ROOST_TRACING"):
        start_tracing("x")
