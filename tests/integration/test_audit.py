"""A node that doubts its own index, on a real broker: live queries are audited, damage is alarmed of and repaired."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

import numpy as np
import pytest

from serving.index import LiveIndex
from tests.damaged_index import shuffle_codes
from tests.living import living
from tests.posts import Post
from tests.served_node import ServedNode, node_on_a_thread, until
from tests.write_path import WritePath

COUNT = 9_000
"""Enough for codes with the shipped configuration."""


class HasBootstrap(Protocol):
    """The broker fixture."""

    bootstrap: str


def value(node: ServedNode, metric: str, **labels: str) -> float:
    """Return a metric with these labels; -1 while there is none."""
    for line in node.http.get("/metrics").text.splitlines():
        if line.startswith(metric + "{") and all(f'{name}="{text}"' in line for name, text in labels.items()):
            return float(line.rpartition(" ")[2])
    return -1.0


@contextmanager
def filled_node(path: WritePath, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[ServedNode, LiveIndex, str]]:
    """Run a node whose live index has settled tiers; yield it, the index and the bundle."""
    indices = living(LiveIndex, monkeypatch)
    bundle = path.bundle(1)
    vectors = np.random.default_rng(5).normal(size=(COUNT, 64)).tolist()
    posts = [Post(f"t:{n}", language="en" if n % 3 else "ja") for n in range(COUNT)]
    with node_on_a_thread(path, audit_cpu_share=0.5) as node:
        path.go_live(bundle)
        path.embed_vectors(posts, bundle, vectors)
        until(node.ready)
        (index,) = indices
        until(lambda: index.stats().compressed_rows > 0, within_s=40)
        yield node, index, bundle


def ask(node: ServedNode, *, k: int = 10) -> bool:
    """Ask as two users would; true, so that a wait may ask as it waits."""
    for region in ("us", "jp"):
        node.ask(k=k, context={"region": region})
    return True


@pytest.fixture
def path(broker: HasBootstrap, tmp_path: Path) -> WritePath:
    """Return a surface of the test's own."""
    return WritePath(broker.bootstrap, tmp_path)


def test_a_node_publishes_its_recall_notices_damage_and_repairs_it(path: WritePath, monkeypatch: pytest.MonkeyPatch) -> None:
    """A damaged index answers quickly and with true scores: only the node itself can notice in time."""
    with filled_node(path, monkeypatch) as (node, index, bundle):
        until(lambda: ask(node) and value(node, "roost_audit_queries_total", bundle=bundle) >= 20, within_s=40)
        until(lambda: ask(node) and value(node, "roost_audit_recall_lower_bound_ratio", kind="all") > 0.8, within_s=20)
        for kind, group in (("language", "ja"), ("language", "en"), ("age", "under 1 m"), ("tier", "codes")):
            assert value(node, "roost_audit_recall_ratio", bundle=bundle, kind=kind, group=group) > 0.9
            assert 0 < value(node, "roost_audit_recall_lower_bound_ratio", bundle=bundle, kind=kind, group=group) < 1
        assert value(node, "roost_index_alarm", alarm="recall_short") == 0.0
        assert value(node, "roost_audit_probes_total", bundle=bundle) >= 1

        shuffle_codes(index)
        until(lambda: ask(node) and value(node, "roost_index_alarm", alarm="recall_short") == 1.0, within_s=40)
        assert node.ready(), "an alarm, not an outage"
        assert "is promised" in node.bundles()[bundle]["index_alarms"]["recall_short"]
        assert value(node, "roost_audit_rebuilds_total", bundle=bundle) >= 1
        until(lambda: ask(node) and value(node, "roost_index_alarm", alarm="recall_short") == 0.0, within_s=40)


def test_a_builder_that_died_is_an_alarm_of_the_node(path: WritePath, monkeypatch: pytest.MonkeyPatch) -> None:
    """It happened in silence once, and everything looked well for thirty seconds."""
    with filled_node(path, monkeypatch) as (node, index, bundle):
        assert value(node, "roost_index_alarm", alarm="builder_died") == 0.0
        assert index._builder is not None
        # the thread ends; nobody closed the index
        index._builder.stop()
        until(lambda: value(node, "roost_index_alarm", alarm="builder_died") == 1.0)
        assert "restart the node" in node.bundles()[bundle]["index_alarms"]["builder_died"]
        assert node.ready()
