"""Settings of the write path: where values come from, and what is refused."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from streams.settings import EmbedderSettings, StreamsSettings


def test_settings_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Containers are configured by environment: the broker under its customary name, the rest under one prefix."""
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", "broker:1")
    monkeypatch.setenv("ROOST_REGISTRY", "models")
    settings = EmbedderSettings()
    assert (settings.bootstrap, settings.registry) == ("broker:1", Path("models"))


def test_settings_given_by_name_win_over_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """The launcher starts roles with its own broker whatever the shell says."""
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", "broker:1")
    assert StreamsSettings(bootstrap="other:2").bootstrap == "other:2"


def test_an_unknown_setting_is_refused() -> None:
    """A misspelt setting that is silently dropped runs production on a default."""
    with pytest.raises(ValidationError, match="chekpoint"):
        StreamsSettings.model_validate({"chekpoint_interval_s": 1})


def test_settings_do_not_change() -> None:
    """What was read at the start is what runs."""
    with pytest.raises(ValidationError, match="frozen"):
        StreamsSettings().instance = "1"  # type: ignore[misc]
