"""Trace context on records and requests, and what a process asks of a tracer. Knows no tracing library: see `otel`.

A context is the W3C headers `traceparent` and `tracestate`, as they stand on a record. Whoever traces nothing holds None in place
of a `Tracing`, and looks at no header.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal, Protocol

from schemas.wire.inbound import InboundRecord

TRACEPARENT = "traceparent"
TRACESTATE = "tracestate"
# version, trace id, parent id, and flags whose last bit says that the trace is kept; a later version may say more behind
_KEPT = re.compile(rb"(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f][13579bdf]")

Context = tuple[tuple[str, bytes], ...]
Kind = Literal["producer", "consumer", "server", "internal"]
Attributes = Mapping[str, str | int | float | bool]
NO_ATTRIBUTES: Attributes = {}


class Span(Protocol):
    """A piece of work under way."""

    @property
    def context(self) -> Context:
        """What to send along with what comes of the work; empty when the trace is not kept."""
        ...

    def child(self, name: str, begin_ns: int, end_ns: int) -> None:
        """Add a part of the work that is over; Unix nanoseconds."""
        ...

    def end(self, *, error: str | None = None, attributes: Attributes = NO_ATTRIBUTES) -> None:
        """End it now, as failed where there is an error."""
        ...


class Tracing(Protocol):
    """Makes spans. May be used by several threads."""

    def span(
        self,
        name: str,
        kind: Kind,
        *,
        parent: Context | None = None,
        links: Sequence[Context] = (),
        begin_ns: int | None = None,
        attributes: Attributes = NO_ATTRIBUTES,
    ) -> Span:
        """Begin a span, now or at `begin_ns`.

        Args:
            parent: the context it goes on with; None goes on with the program's own current span, or begins a trace.
            links: other traces it has to do with.
        """
        ...

    def close(self) -> None:
        """Send what is left."""
        ...


def context_of(headers: Iterable[tuple[str, bytes | None]]) -> Context | None:
    """Return the context that headers carry; None without a sound one, and for a trace that its sender does not keep."""
    found = {name: value for name, value in headers if value is not None and name in (TRACEPARENT, TRACESTATE)}
    parent = found.get(TRACEPARENT)
    return tuple(found.items()) if parent is not None and _KEPT.match(parent) else None


def process_attributes(record: InboundRecord) -> Attributes:
    """Return what a span of the work on a consumed record says of it, by OpenTelemetry's conventions for messaging."""
    return {
        "messaging.system": "kafka",
        "messaging.operation.type": "process",
        "messaging.destination.name": record.topic,
        "messaging.destination.partition.id": str(record.partition),
        "messaging.kafka.offset": record.offset,
    }
