"""The controller's word on `node-status`: that it lives, and what its canaries show. Decides nothing."""

from collections.abc import Callable

from schemas.codec import encode
from schemas.records.control import CONTROLLER, CanaryReport, NodeStatus
from schemas.topics import NODE_STATUS
from streams.state import OutboundRecord

EVERY_MS = 2_000


class ControllerHeartbeat:
    """Due every other second. One thread."""

    def __init__(self, instance: str, canaries: Callable[[], tuple[CanaryReport, ...]]) -> None:
        self._instance = CONTROLLER + instance
        self._canaries = canaries
        self._due_ms = 0

    def due(self, now_ms: int) -> tuple[OutboundRecord, ...]:
        """Return the record when its time has come, else nothing."""
        # a clock that was set back must not silence it for as long
        if self._due_ms - EVERY_MS <= now_ms < self._due_ms:
            return ()
        self._due_ms = now_ms + EVERY_MS
        status = NodeStatus(self._instance, now_ms, ready=True, canaries=self._canaries())
        return (OutboundRecord(NODE_STATUS, self._instance.encode(), encode(status)),)
