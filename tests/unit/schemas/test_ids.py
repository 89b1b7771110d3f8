"""Ids that no record test covers: whom the history names."""

import os

import pytest

from schemas.ids import actor_of_process


def test_a_command_can_be_given_by_a_process_whose_user_has_no_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """Platforms run containers as any number: the console did not start, and a trainer ended at its first rollout."""
    for variable in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr(os, "getuid", lambda: 3_999_999_999)
    assert actor_of_process() == "uid 3999999999"
    monkeypatch.setenv("LOGNAME", "ann")
    assert actor_of_process() == "ann"
