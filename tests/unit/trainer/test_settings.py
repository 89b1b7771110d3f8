"""Settings of the trainer."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from schemas.registry.folder import FolderRegistry
from trainer.settings import TrainerSettings


def test_settings_come_from_the_environment_with_the_names_the_other_roles_use(monkeypatch: pytest.MonkeyPatch) -> None:
    """One deployment, one set of variables."""
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", "broker:9092")
    monkeypatch.setenv("ROOST_REGISTRY", "bundles")
    monkeypatch.setenv("ROOST_TRAIN", "home-timeline, movies")
    settings = TrainerSettings()
    assert (settings.bootstrap, settings.registry) == ("broker:9092", FolderRegistry(Path("bundles")))
    assert settings.train == ("home-timeline", "movies")


def test_settings_are_frozen_and_refuse_unknown_names_and_senseless_values() -> None:
    """A misspelt setting is a mistake, and so is holding out everything."""
    with pytest.raises(ValidationError):
        TrainerSettings.model_validate({"intervall_s": 3})
    with pytest.raises(ValidationError):
        TrainerSettings(evaluation_share=1.0)
    with pytest.raises(ValidationError, match="finite"):
        TrainerSettings(poll_s=float("inf"))
    with pytest.raises(ValidationError):
        TrainerSettings().seed = 4  # type: ignore[misc]
