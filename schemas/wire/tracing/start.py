"""A tracer that exports, where its extra is installed. Makes no span."""

from schemas.errors import RoostError
from schemas.wire.tracing.spans import Tracing


class TracingNotInstalled(RoostError):
    """Spans are asked for, and OpenTelemetry is not there."""


def start_tracing(service: str, *, instance: str = "") -> Tracing:
    """Return a tracer that sends spans by OTLP, as OpenTelemetry's own variables say: OTEL_EXPORTER_OTLP_ENDPOINT and the others.

    Args:
        service: the service's name where OTEL_SERVICE_NAME gives none.
        instance: tells processes of one service apart.

    Raises:
        TracingNotInstalled: the extra `tracing` is missing.
    """
    try:
        from schemas.wire.tracing.otel import exporting  # noqa: PLC0415 - an extra: whoever traces nothing need not have it
    except ModuleNotFoundError as error:
        raise TracingNotInstalled(f"spans need OpenTelemetry ({error}); install roost[tracing], or unset ROOST_TRACING") from error
    return exporting(service, instance=instance)
