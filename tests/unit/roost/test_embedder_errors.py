"""What embedders say is wrong, read from their heartbeats without a broker."""

import time

import pytest

from roost import embedder_errors
from roost.embedder_errors import read_embedder_errors
from schemas.records.control import SILENCE_MS, NodeStatus


class _Heartbeats:
    """Those of an embedder that was heard of this moment, by a broker whose clock is behind ours."""

    behind_ms = SILENCE_MS

    def __init__(self, _: str) -> None:
        """Connect to nothing."""

    def catch_up(self) -> None:
        """Read nothing."""

    def all(self) -> list[NodeStatus]:
        """Return them."""
        heard_ms = time.time_ns() // 1_000_000 - self.behind_ms
        return [NodeStatus("embedder:0", heard_ms, True, errors=("0123456789abcdef: no tower",))]

    def close(self) -> None:
        """Close nothing."""


def test_what_embedders_say_is_heard_where_our_clock_is_ahead(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten seconds ahead `roost doctor` took every embedder for silent, and so for well."""
    monkeypatch.setattr(embedder_errors, "Heartbeats", _Heartbeats)
    assert read_embedder_errors("b:1") == ()
    assert read_embedder_errors("b:1", ahead_ms=SILENCE_MS) == ("embedder 0: 0123456789abcdef: no tower",)
