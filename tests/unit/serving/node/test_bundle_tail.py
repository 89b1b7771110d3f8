"""What a node does with a bundle before it follows its topic; with a broker: tests/integration/test_node.py."""

import gc
import shutil
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import fsspec
import pytest

from schemas.registry.remote import RemoteRegistry
from schemas.towers import Towers
from serving.filling.embeddings import decode_batch
from serving.filling.masks import Masks
from serving.filling.reach import SourceReach
from serving.index import ExactIndex
from serving.metrics import NodeMetrics
from serving.node.bundle_tail import BundleTail, NodeParts, _Loaded
from serving.node.contact import BrokerContact
from serving.node.follower import FollowerCallbacks
from serving.query.retrieve import wall_clock_ms
from serving.snapshots.store import SnapshotStore, manifest_of
from tests.bundles import publish_bundle
from tests.filled_epochs import DIM, HOME, FilledEpoch, live, tweeted
from tests.integration.waiting import until
from tests.living import living
from tests.snapshot_samples import UnsyncedFiles

# tails that begin to follow, and end while they look for the broker
pytestmark = pytest.mark.usefixtures("impatient")


def test_a_bundle_of_a_metric_that_the_index_does_not_rank_by_is_refused_and_said(tmp_path: Path) -> None:
    """By cosine its answers would look well and be wrong."""
    bundle = publish_bundle(tmp_path, surface=HOME.name, metric="euclidean")
    parts = NodeParts("127.0.0.1:1", tmp_path, Masks(), NodeMetrics(), ExactIndex, BrokerContact())
    tail = BundleTail(HOME, bundle, parts, changed=lambda: None)
    tail.start()
    until(lambda: tail.refusal is not None, what="the bundle is refused")
    tail.stop()
    assert tail.epoch is None
    assert "compares vectors by euclidean, and an index ranks by cosine" in tail.alarms[0]
    assert tail.complaint == tail.alarms[0]


def test_a_bundle_has_caught_up_once_it_reflects_the_input_that_another_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All that the broker had sent may lack the newest tweet: the embedder gathers what it owes to bundles that answer nobody."""
    parts = NodeParts("127.0.0.1:1", tmp_path, Masks(), NodeMetrics(), ExactIndex, BrokerContact())
    tail = BundleTail(HOME, "a" * 16, parts, changed=lambda: None)
    reached = iter([{}, {"tweets": {0: 6}}, {"tweets": {0: 7}}])
    monkeypatch.setattr(BundleTail, "as_of", lambda _: next(reached))
    assert tail.catch_up({"tweets": {0: 7}, "engagements": {0: 99}}, 5.0)
    assert next(reached, None) is None
    monkeypatch.setattr(BundleTail, "as_of", lambda _: {})
    assert not tail.catch_up({"tweets": {0: 7}}, 0.05), "not reached in time"
    assert tail.catch_up({}, 0.05)


def test_a_bundle_that_is_no_longer_followed_gives_its_towers_back_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A node looks for reference cycles once in many minutes: until then every retired bundle's towers stayed in memory."""
    bundle = publish_bundle(tmp_path, surface=HOME.name)
    parts = NodeParts("127.0.0.1:1", tmp_path, Masks(), NodeMetrics(), ExactIndex, BrokerContact())
    tail = BundleTail(HOME, bundle, parts, changed=lambda: None)
    gc.collect()
    gc.disable()
    try:
        towers = living(Towers, monkeypatch)
        tail.start()
        until(lambda: tail.filled is not None, what="the bundle is loaded")
        assert len(towers) == 1
        tail.stop()
        assert len(towers) == 0
    finally:
        gc.enable()


def test_a_bundle_that_leaves_while_the_node_sweeps_costs_no_heartbeat(tmp_path: Path) -> None:
    """The heart sweeps before it beats: an index that another thread was closing took the beat along, with a traceback."""
    bundle = publish_bundle(tmp_path, surface=HOME.name)
    contact = BrokerContact()
    contact.seen(1_000_000)
    parts = NodeParts("127.0.0.1:1", tmp_path, Masks(), NodeMetrics(), ExactIndex, contact)
    tail = BundleTail(replace(HOME, recency_window_s=60.0), bundle, parts, changed=lambda: None)
    tail.start()
    until(lambda: tail.filled is not None, what="the bundle is loaded")
    assert tail.filled is not None
    # as `stop` does, a moment before it forgets the index
    tail.filled.close()
    tail.sweep()
    tail.stop()


