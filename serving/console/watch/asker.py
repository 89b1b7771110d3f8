"""Asks nodes for candidates, one kept client a node. Chooses no node."""

import threading

from serving.api import Answer, ExplainRequest, Explanation, RetrieveRequest
from serving.client import Client


class NodeAsker:
    """Safe on any number of threads. A client costs 20 ms to make, so each is kept: a deployment has few nodes."""

    def __init__(self) -> None:
        self._clients: dict[str, Client] = {}
        self._lock = threading.Lock()

    def ask(self, node_url: str, surface: str, request: RetrieveRequest) -> Answer:
        """See `Asker.ask`."""
        asked = {name: getattr(request, name) for name in RetrieveRequest.model_fields}
        return self._client(node_url).retrieve(surface, **asked)

    def explain(self, node_url: str, surface: str, request: ExplainRequest) -> Explanation:
        """See `Asker.explain`."""
        return self._client(node_url).explain(surface, request)

    def _client(self, node_url: str) -> Client:
        with self._lock:
            client = self._clients.get(node_url)
            if client is None:
                client = self._clients[node_url] = Client(node_url)
            return client

    def close(self) -> None:
        """Close the connections."""
        with self._lock:
            for client in self._clients.values():
                client.close()
            self._clients.clear()
