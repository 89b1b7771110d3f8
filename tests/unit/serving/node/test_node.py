"""What a node does each second without a broker; with one: tests/integration/test_node.py."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest
from confluent_kafka import TIMESTAMP_LOG_APPEND_TIME

from schemas.codec import encode
from schemas.ids import Version
from schemas.topics import DAY_MS, NODE_STATUS, deletes_kept_ms
from schemas.wire.inbound import InboundRecord
from serving.filling.filled import FilledIndex
from serving.filling.masks import Delete, Masks
from serving.index import ExactIndex
from serving.metrics import NodeMetrics
from serving.node.bundle_tail import BundleTail, NodeParts
from serving.node.contact import BrokerContact
from serving.node.heartbeat import node_status
from serving.node.node import Node
from serving.node.surface_keeper import SurfaceKeeper
from serving.query.epochs import Routing, RoutingTable
from serving.query.retrieve import wall_clock_ms
from serving.query.users import UserStore
from tests.filled_epochs import HOME, FilledEpoch, tweeted


def test_a_node_whose_surfaces_do_not_age_forgets_old_deletes_too(tmp_path: Path) -> None:
    """Only where every surface had a recency window was a delete ever forgotten: an erased account's id stayed for ever."""
    assert HOME.recency_window_s == 0
    masks = Masks()
    contact = BrokerContact()
    parts = NodeParts("127.0.0.1:1", tmp_path, masks, NodeMetrics(), ExactIndex, contact)
    node = Node("n", {HOME.name: HOME}, parts, routings=RoutingTable({HOME.name: Routing(HOME)}), users=UserStore())
    # of the told time, not of a later one: what has surely come lags behind this clock by its rounding
    told_ms = wall_clock_ms()
    contact.seen(told_ms)
    past_ms = told_ms - deletes_kept_ms([HOME])
    masks.add([Delete("t:old", Version(9, 0), past_ms - 1), Delete("t:new", Version(9, 0), past_ms + DAY_MS)])
    node._sweep()
    assert masks.ids() == {"t:new"}


def test_a_node_is_not_ready_before_its_own_heartbeat_is_in_the_log(tmp_path: Path) -> None:
    """The log's order decides who has a name: whoever answered already was ended by a newcomer that was heard sooner."""
    parts = NodeParts("127.0.0.1:1", tmp_path, Masks(), NodeMetrics(), ExactIndex, BrokerContact())
    routings = RoutingTable({HOME.name: Routing(HOME)})
    node = Node("n", {HOME.name: HOME}, parts, routings=routings, users=UserStore(), url="here")
    status = node_status(node.health(), {}, time_ms=1, url="here", started_ms=node._started_ms)
    of_another = replace(status, started_ms=1)
    yet = f"{NODE_STATUS} was not read yet"
    for offset, told in enumerate((of_another, status)):
        assert yet in node.health().reasons
        assert not node.health().ready
        node._take_statuses([InboundRecord(NODE_STATUS, 0, offset, 1, b"node:n", encode(told))])
        node._statuses.trouble, yet = None, "the first heartbeat of 'n' is not in node-status yet"
    assert yet not in node.health().reasons


class GivingBack(SurfaceKeeper):
    """A keeper that gives back what it kept as soon as somebody has looked."""

    was_kept: BundleTail | None = cast("BundleTail", SimpleNamespace(bundle="a" * 16))

    @property
    def kept(self) -> BundleTail | None:
        """See `SurfaceKeeper`."""
        kept, self.was_kept = self.was_kept, None
        return kept


def test_an_index_that_is_given_back_while_the_heartbeat_goes_round_does_not_end_it(tmp_path: Path) -> None:
    """A thread routes to the new log's bundle just then: the round met None in its place, and the heartbeat was left out."""
    parts = NodeParts("127.0.0.1:1", tmp_path, Masks(), NodeMetrics(), ExactIndex, BrokerContact())
    routings = RoutingTable({HOME.name: Routing(HOME)})
    node = Node("n", {HOME.name: HOME}, parts, routings=routings, users=UserStore())
    node._keepers[HOME.name] = GivingBack(HOME, routings, node._make_tail)
    assert [tail.bundle for tail in node._answering()] == ["a" * 16]
    assert node._answering() == []


class Leaving(SimpleNamespace):
    """A tail that another thread stops as soon as somebody has looked at its index."""

    index: FilledIndex | None

    @property
    def filled(self) -> FilledIndex | None:
        """See `BundleTail`."""
        index, self.index = self.index, None
        return index


def test_a_bundle_that_leaves_while_its_recall_is_measured_costs_no_heartbeat(tmp_path: Path) -> None:
    """A rollout that ends in that moment took the node's next report with it, with a traceback."""
    parts = NodeParts("127.0.0.1:1", tmp_path, Masks(), NodeMetrics(), ExactIndex, BrokerContact())
    node = Node("n", {HOME.name: HOME}, parts, routings=RoutingTable({HOME.name: Routing(HOME)}), users=UserStore())
    found = FilledEpoch(tmp_path, seed=1)
    found.fill(tweeted("t:1"))
    keeper = SimpleNamespace(
        rollout=SimpleNamespace(in_stage=lambda *_: [SimpleNamespace(bundle=found.bundle)]),
        tails={found.bundle: Leaving(index=found.filled, epoch=found.epoch)},
    )
    node._coverage = {found.bundle: 1.0}
    assert [*node._audited(cast("SurfaceKeeper", keeper))] == [(found.bundle, 1.0)]


def test_a_heartbeat_that_cannot_be_read_is_counted(tmp_path: Path) -> None:
    """An embedder of a newer release looks silent from here: only the count says why."""
    parts = NodeParts("127.0.0.1:1", tmp_path, Masks(), NodeMetrics(), ExactIndex, BrokerContact())
    node = Node("n", {HOME.name: HOME}, parts, routings=RoutingTable({HOME.name: Routing(HOME)}), users=UserStore())
    node._take_statuses([InboundRecord(NODE_STATUS, 0, 0, 1, b"embedder:0", b"garbled")])
    assert parts.metrics.registry.get_sample_value("roost_records_skipped_total", {"topic": NODE_STATUS}) == 1


class Taking:
    """A producer whose broker takes every record at once, and says so when it is asked."""

    def __init__(self) -> None:
        self._taken: list[Callable[[None, SimpleNamespace], None]] = []

    def produce(self, *_: object, on_delivery: Callable[[None, SimpleNamespace], None]) -> None:
        """Take a record."""
        self._taken.append(on_delivery)

    def poll(self, _: float) -> None:
        """Tell nothing yet: the acknowledgement is on its way."""

    def flush(self, _: float) -> None:
        """Tell of all that was taken."""
        for delivered in self._taken:
            delivered(None, SimpleNamespace(timestamp=lambda: (TIMESTAMP_LOG_APPEND_TIME, wall_clock_ms())))


def test_the_brokers_time_is_known_from_the_first_heartbeat_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Until the second one a restarted node let in what had left the recency window while it was down."""
    contact = BrokerContact()
    parts = NodeParts("127.0.0.1:1", tmp_path, Masks(), NodeMetrics(), ExactIndex, contact)
    node = Node("n", {HOME.name: HOME}, parts, routings=RoutingTable({HOME.name: Routing(HOME)}), users=UserStore())
    monkeypatch.setattr("serving.node.node.make_producer", lambda *_, **__: Taking())
    node._report()
    assert contact.past_ms(wall_clock_ms()) is not None