class Stopping(BundleTail):
    """A tail that another thread stops as soon as somebody has looked at what it holds."""

    looks = 0

    @property
    def _loaded(self) -> _Loaded | None:
        self.looks += 1
        return self._held if self.looks == 1 else None

    @_loaded.setter
    def _loaded(self, loaded: _Loaded | None) -> None:
        self._held = loaded


def test_a_bundle_that_is_stopped_while_it_is_looked_at_is_no_error(tmp_path: Path) -> None:
    """A heartbeat, or an answer on /readyz, that met it in that moment ended with `AttributeError`."""
    found = FilledEpoch(tmp_path, seed=1)
    parts = NodeParts("127.0.0.1:1", tmp_path, Masks(), NodeMetrics(), ExactIndex, BrokerContact())
    tail = Stopping(HOME, found.bundle, parts, changed=lambda: None)
    tail._follower.caught_up = True
    tail._loaded = _Loaded(found.filled, found.epoch, SourceReach())
    assert tail.filled is found.filled
    tail.looks = 0
    assert tail.epoch is found.epoch


def test_the_metrics_of_a_bundle_end_when_it_left_for_good(tmp_path: Path) -> None:
    """It may be started again while its former index takes its time to end, which then ended the counts of the new one, too."""
    bundle = publish_bundle(tmp_path, surface=HOME.name)
    metrics = NodeMetrics()
    tail = BundleTail(
        HOME, bundle, NodeParts("127.0.0.1:1", tmp_path, Masks(), metrics, ExactIndex, BrokerContact()), changed=lambda: None
    )
    tail.start()
    metrics.bad_embeddings.labels(HOME.name, bundle).inc()
    counted = {"surface": HOME.name, "bundle": bundle}
    tail.stop()
    assert metrics.registry.get_sample_value("roost_embeddings_bad_total", counted) == 1
    tail.forget()
    assert metrics.registry.get_sample_value("roost_embeddings_bad_total", counted) is None


def test_a_clock_that_is_ahead_removes_nothing_from_an_index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that boots without its time lost every row, its snapshots' too, and took none again until that time had come."""
    bundle = publish_bundle(tmp_path, surface=HOME.name, dim=DIM)
    contact, now_ms = BrokerContact(), wall_clock_ms()
    parts = NodeParts("127.0.0.1:1", tmp_path, Masks(), NodeMetrics(), ExactIndex, contact)
    tail = BundleTail(replace(HOME, recency_window_s=3_600.0), bundle, parts, changed=lambda: None)
    tail.start()
    until(lambda: tail.filled is not None, what="the bundle is loaded")
    assert tail.filled is not None
    young, old = (tweeted(name, created_ms=now_ms - age_s * 1000) for name, age_s in (("t:young", 1_800), ("t:old", 7_200)))
    rows = decode_batch(bundle, DIM, [live(post, [1.0] + [0.0] * (DIM - 1)) for post in (young, old)])
    tail.filled.apply(rows)
    monkeypatch.setattr("serving.node.bundle_tail.wall_clock_ms", lambda: now_ms + 86_400_000)
    # nobody has told the time yet
    tail.sweep()
    assert tail.filled.ids() == {"t:young", "t:old"}
    contact.seen(now_ms)
    tail.sweep()
    assert tail.filled.ids() == {"t:young"}
    monkeypatch.setattr("serving.node.bundle_tail.wall_clock_ms", lambda: now_ms)
    tail.filled.apply(rows)
    assert tail.filled.ids() == {"t:young"}
    tail.stop()


def test_a_node_loads_a_bundle_from_a_registry_behind_a_url(remote: RemoteRegistry) -> None:
    """Nodes on many hosts share no folder."""
    bundle = publish_bundle(remote, surface=HOME.name)
    tail = BundleTail(
        HOME, bundle, NodeParts("127.0.0.1:1", remote, Masks(), NodeMetrics(), ExactIndex, BrokerContact()), changed=lambda: None
    )
    tail.start()
    until(lambda: tail.filled is not None, what="the bundle is loaded")
    tail.stop()


