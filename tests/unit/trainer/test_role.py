"""The trainer's process, with schedules that only say that they were asked."""

import threading
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from schemas.bundle import read_bundle
from schemas.errors import BundlesUnavailable
from schemas.registry.folder import FolderRegistry
from tests.bundles import publish_bundle
from trainer import role
from trainer.gates import GateLimits
from trainer.monitoring import TrainerMetrics
from trainer.options.settings import EnsembleOptions, FinetuneOptions, Options, PretrainOptions
from trainer.role import run_schedule
from trainer.settings import TrainerSettings

SURFACE = "home-timeline"


class AwayAtFirst(FolderRegistry):
    """A registry that does not answer the first question."""

    asked = 0

    def names(self, path: str) -> list[str]:
        """See `BundleRegistry.names`."""
        AwayAtFirst.asked += 1
        if AwayAtFirst.asked == 1:
            raise BundlesUnavailable("the registry does not answer")
        return super().names(path)


def test_a_registry_that_is_away_when_the_trainer_starts_ends_it_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It waited for a broker, and ended of a registry; how old the newest bundle is it says once it can."""
    bundle = publish_bundle(tmp_path)
    stop = threading.Event()
    steps: list[str] = []

    def step(surface: str, *_: Any) -> None:
        steps.append(surface)
        if len(steps) == 2:
            stop.set()

    monkeypatch.setattr(role, "wait_for_broker", lambda *_, **__: None)
    monkeypatch.setattr(role, "export_graphs", lambda *_: None)
    monkeypatch.setattr(role, "step", step)
    settings = TrainerSettings(registry=AwayAtFirst(tmp_path), train=(SURFACE,), poll_s=0.001)
    options = Options(PretrainOptions(), FinetuneOptions(), EnsembleOptions(), GateLimits())
    metrics = TrainerMetrics(measured := CollectorRegistry())
    run_schedule(settings, options, on_bundle=lambda *_: None, stop=stop, metrics=metrics)
    assert steps == [SURFACE, SURFACE]
    created_s = read_bundle(tmp_path, SURFACE, bundle).manifest.created_ms / 1000
    assert measured.get_sample_value("roost_bundle_created_timestamp_seconds", {"surface": SURFACE}) == created_s
