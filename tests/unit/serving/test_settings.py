"""The node's settings: read once, frozen, and strict about what they do not know."""

import socket
from pathlib import Path
from typing import get_args

import pytest
from pydantic import ValidationError

from schemas.registry.folder import FolderRegistry
from serving.index import TIERS
from serving.settings import IndexTiers, NodeSettings


def test_settings_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """A container is configured by nothing else."""
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", "k1:9092,k2:9092")
    monkeypatch.setenv("ROOST_REGISTRY", "/registry")
    monkeypatch.setenv("ROOST_NODE_ID", "n7")
    monkeypatch.setenv("ROOST_HTTP_PORT", "8701")
    monkeypatch.setenv("ROOST_SERVE", "movies")
    settings = NodeSettings()
    assert (settings.bootstrap, settings.registry, settings.node_id) == ("k1:9092,k2:9092", FolderRegistry(Path("/registry")), "n7")
    assert (settings.http_port, settings.serve) == (8701, ("movies",))


def test_an_empty_variable_is_one_that_is_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    """Compose files hand on `${ROOST_SNAPSHOTS:-}`: as a path it is the folder the node happens to run in, which it then cleans."""
    for name in ("ROOST_SNAPSHOTS", "ROOST_SURFACES", "ROOST_HTTP_PORT", "ROOST_NODE_ID"):
        monkeypatch.setenv(name, "")
    assert NodeSettings() == NodeSettings(snapshots=None, surfaces=None, http_port=8700, node_id=socket.gethostname())


@pytest.mark.parametrize("name", ["ROOST_SNAPSHOT_EVERY_S", "ROOST_DRAIN_S"])
def test_no_wait_is_endless(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Meant as never, it ended the thread that writes the snapshots at its first wait, so that there was none at the end either."""
    monkeypatch.setenv(name, "inf")
    with pytest.raises(ValidationError, match="finite"):
        NodeSettings()


def test_a_node_binds_this_machine_only_unless_told_otherwise() -> None:
    """An index open to the network by default is a leak by default."""
    assert NodeSettings().http_host == "127.0.0.1"


def test_unknown_and_impossible_settings_are_refused_and_none_changes_later() -> None:
    """A misspelt setting that is ignored is found out in production."""
    with pytest.raises(ValidationError, match="http_prt"):
        NodeSettings(http_prt=1)  # type: ignore[call-arg]
    with pytest.raises(ValidationError, match="node_id"):
        NodeSettings(node_id="../x")
    with pytest.raises(ValidationError, match="frozen"):
        NodeSettings().http_port = 1  # type: ignore[misc]


@pytest.mark.parametrize("tiers", get_args(IndexTiers))
def test_every_choice_of_tiers_is_one_that_an_index_has(monkeypatch: pytest.MonkeyPatch, tiers: str) -> None:
    """A name that only the settings know would end the node when its first bundle is loaded."""
    monkeypatch.setenv("ROOST_INDEX_TIERS", tiers)
    config = TIERS[NodeSettings().index_tiers]
    graph, codes = config.graph is not None, config.compressed
    cells = codes is not None and codes.cells is not None
    assert (codes is not None, cells, graph) == {
        "all": (True, True, True),
        "codes": (True, False, False),
        "codes-and-graph": (True, False, True),
        "graph": (False, False, True),
        "exact": (False, False, False),
    }[tiers]
    assert TIERS.keys() == set(get_args(IndexTiers))
