"""A registry that does not answer while an embedder loads a bundle: it is asked again before the bundle is blamed."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from schemas.errors import BundleCorrupt, BundlesUnavailable, RoostError
from schemas.records.control import Stage
from schemas.towers import Towers
from streams.embedder import targets as targets_module
from streams.embedder.embed import Target
from streams.embedder.targets import Loaded, Targets
from tests.bundles import published
from tests.unit.streams.embedder.test_ends import HOME, SURFACES, RolloutLog


class Loading:
    """A canary's bundle that an embedder loads as it starts; each of `troubles` is raised once, the last of them for ever.

    Attributes:
        tried: how often it was loaded.
    """

    def __init__(self, towers: Towers) -> None:
        self.bundle = towers.bundle_id
        self.troubles: list[RoostError | None] = [None]
        self.tried = 0
        self._loaded = Loaded(Target(SURFACES[HOME], towers), {0: 0})
        log = RolloutLog()
        log.say(self.bundle, Stage.CANARY)
        self.targets = Targets(log, self._load, SURFACES)

    def _load(self, *_: str) -> Loaded:
        self.tried += 1
        trouble = self.troubles.pop(0) if len(self.troubles) > 1 else self.troubles[0]
        if trouble is not None:
            raise trouble
        return self._loaded

    def look(self, times: int) -> list[dict[str, str]]:
        """Look until the bundle was loaded so often, and return what was told of it on the way."""
        told = []
        deadline_s = time.monotonic() + 10
        while self.tried < times or (self.troubles == [None] and not self.targets.active()):
            assert time.monotonic() < deadline_s
            self.targets.look()
            told.append(dict(self.targets.errors))
        return told


@pytest.fixture
def loading(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Loading]:
    """Yield a bundle; who follows the log looks and tries again whenever it is asked."""
    monkeypatch.setattr(targets_module, "_LOOK_EVERY_S", 0.0)
    monkeypatch.setattr(targets_module, "_RETRY_AFTER_S", 0.0)
    made = Loading(Towers(published(tmp_path)))
    yield made
    made.targets.close()


def test_a_registry_that_is_away_for_a_moment_ends_no_rollout(loading: Loading) -> None:
    """The controller rejects what an embedder tells it cannot use: a canary ended since one embedder restarted in that second."""
    loading.troubles = [
        BundlesUnavailable("the registry does not answer"),
        BundlesUnavailable("the registry does not answer"),
        None,
    ]
    loading.targets.start()
    assert not loading.targets.active()
    assert not any(loading.look(3))
    assert loading.targets.active()


def test_a_registry_that_stays_away_is_told(loading: Loading, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody would know else why the bundle builds for ever."""
    loading.troubles = [BundlesUnavailable("the registry does not answer")]
    loading.targets.start()
    assert loading.targets.errors == {}
    monkeypatch.setattr(targets_module, "_AWAY_S", 0.0)
    loading.look(3)
    assert loading.targets.errors == {loading.bundle: "the registry does not answer"}


def test_a_damaged_bundle_is_told_at_once(loading: Loading) -> None:
    """Asking again changes nothing about it."""
    loading.troubles = [BundleCorrupt("a file is missing")]
    loading.targets.start()
    assert loading.targets.errors == {loading.bundle: "a file is missing"}
