"""The node's HTTP application on a real socket, over an index that a test fills. Holds no test."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx

from serving.client import Client
from serving.filling.masks import Masks
from serving.health import NodeHealth
from serving.http.app import build_app
from serving.http.server import HttpServer
from serving.metrics import NodeMetrics
from serving.query.census import SurfaceCensus
from serving.query.epochs import Routing, RoutingTable
from serving.query.explain import Explainer
from serving.query.retrieve import Retriever
from serving.query.users import UserStore
from tests.filled_epochs import HOME, FilledEpoch


class FakeNode:
    """A node as healthy as the test says."""

    def __init__(self) -> None:
        self.reasons: tuple[str, ...] = ()

    def health(self) -> NodeHealth:
        """See `HasHealth`."""
        return NodeHealth("n1", not self.reasons, self.reasons, (), users=3, masked=0, flips=0, broker_age_s=None)


class Served:
    """An application on a port."""

    def __init__(self, registry: Path) -> None:
        self.table = RoutingTable({HOME.name: Routing(HOME)})
        self.node = FakeNode()
        self.epoch = FilledEpoch(registry, seed=1)
        self.pool = ThreadPoolExecutor(2)
        self._metrics = NodeMetrics()
        app = build_app(
            Retriever(self.table, UserStore()),
            self.node,
            self._metrics,
            explainer=Explainer(self.table, UserStore(), Masks()),
            census=SurfaceCensus(self.table),
            version="1.2.3",
            pool=self.pool,
        )
        self.server = HttpServer(app, host="127.0.0.1", port=0, chosen_by="ROOST_HTTP_PORT")
        self.server.start()
        self.http = httpx.Client(base_url=self.server.url, timeout=10)
        self.client = Client(self.server.url, timeout_s=10)

    def go_live(self) -> None:
        """Make the epoch live."""
        self.table.put(Routing(HOME, 1, self.epoch.epoch, held={self.epoch.bundle: self.epoch.epoch}))

    def metric(self, name: str, **labels: str) -> float:
        """Return a metric's value; 0 before there is any."""
        return self._metrics.registry.get_sample_value(name, labels) or 0.0

    def close(self) -> None:
        """Stop."""
        self.http.close()
        self.client.close()
        self.server.stop()
        self.pool.shutdown()