def test_a_node_whose_registry_is_away_says_so_and_loads_the_bundle_once_it_is_there(
    remote: RemoteRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An object store's bad minute must not need a hand to restart every node."""
    monkeypatch.setattr("serving.node.bundle_tail.RELOAD_S", 0.05)
    bundle = publish_bundle(remote, surface=HOME.name)
    files = fsspec.filesystem("memory")
    files.mv("/bucket", "/elsewhere", recursive=True)
    shutil.rmtree(remote.folder)
    tail = BundleTail(
        HOME, bundle, NodeParts("127.0.0.1:1", remote, Masks(), NodeMetrics(), ExactIndex, BrokerContact()), changed=lambda: None
    )
    tail.start()
    until(lambda: tail.refusal is not None, what="the bundle is refused")
    assert "there is no bucket" in tail.alarms[0]
    # with it on every node, the controller would reject the bundle
    assert tail.complaint is None
    files.mv("/elsewhere", "/bucket", recursive=True)
    until(lambda: tail.filled is not None, what="the bundle is loaded")
    tail.stop()


def test_a_bundle_whose_index_cannot_be_made_just_now_is_loaded_later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A node out of threads or memory for a moment called it `being loaded` for ever: the thread that loads had ended."""
    monkeypatch.setattr("serving.node.bundle_tail.RELOAD_S", 0.05)
    bundle = publish_bundle(tmp_path, surface=HOME.name)
    faults = [RuntimeError("can't start new thread")]

    def make_index(dim: int) -> ExactIndex:
        if faults:
            raise faults.pop()
        return ExactIndex(dim)

    refused: list[str] = []
    parts = NodeParts("127.0.0.1:1", tmp_path, Masks(), NodeMetrics(), make_index, BrokerContact())
    tail = BundleTail(HOME, bundle, parts, changed=lambda: refused.extend(tail.alarms))
    tail.start()
    until(lambda: tail.filled is not None, what="the bundle is loaded")
    assert "can't start new thread" in refused[0]
    assert tail.refusal is None
    tail.stop()


class ReadFollower:
    """A follower that finds its topic empty, and then hears no more of the broker than silence."""

    topic, topic_id, trouble = "embeddings", "id", None
    position: ClassVar[dict[int, int]] = {}
    drained_age_s = 0.0
    caught_up = False

    def __init__(self, _: str, topic: str, callbacks: FollowerCallbacks, **__: object) -> None:
        self._callbacks = callbacks

    def start(self) -> None:
        """See `TopicFollower`."""
        self.caught_up = True
        self._callbacks.caught_up()

    def stop(self) -> None:
        """See `TopicFollower`."""


def test_an_index_ages_though_the_broker_left_before_it_took_a_heartbeat(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Silence looks like a topic without news: the node went on to call its index as fresh as can be, for ever."""
    monkeypatch.setattr("serving.node.bundle_tail.TopicFollower", ReadFollower)
    monkeypatch.setattr("serving.node.bundle_tail.SILENT_S", 0.05)
    bundle = publish_bundle(tmp_path, surface=HOME.name)
    parts = NodeParts("127.0.0.1:1", tmp_path, Masks(), NodeMetrics(), ExactIndex, BrokerContact())
    tail = BundleTail(HOME, bundle, parts, changed=lambda: None)
    tail.start()
    until(lambda: tail.freshness().lag_ms > 50, timeout_s=5, what="an index that ages")
    tail.stop()


def test_a_snapshot_says_since_when_the_broker_is_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the hour of its writing it would be taken for one that knows every delete until then."""
    monkeypatch.setattr("serving.node.bundle_tail.TopicFollower", ReadFollower)
    monkeypatch.setattr(ReadFollower, "drained_age_s", 3_600.0)
    bundle = publish_bundle(tmp_path / "registry", surface=HOME.name)
    store = SnapshotStore(tmp_path / "snapshots", keep=2, files=UnsyncedFiles())
    parts = NodeParts("127.0.0.1:1", tmp_path / "registry", Masks(), NodeMetrics(), ExactIndex, BrokerContact(), store)
    tail = BundleTail(HOME, bundle, parts, changed=lambda: None)
    tail.start()
    until(lambda: tail.epoch is not None, what="the index is whole")
    began_ms = wall_clock_ms()
    tail.save()
    tail.stop()
    (path,) = store.folders()
    assert -10_000 < manifest_of(path).written_ms + 3_600_000 - began_ms < 60_000
