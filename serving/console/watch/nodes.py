"""What a node says over HTTP: its health, its counts, its histograms. Keeps connections, nothing else."""

from collections.abc import Mapping

import httpx
from prometheus_client.parser import text_string_to_metric_families
from pydantic import TypeAdapter, ValidationError

from serving.api import STATS_JSON, SurfaceStats
from serving.console.histogram import Histogram
from serving.console.readings import FOUND_SECONDS, NEW_SECONDS, QUERY_SECONDS, NodeReading
from serving.health import NodeHealth

_WANTED = (QUERY_SECONDS, FOUND_SECONDS, NEW_SECONDS)
_HEALTH_JSON: TypeAdapter[NodeHealth] = TypeAdapter(NodeHealth)


class NodeReader:
    """Reads a node, within `timeout_s` a request. Safe on any number of threads, as httpx's client is."""

    def __init__(self, *, timeout_s: float = 1.0, transport: httpx.BaseTransport | None = None) -> None:
        """Connect to nothing yet.

        Args:
            transport: replaces the network, in tests.
        """
        self._http = httpx.Client(timeout=timeout_s, transport=transport)

    def read(self, instance: str, url: str) -> NodeReading:
        """Return what the node says; one that does not answer, or answers something else, is a sentence and no error."""
        try:
            health = _HEALTH_JSON.validate_json(self._http.get(f"{url}/readyz").content)
            stats = {
                surface.surface: found
                for surface in health.surfaces
                if surface.live is not None and (found := self._stats(url, surface.surface)) is not None
            }
            histograms = histograms_of(self._http.get(f"{url}/metrics").text)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            return NodeReading(instance, url, f"{url} does not answer ({type(error).__name__})")
        except (ValidationError, ValueError) as error:
            return NodeReading(instance, url, f"{url} answers something else than a node of this release ({type(error).__name__})")
        return NodeReading(instance, url, None, health, stats, histograms)

    def _stats(self, url: str, surface: str) -> SurfaceStats | None:
        response = self._http.get(f"{url}/v1/surfaces/{surface}/stats")
        # 503 when its last bundle was let go a moment ago; 404 from an older release
        return STATS_JSON.validate_json(response.content) if response.is_success else None

    def close(self) -> None:
        """Close the connections."""
        self._http.close()


def histograms_of(exposition: str) -> dict[str, Mapping[str, Histogram]]:
    """Return the histograms the console shows, by metric and surface, from Prometheus' text format."""
    found: dict[str, Mapping[str, Histogram]] = {}
    for family in text_string_to_metric_families(exposition):
        if family.name in _WANTED:
            buckets: dict[str, list[tuple[float, float]]] = {}
            for sample in family.samples:
                if sample.name.endswith("_bucket"):
                    surface = sample.labels.get("surface", "")
                    buckets.setdefault(surface, []).append((float(sample.labels["le"]), sample.value))
            found[family.name] = {surface: _histogram(pairs) for surface, pairs in buckets.items()}
    return found


def _histogram(pairs: list[tuple[float, float]]) -> Histogram:
    ordered = sorted(pairs)
    return Histogram(tuple(bound for bound, _ in ordered), tuple(count for _, count in ordered))
