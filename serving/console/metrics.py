"""What the console measures of itself, in Prometheus' conventions. Of the deployment the roles themselves tell."""

import time
from collections.abc import Iterable

from prometheus_client import CollectorRegistry, Counter, Histogram, ProcessCollector
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from schemas.errors import CompareAndSetLost, ControllerUnavailable, Refused, RoostError
from schemas.records.control import Rollout, RolloutCommand
from serving.console.readings import CommandSender, HasMoments
from serving.http.status import NotedStatus

_PAGE_BUCKETS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)
_OUTCOMES: dict[type[RoostError], str] = {Refused: "refused", CompareAndSetLost: "lost", ControllerUnavailable: "unanswered"}


class ConsoleMetrics(Collector):
    """Counters of one console, in a registry of their own, and the age of its newest reading."""

    def __init__(self, watch: HasMoments) -> None:
        self.registry = CollectorRegistry()
        self._watch = watch
        ProcessCollector(registry=self.registry)
        self.registry.register(self)
        self.page_seconds = Histogram(
            "roost_console_page_seconds",
            "Time to answer a browser.",
            ["route", "status"],
            buckets=_PAGE_BUCKETS_S,
            registry=self.registry,
        )
        self.commands = Counter(
            "roost_console_commands", "Rollout commands given here.", ["kind", "outcome"], registry=self.registry
        )

    def collect(self) -> Iterable[Metric]:
        """Return what the newest reading says of itself; of none, 0: it is as old as can be."""
        moments = self._watch.moments()
        newest = moments[-1] if moments else None
        yield GaugeMetricFamily(
            "roost_console_reading_timestamp_seconds",
            "When the deployment was last read, in Unix seconds; 0 before the first time.",
            value=0.0 if newest is None else newest.at_ms / 1000,
        )
        trouble = newest is not None and newest.broker.trouble is not None
        yield GaugeMetricFamily("roost_console_broker_trouble", "1 while the broker cannot be read.", value=float(trouble))


class CountedSender:
    """A `CommandSender` whose outcomes are counted."""

    def __init__(self, sender: CommandSender, metrics: ConsoleMetrics) -> None:
        self._sender = sender
        self._metrics = metrics

    def send(self, command: RolloutCommand) -> Rollout:
        """See `CommandSender.send`."""
        outcome = "failed"
        try:
            record = self._sender.send(command)
            outcome = "accepted"
        except RoostError as error:
            outcome = _OUTCOMES.get(type(error), "failed")
            raise
        finally:
            self._metrics.commands.labels(str(command.kind), outcome).inc()
        return record


class TimedPages:
    """Times every request of a route of ours; what has no route is one series, whatever was asked for."""

    def __init__(self, app: ASGIApp, metrics: ConsoleMetrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on."""
        started_s = time.perf_counter()
        noted = NotedStatus(send)
        try:
            await self._app(scope, receive, noted)
        finally:
            route = scope.get("route")
            name = route.path if isinstance(route, Route) else "none"
            self._metrics.page_seconds.labels(name, str(noted.status)).observe(time.perf_counter() - started_s)
