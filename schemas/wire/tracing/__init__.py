"""Traces over records and requests. Only `otel` imports OpenTelemetry, an extra; nothing here imports it before it is asked for."""

from schemas.wire.tracing.spans import Attributes, Context, Span, Tracing, context_of, process_attributes
from schemas.wire.tracing.start import TracingNotInstalled, start_tracing

__all__ = ["Attributes", "Context", "Span", "Tracing", "TracingNotInstalled", "context_of", "process_attributes", "start_tracing"]
