"""A bundle that an embedder cannot load: what is said of it, and whether its rollout ends by that."""

import time
from pathlib import Path

import pytest

from schemas.codec import decode
from schemas.errors import BrokerUnavailable, BundleCorrupt, BundlesUnavailable, RoostError
from schemas.records.control import BundleStage, NodeStatus, Rollout, Stage
from schemas.topics import NODE_STATUS
from schemas.towers import Towers
from streams.controller.complaints import unusable
from streams.embedder import targets as targets_module
from streams.embedder.targets import Loaded
from tests.bundles import published
from tests.unit.streams.embedder.test_ends import HOME, Embedder


def reported(embedder: Embedder) -> NodeStatus:
    """Return what a checkpoint reports."""
    embedder.processor.begin_checkpoint()
    work, _ = embedder.processor.checkpoint(100)
    return next(decode(NodeStatus, output.value or b"") for output in work.outputs if output.topic == NODE_STATUS)


@pytest.mark.parametrize(
    ("error", "ended"),
    [
        (BundlesUnavailable("the registry does not answer"), 0),
        (BrokerUnavailable("the end of its topic is not told"), 0),
        (BundleCorrupt("a tower yields NaN"), 1),
    ],
)
def test_only_what_is_known_against_a_bundle_ends_its_rollout(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: RoostError, ended: int
) -> None:
    """An object store's bad minute took back a bundle that somebody had waited a day for."""
    monkeypatch.setattr(targets_module, "_LOOK_EVERY_S", 0.0)
    monkeypatch.setattr(targets_module, "_RETRY_AFTER_S", 0.0)
    embedder = Embedder(Towers(published(tmp_path)))
    found, away = embedder.targets._loader, True

    def load(surface: str, bundle: str) -> Loaded:
        if away:
            raise error
        return found(surface, bundle)

    embedder.targets._loader = load
    embedder.log.say(embedder.bundle, Stage.BUILDING)
    deadline_s = time.monotonic() + 10
    while not (status := reported(embedder)).errors:
        assert time.monotonic() < deadline_s
        embedder.processor.between()
    assert str(error) in status.errors[0]
    state = Rollout(HOME, 1, bundles=(BundleStage(embedder.bundle, Stage.BUILDING),))
    assert len(unusable([status], state, status.time_ms, silence_ms=1_000)) == ended
    away = False
    while not embedder.targets.active():
        assert time.monotonic() < deadline_s
        embedder.processor.between()
    assert reported(embedder).errors == ()
    embedder.targets.close()
