"""A running node as tests see it: on a thread or as a process of its own, asked over HTTP. Holds no test."""

import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import MappingProxyType
from typing import Any

import httpx
from prometheus_client.parser import text_string_to_metric_families

from serving.client import Answer, Client, ClientError, NodeUnreachable
from serving.node.role import run_node
from serving.settings import NodeSettings
from tests.write_path import WritePath

_PROCESS = """
import signal, sys, threading
from serving.node.role import run_node
from serving.settings import NodeSettings
stop = threading.Event()
signal.signal(signal.SIGTERM, lambda *_: stop.set())
run_node(NodeSettings.model_validate_json(sys.argv[1]), stop)
"""


def until(check: Callable[[], object], *, within_s: float = 20.0) -> None:
    """Wait for a condition; fail with the last thing it said."""
    deadline_s = time.monotonic() + within_s
    while not (said := check()):
        assert time.monotonic() < deadline_s, f"not within {within_s} s: {said!r}"
        time.sleep(0.01)


class ServedNode:
    """A node at an address."""

    def __init__(self, url: str, surface: str) -> None:
        self.url = url
        self.surface = surface
        self.client = Client(url, timeout_s=10.0)
        self.http = httpx.Client(base_url=url, timeout=10.0)

    def ask(self, **parameters: Any) -> Answer:
        """Retrieve from the node's surface."""
        return self.client.retrieve(self.surface, **parameters)

    def finds(self, candidate_id: str, **parameters: Any) -> bool:
        """Tell whether a candidate is among the thousand best."""
        return candidate_id in {c.candidate_id for c in self.ask(k=1000, **parameters).candidates}

    def answers_from(self, bundle: str) -> bool:
        """Tell whether the node answers, and from this bundle."""
        try:
            return self.ask(k=1).bundle == bundle
        except ClientError:
            return False

    def ready(self) -> bool:
        """Tell whether the node says it is ready."""
        try:
            return self.client.ready()
        except NodeUnreachable:
            return False

    def health(self) -> dict[str, Any]:
        """Return the body of /readyz."""
        health: dict[str, Any] = self.http.get("/readyz").json()
        return health

    def bundles(self) -> dict[str, dict[str, Any]]:
        """Return the health of each bundle of the surface."""
        return {bundle["bundle"]: bundle for bundle in self.health()["surfaces"][0]["bundles"]}

    def metric(self, name: str, labels: Mapping[str, str] = MappingProxyType({})) -> Any:
        """Return the value of a sample of /metrics; None where there is none."""
        families = text_string_to_metric_families(self.http.get("/metrics").text)
        samples = (sample for family in families for sample in family.samples)
        return next((sample.value for sample in samples if sample.name == name and sample.labels == dict(labels)), None)

    def close(self) -> None:
        """Close the connections."""
        self.client.close()
        self.http.close()


def settings_for(path: WritePath, **changes: Any) -> NodeSettings:
    """Return settings of a node for the surface of `path`, at a free port."""
    values: dict[str, Any] = {
        "bootstrap": path.bootstrap,
        "registry": path.registry,
        "surfaces": path.surfaces_file,
        "node_id": path.surface.name,
        "http_port": free_port(),
        "drain_s": 0.0,
    }
    return NodeSettings(**(values | changes))


@contextmanager
def node_on_a_thread(path: WritePath, **changes: Any) -> Iterator[ServedNode]:
    """Run a node for the while."""
    settings = settings_for(path, **changes)
    stop = threading.Event()
    thread = threading.Thread(target=run_node, args=(settings, stop), daemon=True)
    thread.start()
    node = ServedNode(f"http://127.0.0.1:{settings.http_port}", path.surface.name)
    try:
        until(lambda: _lives(node))
        yield node
    finally:
        stop.set()
        thread.join(20)
        node.close()
    assert not thread.is_alive(), "the node did not stop"


@contextmanager
def node_process(path: WritePath, **changes: Any) -> Iterator[tuple[subprocess.Popen[bytes], ServedNode]]:
    """Run a node as a process for the while; it is killed at the end if it still runs."""
    settings = settings_for(path, **changes)
    process = subprocess.Popen([sys.executable, "-c", _PROCESS, settings.model_dump_json(by_alias=False)])
    node = ServedNode(f"http://127.0.0.1:{settings.http_port}", path.surface.name)
    try:
        yield process, node
    finally:
        process.kill()
        process.wait()
        node.close()


def _lives(node: ServedNode) -> bool:
    try:
        return node.http.get("/livez").status_code == 200
    except httpx.ConnectError:
        return False


def free_port() -> int:
    """Return a port nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port
