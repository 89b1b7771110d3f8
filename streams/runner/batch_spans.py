"""The spans of one batch: one a traced record, with its stages, and one of the whole batch, linked to them. Times nothing itself.

Records of a batch are decoded, embedded and produced together: each one's stages are the batch's.
"""

import time
from collections.abc import Mapping, Sequence

from schemas.wire.inbound import InboundRecord
from schemas.wire.tracing import Context, Span, Tracing, context_of, process_attributes
from streams.processor import Work


class BatchSpans:
    """Of a batch under way."""

    def __init__(self, tracing: Tracing, role: str, size: int, traced: Sequence[tuple[InboundRecord, Context]]) -> None:
        self._begin_ns = self._processed_ns = time.time_ns()
        self._decoded_ns: int | None = None
        self._errors: dict[tuple[str, int, int], str] = {}
        self._batch = tracing.span(
            f"{role} batch",
            "consumer",
            # no trace goes on with it: a batch belongs to many
            parent=(),
            links=[context for _, context in traced],
            begin_ns=self._begin_ns,
            attributes={"messaging.system": "kafka", "messaging.batch.message_count": size},
        )
        links = [self._batch.context] if self._batch.context else []
        self._spans = [(record, _begun(tracing, record, context, links, self._begin_ns)) for record, context in traced]

    def processed(self, work: Work) -> Mapping[bytes, list[tuple[str, bytes]]]:
        """Note that the processor is through; returns the headers for what comes of each traced record, by key."""
        self._processed_ns = time.time_ns()
        self._decoded_ns = work.decoded_ns
        self._errors = {(record.topic, record.partition, record.offset): str(error) for record, error in work.dead}
        return {record.key: list(span.context) for record, span in self._spans if record.key is not None}

    def produced(self) -> None:
        """End the spans: all that came of the batch is with the producer."""
        produced_ns = time.time_ns()
        decoded_ns = self._decoded_ns or self._processed_ns
        for span in (*(span for _, span in self._spans), self._batch):
            span.child("decode", self._begin_ns, decoded_ns)
            span.child("embed", decoded_ns, self._processed_ns)
            span.child("produce", self._processed_ns, produced_ns)
        for record, span in self._spans:
            span.end(error=self._errors.get((record.topic, record.partition, record.offset)))
        self._batch.end()


def batch_spans(tracing: Tracing, role: str, records: Sequence[InboundRecord]) -> BatchSpans | None:
    """Begin the spans of a batch; None when no record of it is traced."""
    traced = [(r, context) for r in records if r.headers and (context := context_of(r.headers)) is not None]
    return BatchSpans(tracing, role, len(records), traced) if traced else None


def _begun(tracing: Tracing, record: InboundRecord, context: Context, links: Sequence[Context], begin_ns: int) -> Span:
    return tracing.span(
        f"process {record.topic}",
        "consumer",
        parent=context,
        links=links,
        begin_ns=begin_ns,
        attributes=process_attributes(record),
    )
