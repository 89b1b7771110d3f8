"""Settings of the write path: where values come from, and what is refused."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from schemas.errors import RoostError
from schemas.registry.folder import FolderRegistry
from schemas.registry.remote import RemoteRegistry
from streams.settings import EmbedderSettings, StreamsSettings


def test_settings_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Containers are configured by environment: the broker under its customary name, the rest under one prefix."""
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", "broker:1")
    monkeypatch.setenv("ROOST_REGISTRY", "models")
    settings = EmbedderSettings()
    assert (settings.bootstrap, settings.registry) == ("broker:1", FolderRegistry(Path("models")))


def test_a_registry_may_be_a_url_with_a_cache_beside_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Roles on many hosts share an object store and no folder."""
    monkeypatch.setenv("ROOST_REGISTRY", "memory://bucket/bundles")
    monkeypatch.setenv("ROOST_REGISTRY_CACHE", str(tmp_path))
    settings = EmbedderSettings()
    assert isinstance(settings.registry, RemoteRegistry)
    assert (settings.registry.url, settings.registry.folder.parent) == ("memory://bucket/bundles", tmp_path)
    assert settings.model_dump(mode="json")["registry"] == "memory://bucket/bundles"


def test_a_registry_whose_package_is_missing_ends_the_start_in_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    """A role that started without its bundles would be found out by its users."""
    monkeypatch.setenv("ROOST_REGISTRY", "s3://bucket/bundles")
    with pytest.raises(RoostError, match="Install s3fs"):
        EmbedderSettings()


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


def test_no_wait_is_endless(monkeypatch: pytest.MonkeyPatch) -> None:
    """No thread can wait for so long."""
    monkeypatch.setenv("ROOST_CHECKPOINT_INTERVAL_S", "inf")
    with pytest.raises(ValidationError, match="finite"):
        EmbedderSettings()
