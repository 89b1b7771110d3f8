"""How many queries a node answers at a time."""

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from serving.node.role import build_node
from serving.settings import NodeSettings


@pytest.mark.parametrize(("asked", "cores", "threads"), [(0, 1, 1), (0, 2, 2), (0, 64, 4), (7, 2, 7)])
def test_a_node_answers_on_no_more_threads_than_cores_unless_told_to(
    asked: int, cores: int, threads: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Four on two cores wait for each other: the slowest queries were slower by a fifth."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(cores)), raising=False)
    built = build_node(NodeSettings(bootstrap="127.0.0.1:1", registry=tmp_path, http_port=0, query_threads=asked))
    try:
        assert isinstance(built.pool, ThreadPoolExecutor)
        assert built.pool._max_workers == threads
    finally:
        built.server.stop()
        built.pool.shutdown()
