"""The node's spans: of embeddings put in force, and of requests. Both go on with a trace that came; neither begins one."""

from collections.abc import Mapping, Sequence

from starlette.types import ASGIApp, Receive, Scope, Send

from schemas.wire.inbound import InboundRecord
from schemas.wire.tracing import Context, Tracing, context_of, process_attributes
from serving.filling.embeddings import BadEmbedding
from serving.http.status import NotedStatus

_TRACED_PATHS = "/v1/"


def note_inserted(
    tracing: Tracing, surface: str, bundle: str, records: Sequence[InboundRecord], bad: Sequence[BadEmbedding], *, begin_ns: int
) -> None:
    """Note records that were put in force, all of them by now, since `begin_ns`: from here on queries find their candidates."""
    reasons: Mapping[tuple[int, int], str] = {(each.partition, each.offset): each.reason for each in bad}
    for record in records:
        if not record.headers or (context := context_of(record.headers)) is None:
            continue
        span = tracing.span(
            "insert",
            "consumer",
            parent=context,
            begin_ns=begin_ns,
            attributes={
                **process_attributes(record),
                "messaging.batch.message_count": len(records),
                "roost.surface": surface,
                "roost.bundle": bundle,
            },
        )
        reason = reasons.get((record.partition, record.offset))
        span.end(error=reason, attributes={"roost.retrievable": reason is None})


class TracedRequests:
    """Goes on with the trace of a request that carries one. An ASGI wrapper; added only where spans are asked for."""

    def __init__(self, app: ASGIApp, *, tracing: Tracing) -> None:
        self._app = app
        self._tracing = tracing

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on."""
        context = _context(scope)
        if context is None:
            await self._app(scope, receive, send)
            return
        span = self._tracing.span(
            f"{scope['method']} {scope['path']}",
            "server",
            parent=context,
            attributes={"http.request.method": scope["method"], "url.path": scope["path"]},
        )
        noted = NotedStatus(send)
        try:
            await self._app(scope, receive, noted)
        finally:
            status = noted.status
            span.end(error=f"status {status}" if status >= 500 else None, attributes={"http.response.status_code": status})


def _context(scope: Scope) -> Context | None:
    if scope["type"] != "http" or not scope["path"].startswith(_TRACED_PATHS):
        return None
    return context_of((name.decode("latin-1"), value) for name, value in scope["headers"])
