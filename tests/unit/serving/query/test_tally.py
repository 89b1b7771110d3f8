"""Answers counted, and whether anybody asks."""

import time

import pytest

from serving.query.tally import AnswerTally


def test_whether_anybody_asked_lately(monkeypatch: pytest.MonkeyPatch) -> None:
    """A node that nobody asks fills its indexes as fast as it goes; one that is asked makes room after each batch."""
    tally, now_s = AnswerTally(), [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now_s[0])
    assert not tally.asked_within(1.0)
    tally.answered("b" * 16, candidates=3, took_s=0.001)
    now_s[0] += 0.9
    assert tally.asked_within(1.0)
    now_s[0] += 0.2
    assert not tally.asked_within(1.0)
    tally.failed("b" * 16)
    assert tally.asked_within(1.0), "who was refused has asked"
