"""Spans by OpenTelemetry. The one module that imports it."""

from collections.abc import Sequence

from opentelemetry import trace
from opentelemetry.context import Context as OtelContext
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_INSTANCE_ID, SERVICE_NAME, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import Link, SpanKind, Status, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from schemas.wire.tracing.spans import NO_ATTRIBUTES, Attributes, Context, Kind

# what the library keeps of a span by default
MAX_LINKS = 128
_KINDS: dict[Kind, SpanKind] = {
    "producer": SpanKind.PRODUCER,
    "consumer": SpanKind.CONSUMER,
    "server": SpanKind.SERVER,
    "internal": SpanKind.INTERNAL,
}
_W3C = TraceContextTextMapPropagator()


class OpenTelemetryTracing:
    """Makes spans of a provider: of ours, or of a program that has one already."""

    def __init__(self, provider: TracerProvider) -> None:
        self._provider = provider
        self._tracer = provider.get_tracer("roost")

    def span(
        self,
        name: str,
        kind: Kind,
        *,
        parent: Context | None = None,
        links: Sequence[Context] = (),
        begin_ns: int | None = None,
        attributes: Attributes = NO_ATTRIBUTES,
    ) -> "OpenTelemetrySpan":
        """See `Tracing.span`."""
        begun = self._tracer.start_span(
            name,
            context=None if parent is None else _read(parent),
            kind=_KINDS[kind],
            attributes=attributes,
            links=[Link(trace.get_current_span(_read(link)).get_span_context()) for link in links[:MAX_LINKS]],
            start_time=begin_ns,
        )
        return OpenTelemetrySpan(self._tracer, begun)

    def close(self) -> None:
        """See `Tracing.close`."""
        self._provider.shutdown()


class OpenTelemetrySpan:
    """See `spans.Span`."""

    def __init__(self, tracer: trace.Tracer, span: trace.Span) -> None:
        self._tracer = tracer
        self._span = span
        self._here = trace.set_span_in_context(span, OtelContext())

    @property
    def context(self) -> Context:
        """See `Span.context`."""
        if not self._span.is_recording():
            return ()
        carrier: dict[str, str] = {}
        _W3C.inject(carrier, self._here)
        return tuple((name, value.encode()) for name, value in carrier.items())

    def child(self, name: str, begin_ns: int, end_ns: int) -> None:
        """See `Span.child`."""
        self._tracer.start_span(name, context=self._here, start_time=begin_ns).end(end_ns)

    def end(self, *, error: str | None = None, attributes: Attributes = NO_ATTRIBUTES) -> None:
        """See `Span.end`."""
        self._span.set_attributes(attributes)
        if error is not None:
            self._span.set_status(Status(StatusCode.ERROR, error))
        self._span.end()


def exporting(service: str, *, instance: str) -> OpenTelemetryTracing:
    """Return a tracer with a provider of its own, which sends by OTLP over HTTP."""
    resource = Resource.create({SERVICE_INSTANCE_ID: instance} if instance else {})
    # so the library calls a program whose variables name no service
    if str(resource.attributes[SERVICE_NAME]).startswith("unknown_service"):
        resource = resource.merge(Resource({SERVICE_NAME: service}))
    provider = TracerProvider(resource=resource)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return OpenTelemetryTracing(provider)


def _read(context: Context) -> OtelContext:
    return _W3C.extract({name: value.decode("ascii", "replace") for name, value in context}, OtelContext())
